"""`/revoke` (RFC 7009) and `/introspect` (RFC 7662)."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from ..errors import invalid_client
from ..sessions.inspect import introspect as introspect_token
from ..sessions.inspect import revoke_token
from .body import read_form
from .client_auth import authenticated_client, named_client
from .current import services

blueprint = Blueprint("oauth", __name__)


@blueprint.post("/revoke")
def revoke() -> Response:
    fields = read_form()
    token = fields.text("token")
    revoke_token(services(), token=token, client_id=named_client(fields))
    return jsonify({})


@blueprint.post("/introspect")
def introspect() -> Response:
    fields = read_form()
    _, client = authenticated_client()
    if not client.introspect:
        raise invalid_client("this client may not ask about tokens")
    return jsonify(introspect_token(services(), token=fields.text("token"), client=client))
