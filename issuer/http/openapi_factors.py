"""The part of the OpenAPI document that is about second factors."""

from __future__ import annotations

from .factors import LONGEST_FACTOR_LABEL
from .given_factor import LONGEST_CODE
from .openapi_operations import (
    BEARER,
    OF_A_BODY,
    TRANSPORT,
    done,
    json_body,
    operation,
    password,
)
from .openapi_parts import SID_PATTERN, Node, answer, header, line, members, ref, seconds, text

FACTOR_FIELDS: Node = {
    "otp": line("A code of an authenticator app.", LONGEST_CODE),
    "recovery_code": line("One of the account's recovery codes.", LONGEST_CODE),
    "webauthn": {
        "type": "object",
        "description": "An assertion: a `PublicKeyCredential` as `toJSON()` writes it.",
    },
}
"""One of them, beside the password of an account that has a second factor."""

FACTOR_REQUIRED: Node = {
    "401": answer(
        "A second factor is required, or a client's secret.",
        {"anyOf": [ref("schemas", "FactorRequired"), ref("schemas", "Error")]},
        {"WWW-Authenticate": header("How to authenticate (RFC 9470 section 3, RFC 7617).")},
    )
}

_LABEL = line("A name for the factor.", LONGEST_FACTOR_LABEL)
_PROOF: Node = {
    "current_password": password("May be left out for some minutes after a login."),
    **FACTOR_FIELDS,
}
_WISH: Node = {
    "end_other_sessions": {
        "type": "boolean",
        "default": True,
        "description": "Whether every other session ends; the caller gets a new one.",
    },
    "transport": TRANSPORT,
    "session_label": line("A name for the device, for a new session.", LONGEST_FACTOR_LABEL),
}


def factor_paths() -> Node:
    """Each with the bearer token, and with proof anew of who is calling."""
    begun = {
        "id": text("This enrolment.", pattern=SID_PATTERN),
        "secret": text("For an app that is typed into: base32. Told this once."),
        "otpauth_uri": text("For an app that reads a QR code."),
        "expires_in": seconds("In which the first code is to be given."),
    }
    options: Node = {"type": "object", "minProperties": 1}
    held = {
        "factors": {"type": "array", "items": ref("schemas", "Factor")},
        "recovery_codes_left": seconds("How many have not been spent."),
    }
    changed = answer("Changed; with the caller's new tokens.", ref("schemas", "Changed"))
    cookie = {"Set-Cookie": header("In cookie mode: the refresh token.")}
    confirm = {
        "id": line("Of the enrolment.", LONGEST_CODE),
        "otp": line("The app's first code.", LONGEST_CODE),
        **_WISH,
    }
    register = {
        "webauthn": {
            "type": "object",
            "description": "A `PublicKeyCredential` with an attestation, by `toJSON()`.",
        },
        "label": _LABEL,
        **_WISH,
    }

    def post(name: str, summary: str, answers: Node, *more: str, body: Node, must: int = 0) -> Node:
        return {
            "post": operation(
                "factors", name, summary, {**answers, **FACTOR_REQUIRED}, *OF_A_BODY, *more,
                "409", "429", "503", security=(BEARER,),
                body=json_body(body, optional=tuple(body)[must:], required=must > 0),
            )
        }  # fmt: skip

    change = {"200": {**changed, "headers": cookie}}
    return {
        "/factors": {
            "get": operation(
                "factors", "listFactors", "One's own second factors",
                {"200": answer("Oldest first.", members(held))}, "401", "503", security=(BEARER,),
            )
        },
        "/factors/totp": post(
            "beginTotp", "Begin to enrol an authenticator app",
            {"200": done("To be confirmed with its first code.", **begun)},
            body={**_PROOF, "label": _LABEL},
        ),
        "/factors/totp/confirm": post(
            "confirmTotp", "Enrol it by its first code", change, "403", "404", body=confirm, must=2
        ),
        "/factors/webauthn/options": post(
            "beginPasskey", "Begin to enrol a passkey",
            {"200": done("For `navigator.credentials.create()`.", webauthn=options)}, "404",
            body=_PROOF,
        ),
        "/factors/webauthn/register": post(
            "registerPasskey", "Enrol what the browser made", change, "403", "404",
            body=register, must=1,
        ),
        "/factors/recovery-codes": post(
            "renewRecoveryCodes", "Make new recovery codes, told this once", change, "403",
            body={**_PROOF, **_WISH},
        ),
        "/factors/{factor_id}": {
            "parameters": [
                {
                    "name": "factor_id",
                    "in": "path",
                    "required": True,
                    "schema": {"type": "string", "pattern": SID_PATTERN},
                }
            ],
            "delete": operation(
                "factors", "removeFactor", "Remove one of one's own",
                {**change, **FACTOR_REQUIRED}, *OF_A_BODY, "403", "404", "429", "503",
                security=(BEARER,),
                body=json_body(
                    {**_PROOF, **_WISH}, optional=(*_PROOF, *_WISH), required=False
                ),
            ),
        },
    }  # fmt: skip
