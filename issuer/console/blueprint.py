"""What all of the console's routes have: the guard, the templates' words, and refusals as pages."""

from __future__ import annotations

from typing import Any

import structlog
from flask import Blueprint, render_template, request
from werkzeug.exceptions import HTTPException

from keys import KeyRingError
from revocation import RevocationError

from ..accounts import HashingBusy
from ..database import DatabaseUnavailable
from ..errors import OAuthError, too_many_requests, unavailable
from ..factors import FactorUnreadable
from ..families import FamilyUnavailable
from ..limits.errors import TooManyRequests
from . import guard, scales
from .guard import administrator, sessions

log = structlog.get_logger("gatepass.issuer")

blueprint = Blueprint(
    "console",
    __name__,
    url_prefix="/console",
    template_folder="templates",
    static_folder="static",
)
blueprint.before_request(guard.require_administrator)
blueprint.after_request(guard.finish)
blueprint.teardown_request(guard.leave)

_NOTICES = {
    "ended": "The session has ended.",
    "all-ended": "Every session of this person has ended.",
    "gone": "There is no such session any more.",
    "signed-out": "You are signed out.",
    "let-in": "What had been counted against this account is forgotten; any block of it is over.",
    "address-let-in": "What had been counted against this address is forgotten.",
    "no-address": "That is no address.",
    "client-ended": "Every session with this client has ended, and nobody can log in there.",
    "client-enabled": "People can log in there again.",
}


@blueprint.context_processor
def shared() -> dict[str, Any]:
    """What every template may use."""
    return {
        "moment": scales.moment,
        "iso": scales.iso,
        "span": scales.span,
        "form_token": lambda: sessions().form_token(administrator()),
        "who": lambda: administrator().account.username,
        "notice": _NOTICES.get(request.args.get("did", "")),
    }


@blueprint.errorhandler(OAuthError)
def refused(error: OAuthError) -> tuple[str, int, dict[str, str]]:
    page = render_template("console/error.html", text=error.description, status=error.status)
    return page, error.status, dict(error.headers)


@blueprint.errorhandler(TooManyRequests)
def limited(error: TooManyRequests) -> tuple[str, int, dict[str, str]]:
    return refused(too_many_requests(error.retry_after))


@blueprint.errorhandler(404)
def not_found(_error: HTTPException) -> tuple[str, int, dict[str, str]]:
    return refused(OAuthError(404, "not_found", "there is nothing here"))


@blueprint.errorhandler(DatabaseUnavailable)
@blueprint.errorhandler(RevocationError)
@blueprint.errorhandler(FamilyUnavailable)
@blueprint.errorhandler(FactorUnreadable)
@blueprint.errorhandler(KeyRingError)
def store_down(error: Exception) -> tuple[str, int, dict[str, str]]:
    log.warning("unavailable", path=request.path, error=str(error))
    return refused(unavailable("a store does not answer just now; try again"))


@blueprint.errorhandler(HashingBusy)
def busy(error: HashingBusy) -> tuple[str, int, dict[str, str]]:
    log.info("busy", path=request.path)
    return refused(unavailable(str(error), error.retry_after))
