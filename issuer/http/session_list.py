"""`/sessions`: a person sees and ends their own."""

from __future__ import annotations

import re
from dataclasses import asdict

from flask import Blueprint, Response, jsonify

from .. import sessions
from ..errors import OAuthError
from .current import caller, services

blueprint = Blueprint("sessions", __name__)

_SID = re.compile(r"[A-Za-z0-9_-]{22}\Z")


@blueprint.get("/sessions")
def listing() -> Response:
    who = caller()
    found = sessions.list_sessions(services(), who.account)
    return jsonify(
        {"sessions": [{**asdict(info), "current": info.sid == who.claims.sid} for info in found]}
    )


@blueprint.delete("/sessions")
def end_all() -> Response:
    who = caller()
    sessions.end_all(services(), sub=who.account.id)
    return jsonify({"ended": "all"})


@blueprint.delete("/sessions/<sid>")
def end_one(sid: str) -> Response:
    who = caller()
    if not _SID.match(sid):
        raise OAuthError(404, "not_found", "there is no such session")
    sessions.end_own(services(), sub=who.account.id, sid=sid)
    return jsonify({"ended": sid})
