"""`/factors`: a person enrols, lists and removes their own."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from ..accounts.passwords import MAX_PASSWORD
from ..errors import invalid_request
from ..factors import changes
from ..factors.factors import ENROLMENT_LIFETIME
from ..sessions.bearer import Caller
from ..sessions.grant import Grant
from .answers import grant_fields
from .body import Fields, read_json
from .cookies import TRANSPORTS, refresh_cookie, require_own_origin, set_refresh_cookie
from .current import caller, client_address, context, services
from .given_factor import LONGEST_CODE, given_factor

blueprint = Blueprint("factors", __name__)

LONGEST_FACTOR_LABEL = 64


@blueprint.get("/factors")
def listing() -> Response:
    parts, who = services(), caller()
    held = parts.factors.of(who.account.id)
    left = parts.factors.store.codes_left(who.account.id)
    return jsonify(
        {"factors": [factor.described() for factor in held], "recovery_codes_left": left}
    )


@blueprint.post("/factors/totp")
def begin_totp() -> Response:
    fields = read_json(optional=True)
    label = _label(fields)
    who, proof = _proved(fields)
    enrolment_id, secret, uri = changes.begin_totp(services(), who, proof, label)
    return jsonify(
        {
            "id": enrolment_id,
            "secret": secret,
            "otpauth_uri": uri,
            "expires_in": ENROLMENT_LIFETIME,
        }
    )


@blueprint.post("/factors/totp/confirm")
def confirm_totp() -> Response:
    fields = read_json()
    enrolment_id = fields.line("id", longest=LONGEST_CODE)
    code = fields.line("otp", longest=LONGEST_CODE)
    wish, transport = _wish(fields)
    who = _caller(transport)
    factor, grant = changes.confirm_totp(services(), who, enrolment_id, code, wish)
    return _answer({"factor": factor.described()}, grant, transport)


@blueprint.post("/factors/webauthn/options")
def begin_passkey() -> Response:
    who, proof = _proved(read_json(optional=True))
    return jsonify({"webauthn": changes.begin_passkey(services(), who, proof)})


@blueprint.post("/factors/webauthn/register")
def register_passkey() -> Response:
    fields = read_json()
    credential = fields.optional_object("webauthn")
    if credential is None:
        raise invalid_request("webauthn is missing")
    label = _label(fields)
    wish, transport = _wish(fields)
    who = _caller(transport)
    factor, grant = changes.register_passkey(services(), who, credential, label, wish)
    return _answer({"factor": factor.described()}, grant, transport)


@blueprint.delete("/factors/<string(length=22):factor_id>")
def remove(factor_id: str) -> Response:
    fields = read_json(optional=True)
    wish, transport = _wish(fields)
    who, proof = _proved(fields, transport)
    grant = changes.remove(services(), who, proof, factor_id, wish)
    return _answer({"removed": factor_id}, grant, transport)


@blueprint.post("/factors/recovery-codes")
def renew_codes() -> Response:
    fields = read_json(optional=True)
    wish, transport = _wish(fields)
    who, proof = _proved(fields, transport)
    codes, grant = changes.renew_codes(services(), who, proof, wish)
    return _answer({"recovery_codes": codes}, grant, transport)


def _caller(transport: str) -> Caller:
    who = caller()
    if transport == "cookie":
        require_own_origin(services().settings, who.claims.client_id)
    return who


def _proved(fields: Fields, transport: str = "body") -> tuple[Caller, changes.Proof]:
    """The caller, and by what they have proved anew who they are.

    Last of all: a code that is given with a request that is malformed is not spent.
    """
    who = _caller(transport)
    given = given_factor(fields)
    password = None
    if fields.has("current_password"):
        password = fields.text("current_password", longest=MAX_PASSWORD)
    proof = changes.reauthenticate(
        services(), who, password=password, given=given, address=client_address()
    )
    return who, proof


def _wish(fields: Fields) -> tuple[changes.Wish, str]:
    end_others = fields.flag("end_other_sessions", default=True)
    transport = fields.choice("transport", TRANSPORTS)
    if transport is None:
        transport = "body" if refresh_cookie() is None else "cookie"
    return changes.Wish(end_others, context(_session_label(fields))), transport


def _label(fields: Fields) -> str:
    return fields.optional_line("label", longest=LONGEST_FACTOR_LABEL) or ""


def _session_label(fields: Fields) -> str:
    return fields.optional_line("session_label", longest=LONGEST_FACTOR_LABEL) or ""


def _answer(told: dict[str, Any], grant: Grant | None, transport: str) -> Response:
    """What was changed; with it the caller's new tokens, if sessions were ended."""
    if grant is None:
        return jsonify(told)
    response = jsonify({**told, **grant_fields(grant, transport)})
    if transport == "cookie":
        set_refresh_cookie(response, grant.refresh_token, grant.absolute_expires_in)
    return response
