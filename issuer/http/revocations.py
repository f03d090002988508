"""`/revocations`: the denylist for gateways that may not reach Redis."""

from __future__ import annotations

from flask import Blueprint, Response, g, request

from revocation import DenylistReplaced, FeedGap, RevocationError
from revocation.http_wire import BadMessage, check_nonce, digest, read_cursor, read_lookup

from ..errors import OAuthError, invalid_client, invalid_request
from ..feed import Feed
from .answers import error_answer
from .body import raw_json
from .client_auth import credentials
from .current import services

blueprint = Blueprint("revocations", __name__)

SEND_TIMEOUT = 10.0
"""Seconds for which a gateway may not read before it is dropped; it holds a thread meanwhile."""
_JWT = "application/jwt"


@blueprint.get("/revocations")
def snapshot() -> Response:
    compressed = request.accept_encodings["gzip"] > 0
    download = _feed().snapshot(compressed=compressed)
    services().metrics.snapshot(g.gateway)
    response = Response(content_type="application/octet-stream")
    if compressed:
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    # Session ids: for the gateway that asked, which asks each time whether it is still this one.
    response.headers["Cache-Control"] = "private, no-cache"
    response.set_etag(download.etag)
    response.make_conditional(request)
    # Which made it the length of nothing.
    response.headers.pop("Content-Length", None)
    if response.status_code == 200 and request.method != "HEAD":
        response.response = download
        if download.length is not None:
            response.content_length = download.length
    else:
        download.close()
    _bound_sending()
    return response


@blueprint.get("/revocations/state")
def state() -> Response:
    feed = _feed()
    try:
        nonce = check_nonce(request.args.get("nonce", ""))
    except BadMessage as error:
        raise invalid_request(str(error)) from None
    return Response(feed.state(nonce), content_type=_JWT)


@blueprint.post("/revocations/lookup")
def lookup() -> Response:
    feed = _feed()
    raw, question = raw_json()
    try:
        nonce = check_nonce(str(question.get("nonce")))
        probe, known = read_lookup(question)
    except BadMessage as error:
        raise invalid_request(str(error)) from None
    return Response(feed.lookup(nonce, digest(raw), probe, known), content_type=_JWT)


@blueprint.get("/revocations/events")
def events() -> Response:
    feed = _feed()
    try:
        after = read_cursor(request.headers.get("Last-Event-ID") or request.args.get("after", ""))
    except BadMessage as error:
        raise invalid_request(str(error)) from None
    response = Response(content_type="text/event-stream")
    if request.method != "HEAD":  # which reads no stream, and would keep its place
        response.response = services().metrics.following(g.gateway, feed.stream(after))
    # For proxies: pass each event on at once (nginx's way to say so).
    response.headers["X-Accel-Buffering"] = "no"
    response.headers["Connection"] = "close"
    _bound_sending()
    return response


@blueprint.errorhandler(RevocationError)
def untold(error: RevocationError) -> Response:
    """Why the denylist cannot be shown, by its stable code: a gateway acts upon it."""
    status = _STATUSES.get(type(error), 503)
    headers = {"Retry-After": "1"} if status == 503 else {}
    return error_answer(OAuthError(status, error.code, _TEXTS[status], headers))


_STATUSES: dict[type[RevocationError], int] = {DenylistReplaced: 409, FeedGap: 410}
_TEXTS = {
    409: "the denylist has another epoch than the one that was asked about",
    410: "the feed does not go on from there; take a snapshot",
    503: "the denylist cannot be shown just now; try again",
}


def _feed() -> Feed:
    """The feed, for a gateway that has proved who it is. Raises `OAuthError`."""
    parts = services()
    given = credentials()
    if given is None:
        raise invalid_client("the gateway must authenticate with HTTP Basic")
    # Where no gateway is configured nobody has a secret.
    if parts.feed is None or not parts.gateways.authenticate(*given):
        raise invalid_client("unknown gateway or wrong secret")
    g.gateway = given[0]
    return parts.feed


def _bound_sending() -> None:
    # gunicorn waits for ever for who does not read.
    sock = request.environ.get("gunicorn.socket")
    if sock is not None:
        sock.settimeout(SEND_TIMEOUT)
