"""What a view needs of the application and of the request that it answers."""

from __future__ import annotations

from typing import cast

from flask import Flask, current_app, request

from ..errors import invalid_token, token_required
from ..services import Services
from ..sessions.bearer import Caller, authenticate
from ..sessions.grant import Context

_EXTENSION = "gatepass"
_LONGEST_AGENT = 256


def attach(app: Flask, parts: Services) -> None:
    """Give an application its services."""
    app.extensions[_EXTENSION] = parts


def services() -> Services:
    """The services of the application that serves this request."""
    return cast("Services", current_app.extensions[_EXTENSION])


def context(label: str = "") -> Context:
    """What the request says of the device, cut to length and free of control characters."""
    agent = request.headers.get("User-Agent", "")
    return Context(
        address=request.remote_addr or "",
        user_agent="".join(c for c in agent if c.isprintable())[:_LONGEST_AGENT],
        label=label,
    )


def client_address() -> str:
    """The client's address as limits count it; empty where only a proxy's is known."""
    return (request.remote_addr or "") if services().settings.knows_addresses else ""


def bearer_token() -> str | None:
    """The token of the `Authorization` header (RFC 6750 section 2.1), or None without one.

    Raises `OAuthError` for a header of another form.
    """
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, rest = header.partition(" ")
    # Spaces alone: a gateway that reads the same header takes no other white space either.
    token = rest.strip(" ")
    if scheme.lower() != "bearer" or not token:
        raise token_required()
    if not token.isascii():
        raise invalid_token("the token is not valid here")
    return token


def caller() -> Caller:
    """Who is calling, by bearer token. Raises `OAuthError`."""
    token = bearer_token()
    if token is None:
        raise token_required()
    return authenticate(services(), token)
