"""Token Status Lists over HTTP (draft-ietf-oauth-status-list-17, section 8)."""

from __future__ import annotations

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from ..status_lists import TTL, UnknownStatusList
from .current import services

blueprint = Blueprint("status", __name__)


@blueprint.get("/status/<list_id>")
def status_list(list_id: str) -> Response:
    lists = services().status_lists
    if lists is None:
        raise NotFound
    try:
        token = lists.token(list_id)
    except UnknownStatusList:
        raise NotFound from None
    response = Response(token, content_type="application/statuslist+jwt")
    response.headers["Cache-Control"] = f"public, max-age={TTL}"
    # Whoever verifies may be a page on another origin; the list is public and takes no credentials.
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.add_etag()
    response.make_conditional(request)
    return response
