"""Which client is calling: a confidential one proves it, a public one says so."""

from __future__ import annotations

import base64
from urllib.parse import unquote_plus

from flask import request

from ..audit.event import EventKind, Outcome
from ..errors import invalid_client
from ..parties import Client
from .body import Fields
from .current import services


def proven_client() -> str | None:
    """The client of an `Authorization: Basic` header, None without one (RFC 6749 section 2.3.1).

    Raises `OAuthError` for wrong credentials.
    """
    return None if credentials() is None else authenticated_client()[0]


def named_client(fields: Fields) -> str | None:
    """The client that authenticates, or the public one that is named; None for neither."""
    named = fields.optional_line("client_id", longest=255)
    if request.headers.get("Authorization") is not None:
        return authenticated_client()[0]
    if named is None:
        return None
    client = services().clients.get(named)
    if client is None or client.secret_sha256 is not None:
        raise invalid_client("this client must authenticate")
    return named


def authenticated_client() -> tuple[str, Client]:
    """The client of the `Authorization: Basic` header (RFC 6749 section 2.3.1)."""
    given = credentials()
    if given is None:
        raise invalid_client("the client must authenticate with HTTP Basic")
    client_id, secret = given
    client = services().clients.authenticate(client_id, secret)
    if client is None or services().clients.is_disabled(client_id):
        known = services().clients.get(client_id) is not None
        audit = services().audit
        audit.refused(
            audit.happened(
                EventKind.CLIENT_REFUSED,
                outcome=Outcome.FAILURE,
                why="wrong_secret" if client is None else "disabled",
                # Else it is whatever somebody sent.
                client_id=client_id if known else None,
            )
        )
        raise invalid_client("unknown client or wrong secret")
    return client_id, client


def credentials() -> tuple[str, str] | None:
    """Id and secret of an `Authorization: Basic` header; None for another scheme or none.

    Raises `OAuthError` for a header that cannot be read: that is an attempt too.
    """
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(encoded.strip(), validate=True).decode()
        client_id, secret = (unquote_plus(part, errors="strict") for part in pair.split(":", 1))
    except ValueError:
        raise invalid_client("the client credentials cannot be read") from None
    return client_id, secret
