"""Operations on second factors that are killed halfway; with them all operations there are."""

from __future__ import annotations

import time

import pyotp
from harness import crash_operations
from harness.authenticator import Authenticator
from harness.crash_operations import (
    BOTH,
    PASSWORD,
    Operation,
    Reply,
    Scene,
    succeeded,
)
from harness.issuer_app import OTHER_ORIGIN, RP_ID

from issuer.crash_points import CrashPoint as At

_ENTRY = (At.REVOCATION_JOURNALLED, At.REVOCATION_DENIED, At.REVOCATION_DONE)
_NEW_SESSION = (At.LOGIN_FAMILY_MADE, At.GRANT_MINTING)

# A code is good once, and then none of an earlier step: each is one step on from the one before.
_ENROL, _ACT, _AGAIN = -1, 0, 1


_STEP, _ROOM = 30, 6
"""Seconds: of a code, and of what must be left of it for the code before to be taken still."""


def _code(scene: Scene, steps: int) -> str:
    left = _STEP - time.time() % _STEP
    if steps == _ENROL and left < _ROOM:
        time.sleep(left)
    return pyotp.TOTP(scene.app).at(int(time.time()), counter_offset=steps)


def _post(scene: Scene, path: str, **fields: object) -> Reply:
    return scene.stage.ask("POST", f"/factors{path}", fields, token=scene.access())


def _begin(scene: Scene) -> Reply:
    reply = _post(scene, "/totp", current_password=PASSWORD)
    if reply.status == 200:
        scene.app = reply.body["secret"]
        scene.enrolment = reply.body["id"]
    return reply


def _confirm(scene: Scene, *, keep: bool = False) -> Reply:
    given = {"id": scene.enrolment, "otp": _code(scene, _ENROL), "transport": "body"}
    return _post(scene, "/totp/confirm", **given, end_other_sessions=not keep)


def _enrol(scene: Scene) -> None:
    """An app beside the password, whose enrolment ends nothing."""
    succeeded(_begin(scene))
    succeeded(_confirm(scene, keep=True))


def _login(scene: Scene, **given: object) -> Reply:
    body = {"username": scene.username, "password": PASSWORD, "client_id": scene.client_id}
    return scene.stage.ask("POST", "/login", {**body, "transport": "body", **given})


def _log_in(scene: Scene) -> Reply:
    return _login(scene, otp=_code(scene, _ACT))


def _log_in_again(scene: Scene) -> None:
    # The code may be spent though nobody was let in; the next one is not.
    succeeded(_login(scene, otp=_code(scene, _AGAIN)))


def _guess(scene: Scene) -> Reply:
    reply = _login(scene, otp="000000")
    assert reply.body.get("error") == "factor_refused", reply
    return Reply(200, reply.body)


def _is_enrolled(scene: Scene) -> None:
    """The token of before is refused, and a login needs the app."""
    assert _confirm(scene).status == 401
    assert _login(scene).body["error"] == "factor_required"
    succeeded(_login(scene, otp=_code(scene, _ACT)))


def _codes(scene: Scene) -> Reply:
    given = {"current_password": PASSWORD, "otp": _code(scene, _ACT)}
    return _post(scene, "/recovery-codes", **given, end_other_sessions=False)


def _codes_again(scene: Scene) -> None:
    given = {"current_password": PASSWORD, "otp": _code(scene, _AGAIN)}
    succeeded(_post(scene, "/recovery-codes", **given, end_other_sessions=False))


def _remove(scene: Scene) -> Reply:
    body = {"current_password": PASSWORD, "otp": _code(scene, _ACT), "transport": "body"}
    return scene.stage.ask("DELETE", f"/factors/{scene.enrolment}", body, token=scene.access())


def _reset_again(scene: Scene) -> None:
    succeeded(_RESET(scene))
    succeeded(_login(scene))


def _device(scene: Scene) -> Authenticator:
    if scene.device is None:
        scene.device = Authenticator(OTHER_ORIGIN, RP_ID)
    return scene.device


def _begin_passkey(scene: Scene) -> None:
    options = _post(scene, "/webauthn/options", current_password=PASSWORD).granted()["webauthn"]
    scene.registration = _device(scene).create(options)


def _register(scene: Scene) -> Reply:
    return _post(scene, "/webauthn/register", webauthn=scene.registration, transport="body")


def _enrol_passkey(scene: Scene) -> None:
    _begin_passkey(scene)
    answer = {"webauthn": scene.registration, "end_other_sessions": False}
    succeeded(_post(scene, "/webauthn/register", **answer))


def _log_in_with_passkey(scene: Scene) -> Reply:
    options = _login(scene).body["webauthn"]
    return _login(scene, webauthn=_device(scene).get(options))


_RESET = crash_operations.command("users", "factors", "{user}", "reset")

FACTOR_OPERATIONS = (
    Operation("beginning to enrol an authenticator app", _begin, (At.FACTOR_BEGUN,)),
    Operation(
        "enrolling an authenticator app",
        _confirm,
        (*_ENTRY, *_NEW_SESSION),
        access_refused=BOTH,
        refresh_refused=BOTH,
        prepare=lambda scene: succeeded(_begin(scene)),
        again=_is_enrolled,
    ),
    Operation(
        "login with a code",
        _log_in,
        (At.FACTOR_PROVED, *_NEW_SESSION),
        prepare=_enrol,
        again=_log_in_again,
    ),
    Operation(
        "login with a wrong code",
        _guess,
        (At.FACTOR_PROVED, At.AUDIT_PENDED, At.AUDIT_PENDED),
        prepare=_enrol,
        only_traced=True,
    ),
    Operation(
        "new recovery codes",
        _codes,
        (At.FACTOR_PROVED, At.FACTOR_WRITTEN),
        prepare=_enrol,
        again=_codes_again,
    ),
    Operation(
        "removing an authenticator app",
        _remove,
        (At.FACTOR_PROVED, *_ENTRY, *_NEW_SESSION),
        access_refused=BOTH,
        refresh_refused=BOTH,
        prepare=_enrol,
        only_traced=True,
    ),
    Operation(
        "enrolling a passkey",
        _register,
        (At.FACTOR_ANSWERED, *_ENTRY, *_NEW_SESSION),
        access_refused=BOTH,
        refresh_refused=BOTH,
        prepare=_begin_passkey,
        only_traced=True,
    ),
    Operation(
        "login with a passkey",
        _log_in_with_passkey,
        (At.FACTOR_BEGUN, At.AUDIT_PENDED, At.FACTOR_ANSWERED, At.FACTOR_PROVED, *_NEW_SESSION),
        prepare=_enrol_passkey,
        only_traced=True,
    ),
    Operation(
        "gatepass users factors reset",
        _RESET,
        _ENTRY,
        access_refused=BOTH,
        refresh_refused=BOTH,
        prepare=_enrol,
        again=_reset_again,
    ),
)

OPERATIONS = (*crash_operations.OPERATIONS, *FACTOR_OPERATIONS)
