"""`/revoke` (RFC 7009) and `/introspect` (RFC 7662)."""

from __future__ import annotations

from urllib.parse import unquote_plus

from flask import Blueprint, Response, jsonify, request

from ..errors import invalid_client, invalid_request
from ..sessions.inspect import introspect as introspect_token
from ..sessions.inspect import revoke_token
from ..settings import Client
from .body import Fields, read_form
from .current import services

blueprint = Blueprint("oauth", __name__)


@blueprint.post("/revoke")
def revoke() -> Response:
    fields = read_form()
    token = fields.text("token")
    revoke_token(services(), token=token, client_id=_client_id(fields))
    return jsonify({})


@blueprint.post("/introspect")
def introspect() -> Response:
    fields = read_form()
    _, client = _authenticated_client()
    if not client.introspect:
        raise invalid_client("this client may not ask about tokens")
    return jsonify(introspect_token(services(), token=fields.text("token"), client=client))


def _client_id(fields: Fields) -> str | None:
    """The client that authenticates, or the public one that is named; None for neither."""
    if request.headers.get("Authorization") is not None:
        return _authenticated_client()[0]
    named = fields.optional_line("client_id", longest=255)
    if named is None:
        return None
    client = services().clients.get(named)
    if client is None or client.secret_sha256 is not None:
        raise invalid_client("this client must authenticate")
    return named


def _authenticated_client() -> tuple[str, Client]:
    """The client of the `Authorization: Basic` header (RFC 6749 section 2.3.1)."""
    given = request.authorization
    if given is None or given.type != "basic":
        raise invalid_client("the client must authenticate with HTTP Basic")
    client_id, secret = given.username or "", given.password or ""
    try:
        client_id, secret = (unquote_plus(part, errors="strict") for part in (client_id, secret))
    except UnicodeDecodeError:
        raise invalid_request("the client credentials are not UTF-8") from None
    client = services().clients.authenticate(client_id, secret)
    if client is None or services().clients.is_disabled(client_id):
        raise invalid_client("unknown client or wrong secret")
    return client_id, client
