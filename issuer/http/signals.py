"""`/ssf/poll` (RFC 8936), and the metadata of the transmitter of Shared Signals."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, Response, jsonify

from ..audit.event import EventKind, Outcome
from ..errors import OAuthError, invalid_client, invalid_request, unavailable
from ..notifications.delivery import NotDelivered
from ..notifications.polling import (
    MOST_ACKNOWLEDGED,
    MOST_REFUSED,
    MOST_SETS,
    WORD,
    Poll,
    Polls,
)
from ..notifications.signals import POLL, PUSH
from .answers import error_answer
from .body import raw_json
from .client_auth import credentials
from .current import services
from .discovery import METADATA_CACHE

blueprint = Blueprint("signals", __name__)

_WORD = re.compile(WORD)


@blueprint.get("/.well-known/ssf-configuration")
def metadata() -> Response:
    parts = services()
    receivers = parts.settings.notifications.signals.values()
    if not receivers:
        raise OAuthError(404, "not_found", "this issuer sends no signals")
    methods = {POLL if receiver.push_url is None else PUSH for receiver in receivers}
    issuer = parts.settings.issuer
    response = jsonify(
        {
            "spec_version": "1_0",
            "issuer": issuer,
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "delivery_methods_supported": sorted(methods),
            # Streams are set up by the operator, not by whoever asks.
            "default_subjects": "ALL",
        }
    )
    response.headers["Cache-Control"] = METADATA_CACHE
    return response


@blueprint.post("/ssf/poll")
def poll() -> Response:
    polls = services().notifications.polls
    name = _receiver(polls)
    polled = polls.answer(name, _asked(raw_json()[1]))
    return jsonify({"sets": dict(polled.sets), "moreAvailable": polled.more})


@blueprint.errorhandler(NotDelivered)
def unsigned(_error: NotDelivered) -> Response:
    """No key signs just now."""
    return error_answer(unavailable("the service cannot answer just now; try again"))


def _receiver(polls: Polls) -> str:
    given = credentials()
    if given is None:
        raise invalid_client("the receiver must authenticate with HTTP Basic")
    if not polls.authenticate(*given):
        audit = services().audit
        refusal = audit.happened(
            EventKind.CLIENT_REFUSED, outcome=Outcome.FAILURE, why="wrong_secret"
        )
        audit.refused(refusal)
        raise invalid_client("unknown receiver or wrong secret")
    return given[0]


def _asked(body: dict[str, Any]) -> Poll:
    """RFC 8936 section 2.2. Raises `OAuthError` 400."""
    most = body.get("maxEvents")
    if most is None:
        most = MOST_SETS
    if isinstance(most, bool) or not isinstance(most, int) or most < 0:
        raise invalid_request("maxEvents must be a whole number, zero or more")
    at_once = body.get("returnImmediately")
    if not isinstance(at_once, bool | None):
        raise invalid_request("returnImmediately must be true or false")
    acknowledged = body.get("ack")
    if acknowledged is None:
        acknowledged = []
    if not isinstance(acknowledged, list) or not all(map(_is_word, acknowledged)):
        raise invalid_request("ack must be a list of jti")
    errors = body.get("setErrs")
    if errors is None:
        errors = {}
    if not isinstance(errors, dict) or not all(map(_is_word, errors)):
        raise invalid_request("setErrs must be an object of errors by jti")
    if len(acknowledged) > MOST_ACKNOWLEDGED or len(errors) > MOST_REFUSED:
        raise invalid_request(
            f"at most {MOST_ACKNOWLEDGED} SETs are acknowledged and {MOST_REFUSED} refused at once"
        )
    refused = {jti: _error(told) for jti, told in errors.items()}
    return Poll(most, bool(at_once), tuple(acknowledged), refused)


def _is_word(given: object) -> bool:
    # A line feed may stand before the end that `$` means.
    return isinstance(given, str) and _WORD.fullmatch(given) is not None


def _error(told: object) -> str:
    """The code of a receiver's error (section 2.6)."""
    given = told if isinstance(told, dict) else {}
    code = given.get("err")
    if not _is_word(code):
        raise invalid_request("each of setErrs has an err")
    if not isinstance(given.get("description", ""), str):
        raise invalid_request("a description is a text")
    return str(code)
