"""The parts of the OpenAPI document that are about sessions and passwords."""

from __future__ import annotations

from tokens.assurance import LEVELS

from .auth import LONGEST_CLIENT, LONGEST_NAME, LONGEST_RESET_TOKEN, LONGEST_SCOPE
from .body import LONGEST_SECONDS, LONGEST_TEXT
from .openapi_factors import FACTOR_FIELDS, FACTOR_REQUIRED
from .openapi_operations import (
    BASIC,
    BEARER,
    LABEL,
    OF_A_BODY,
    OPEN,
    TRANSPORT,
    done,
    json_body,
    operation,
    password,
)
from .openapi_parts import SID_PATTERN, Node, answer, header, line, members, ref, text

_COOKIE: Node = {"refreshCookie": []}

_SID_OF_GRANT = "$response.body#/session/sid"
_TOKEN_OF_GRANT = {"refresh_token": "$response.body#/refresh_token"}
_GRANT_LINKS: Node = {
    "Renew": {"operationId": "refresh", "requestBody": _TOKEN_OF_GRANT},
    "LogOut": {"operationId": "logout", "requestBody": _TOKEN_OF_GRANT},
    "End": {"operationId": "endSession", "parameters": {"sid": _SID_OF_GRANT}},
}


def _grant_answer() -> Node:
    cookie = header("In cookie mode: the refresh token.")
    granted = answer("Tokens.", ref("schemas", "Grant"), {"Set-Cookie": cookie})
    return {"200": {**granted, "links": _GRANT_LINKS}}


_TRUE: Node = {"const": True}
_USERNAME = line("Compared after NFKC and case folding.", LONGEST_NAME)
_ACTIVE_AGO: Node = {
    "type": "number",
    "minimum": 0,
    "maximum": LONGEST_SECONDS,
    "description": "Seconds since the person last did something, by the client's word; absent:"
    " not since the last refresh.",
}
_SID_IN_PATH: Node = {
    "name": "sid",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": SID_PATTERN},
}


def session_paths() -> Node:
    token = {"refresh_token": text("Of any generation.", LONGEST_TEXT)}
    login = {
        "username": _USERNAME,
        "password": password("The person's password."),
        "client_id": line(
            "Where the person logs in; the only public client unless given.", LONGEST_CLIENT
        ),
        "transport": {**TRANSPORT, "default": "cookie"},
        "label": LABEL,
        **FACTOR_FIELDS,
    }
    rotate = {**token, "active_ago": _ACTIVE_AGO}
    elevate = {
        "current_password": password("The present one."),
        "scope": line("Wanted beside the session's own: `elevated_scopes`.", LONGEST_SCOPE),
        "acr": {"enum": list(LEVELS), "description": "The level that has to be reached."},
        "transport": TRANSPORT,
        "label": LABEL,
        **FACTOR_FIELDS,
    }
    sessions = members({"sessions": {"type": "array", "items": ref("schemas", "Session")}})
    logged_out = {"200": done("Whether a session was ended.", logged_out={"type": "boolean"})}
    of_all = {"200": done("Every session has ended.", ended={"const": "all"})}
    of_one = {"200": done("It has ended.", ended=text("Its sid.", pattern=SID_PATTERN))}
    return {
        "/login": {
            "post": operation(
                "sessions", "login", "Start a session",
                {**_grant_answer(), **FACTOR_REQUIRED}, *OF_A_BODY, "403", "429", "503",
                security=(OPEN, BASIC),
                body=json_body(
                    login, optional=("client_id", "transport", "label", *FACTOR_FIELDS)
                ),
            )
        },
        "/refresh": {
            "post": operation(
                "sessions", "refresh", "Renew a session's tokens",
                _grant_answer(), *OF_A_BODY, "401", "403", "429", "503",
                security=(_COOKIE, OPEN, BASIC),
                body=json_body(rotate, optional=tuple(rotate), required=False),
            )
        },
        "/elevate": {
            "post": operation(
                "sessions", "elevate", "Prove more and have more for a short time",
                {**_grant_answer(), **FACTOR_REQUIRED}, *OF_A_BODY, "403", "429", "503",
                security=(BEARER,),
                body=json_body(
                    elevate, optional=tuple(name for name in elevate if name != "current_password")
                ),
            )
        },
        "/logout": {
            "post": operation(
                "sessions", "logout", "End this session",
                logged_out, *OF_A_BODY, "401", "403", "503",
                security=(_COOKIE, BEARER, OPEN),
                body=json_body(token, optional=tuple(token), required=False),
            )
        },
        "/sessions": {
            "get": operation(
                "sessions", "listSessions", "One's own live sessions",
                {"200": answer("Oldest first.", sessions)}, "401", "503", security=(BEARER,),
            ),
            "delete": operation(
                "sessions", "endAllSessions", "Log out everywhere",
                of_all, "401", "503", security=(BEARER,),
            ),
        },
        "/sessions/{sid}": {
            "parameters": [_SID_IN_PATH],
            "delete": operation(
                "sessions", "endSession", "End one of one's own",
                of_one, "401", "404", "503", security=(BEARER,),
            ),
        },
    }  # fmt: skip


def password_paths() -> Node:
    change = {
        "current_password": password("The present one."),
        "new_password": password("Checked for length and against a blocklist."),
        "transport": TRANSPORT,
        "label": LABEL,
        **FACTOR_FIELDS,
    }
    reset = {
        "token": text("As it was delivered; good for one use.", LONGEST_RESET_TOKEN),
        "new_password": password("Checked as at a change."),
    }
    words: Node = {"type": "array", "items": {"type": "string"}}
    rules = members(
        {
            "min_length": {"type": "integer"},
            "max_length": {"type": "integer"},
            "blocked": {**words, "description": "Refused, in small letters."},
            "common_words": {**words, "description": "Those that are guessed first in front."},
        }
    )
    tagged = {
        "Cache-Control": header("For how long it may be kept."),
        "ETag": header("For `If-None-Match`."),
    }
    heard = done("Heard; says nothing of whether the name is known.", accepted=_TRUE)
    return {
        "/password": {
            "post": operation(
                "passwords", "changePassword", "Change the password and end every session",
                {**_grant_answer(), **FACTOR_REQUIRED}, *OF_A_BODY, "403", "409", "429", "503",
                security=(BEARER,),
                body=json_body(change, optional=("transport", "label", *FACTOR_FIELDS)),
            )
        },
        "/password/rules": {
            "get": operation(
                "passwords", "passwordRules", "What a page judges a new password by",
                {
                    "200": answer("The rules.", rules, tagged),
                    "304": {"description": "As the caller has it already.", "headers": tagged},
                },
            )
        },
        "/password/forgot": {
            "post": operation(
                "passwords", "forgotPassword", "Have a reset token delivered",
                {"202": heard}, *OF_A_BODY, "404", "429", "503",
                body=json_body({"username": _USERNAME}),
            )
        },
        "/password/reset": {
            "post": operation(
                "passwords", "resetPassword", "Set a password by reset token, end every session",
                {"200": done("The password is set.", changed=_TRUE)}, *OF_A_BODY, "429", "503",
                body=json_body(reset),
            )
        },
    }  # fmt: skip
