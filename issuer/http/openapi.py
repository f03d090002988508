"""The OpenAPI document, kept beside the views that it describes."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from tokens.assurance import LEVELS

from ..notifications.polling import MOST_ACKNOWLEDGED, MOST_REFUSED, WORD
from .auth import LONGEST_CLIENT, LONGEST_NAME, LONGEST_RESET_TOKEN, LONGEST_SCOPE
from .body import LONGEST_SECONDS, LONGEST_TEXT, MAX_BODY, MOST_FIELDS
from .openapi_factors import FACTOR_FIELDS, FACTOR_REQUIRED, factor_paths
from .openapi_operations import BEARER as _BEARER
from .openapi_operations import LABEL as _LABEL
from .openapi_operations import OF_A_BODY as _OF_A_BODY
from .openapi_operations import TRANSPORT as _TRANSPORT
from .openapi_operations import done as _done
from .openapi_operations import json_body as _json_body
from .openapi_operations import operation as _operation
from .openapi_operations import password as _password
from .openapi_parts import (
    MOST_WHOLE,
    NONCE_PATTERN,
    SID_PATTERN,
    Node,
    answer,
    components,
    header,
    line,
    members,
    ref,
    text,
)

_COOKIE: Node = {"refreshCookie": []}
_BASIC: Node = {"clientSecretBasic": []}
_GATEWAY: Node = {"gatewaySecretBasic": []}
_OPEN: Node = {}
_METRICS: Node = {"metricsToken": []}
_RECEIVER: Node = {"receiverSecretBasic": []}


def document(issuer: str) -> Node:
    """The OpenAPI 3.1 document of this issuer."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gatepass issuer",
            "version": metadata.version("gatepass"),
            "description": (
                "Logs people in, rotates refresh tokens, and takes tokens back at once. Durations"
                " are in seconds, times in seconds since the epoch. Every refusal has the same"
                f" form, `Error`. A body has at most {MAX_BODY} bytes and names no member twice."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": issuer}],
        "paths": {
            **_session_paths(),
            **_password_paths(),
            **factor_paths(),
            **_token_paths(),
            **_feed_paths(),
            **_signal_paths(),
            **_discovery_paths(),
        },
        "components": components(),
    }


def _form_body(properties: Node, *, optional: tuple[str, ...]) -> Node:
    # Each field once (RFC 6749 section 3.2), so that none is a list.
    strict = {"additionalProperties": {"type": "string"}, "maxProperties": MOST_FIELDS}
    schema = members(properties, optional=optional, **strict)
    return {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": schema}}}


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


_LIST_IN_PATH: Node = {
    "name": "list_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": SID_PATTERN},
}


def _session_paths() -> Node:
    token = {"refresh_token": text("Of any generation.", LONGEST_TEXT)}
    login = {
        "username": _USERNAME,
        "password": _password("The person's password."),
        "client_id": line(
            "Where the person logs in; the only public client unless given.", LONGEST_CLIENT
        ),
        "transport": {**_TRANSPORT, "default": "cookie"},
        "label": _LABEL,
        **FACTOR_FIELDS,
    }
    rotate = {**token, "active_ago": _ACTIVE_AGO}
    elevate = {
        "current_password": _password("The present one."),
        "scope": line("Wanted beside the session's own: `elevated_scopes`.", LONGEST_SCOPE),
        "acr": {"enum": list(LEVELS), "description": "The level that has to be reached."},
        "transport": _TRANSPORT,
        "label": _LABEL,
        **FACTOR_FIELDS,
    }
    sessions = members({"sessions": {"type": "array", "items": ref("schemas", "Session")}})
    logged_out = {"200": _done("Whether a session was ended.", logged_out={"type": "boolean"})}
    of_all = {"200": _done("Every session has ended.", ended={"const": "all"})}
    of_one = {"200": _done("It has ended.", ended=text("Its sid.", pattern=SID_PATTERN))}
    return {
        "/login": {
            "post": _operation(
                "sessions", "login", "Start a session",
                {**_grant_answer(), **FACTOR_REQUIRED}, *_OF_A_BODY, "403", "429", "503",
                security=(_OPEN, _BASIC),
                body=_json_body(
                    login, optional=("client_id", "transport", "label", *FACTOR_FIELDS)
                ),
            )
        },
        "/refresh": {
            "post": _operation(
                "sessions", "refresh", "Renew a session's tokens",
                _grant_answer(), *_OF_A_BODY, "401", "403", "429", "503",
                security=(_COOKIE, _OPEN, _BASIC),
                body=_json_body(rotate, optional=tuple(rotate), required=False),
            )
        },
        "/elevate": {
            "post": _operation(
                "sessions", "elevate", "Prove more and have more for a short time",
                {**_grant_answer(), **FACTOR_REQUIRED}, *_OF_A_BODY, "403", "429", "503",
                security=(_BEARER,),
                body=_json_body(
                    elevate, optional=tuple(name for name in elevate if name != "current_password")
                ),
            )
        },
        "/logout": {
            "post": _operation(
                "sessions", "logout", "End this session",
                logged_out, *_OF_A_BODY, "401", "403", "503",
                security=(_COOKIE, _BEARER, _OPEN),
                body=_json_body(token, optional=tuple(token), required=False),
            )
        },
        "/sessions": {
            "get": _operation(
                "sessions", "listSessions", "One's own live sessions",
                {"200": answer("Oldest first.", sessions)}, "401", "503", security=(_BEARER,),
            ),
            "delete": _operation(
                "sessions", "endAllSessions", "Log out everywhere",
                of_all, "401", "503", security=(_BEARER,),
            ),
        },
        "/sessions/{sid}": {
            "parameters": [_SID_IN_PATH],
            "delete": _operation(
                "sessions", "endSession", "End one of one's own",
                of_one, "401", "404", "503", security=(_BEARER,),
            ),
        },
    }  # fmt: skip


def _password_paths() -> Node:
    change = {
        "current_password": _password("The present one."),
        "new_password": _password("Checked for length and against a blocklist."),
        "transport": _TRANSPORT,
        "label": _LABEL,
        **FACTOR_FIELDS,
    }
    reset = {
        "token": text("As it was delivered; good for one use.", LONGEST_RESET_TOKEN),
        "new_password": _password("Checked as at a change."),
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
    heard = _done("Heard; says nothing of whether the name is known.", accepted=_TRUE)
    return {
        "/password": {
            "post": _operation(
                "passwords", "changePassword", "Change the password and end every session",
                {**_grant_answer(), **FACTOR_REQUIRED}, *_OF_A_BODY, "403", "409", "429", "503",
                security=(_BEARER,),
                body=_json_body(change, optional=("transport", "label", *FACTOR_FIELDS)),
            )
        },
        "/password/rules": {
            "get": _operation(
                "passwords", "passwordRules", "What a page judges a new password by",
                {
                    "200": answer("The rules.", rules, tagged),
                    "304": {"description": "As the caller has it already.", "headers": tagged},
                },
            )
        },
        "/password/forgot": {
            "post": _operation(
                "passwords", "forgotPassword", "Have a reset token delivered",
                {"202": heard}, *_OF_A_BODY, "404", "429", "503",
                body=_json_body({"username": _USERNAME}),
            )
        },
        "/password/reset": {
            "post": _operation(
                "passwords", "resetPassword", "Set a password by reset token, end every session",
                {"200": _done("The password is set.", changed=_TRUE)}, *_OF_A_BODY, "429", "503",
                body=_json_body(reset),
            )
        },
    }  # fmt: skip


def _token_paths() -> Node:
    token = {
        "token": text("An access or a refresh token.", LONGEST_TEXT),
        "token_type_hint": {"type": "string", "description": "Not needed, and ignored."},
    }
    revoke = {**token, "client_id": line("A public client's id.", LONGEST_CLIENT)}
    names = ("ActiveAccessToken", "ActiveRefreshToken", "Inactive")
    found = {"oneOf": [ref("schemas", name) for name in names]}
    return {
        "/revoke": {
            "post": _operation(
                "tokens", "revokeToken", "Revoke a token (RFC 7009)",
                {"200": _done("Revoked, or it was worth nothing.")}, *_OF_A_BODY, "401", "503",
                security=(_BASIC, _OPEN),
                body=_form_body(revoke, optional=("token_type_hint", "client_id")),
            )
        },
        "/introspect": {
            "post": _operation(
                "tokens", "introspectToken", "Ask about a token of one's own audience (RFC 7662)",
                {"200": answer("What it is worth now.", found)}, *_OF_A_BODY, "401", "503",
                security=(_BASIC,),
                body=_form_body(token, optional=("token_type_hint",)),
            )
        },
    }  # fmt: skip


def _feed_paths() -> Node:
    """What docs/feed.md describes; `gateway.Verifier` speaks it."""
    signed = {"content": {"application/jwt": {"schema": {"type": "string"}}}}
    tagged = {
        "Cache-Control": header("It is revalidated each time."),
        "ETag": header("For `If-None-Match`."),
        "Vary": header("The coding is negotiated."),
    }
    binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    stream = {"text/event-stream": {"schema": {"type": "string"}}}
    whole: Node = {"type": "integer", "minimum": 0, "maximum": MOST_WHOLE}

    def key(kind: str) -> Node:
        pattern = f"^{kind}([0-9A-Fa-f]{{2}}){{16}}$"
        return text("Its kind's letter and 16 bytes, hexadecimal.", pattern=pattern)

    epoch, chain = "[A-Za-z0-9_-]{1,64}", "([0-9a-f]{40})?"
    position = {
        "epoch": text("Its epoch.", pattern=f"^{epoch}$"),
        "seq": {**whole, "description": "Its number."},
        "chain": {"type": "string", "pattern": f"^{chain}$"},
    }
    question = {
        "nonce": text("Comes back in the answer.", pattern=NONCE_PATTERN),
        "salt": text("Hexadecimal.", pattern="^([0-9A-Fa-f]{2}){1,64}$"),
        "keys": {
            "type": "array",
            "prefixItems": [key(kind) for kind in ("74", "73", "75", "6[Bb]")],
            "items": key("63"),
            "minItems": 4,
            "maxItems": 64,
        },
        "sub_ver": whole,
        "iat": {**whole, "description": "When the token was issued, seconds."},
        "known": {"oneOf": [{"type": "null"}, members(position)]},
    }

    after = text("A position: `epoch.seq.chain`.", pattern=rf"^{epoch}\.[0-9]{{1,15}}\.{chain}$")

    def asked(name: str, schema: Node) -> Node:
        return {"name": name, "in": "query", "required": True, "schema": schema}

    def operation(name: str, summary: str, answers: Node, *refusals: str, **more: Any) -> Node:
        return _operation(
            "feed", name, summary, answers, "401", *refusals, "503", security=(_GATEWAY,), **more
        )

    return {
        "/revocations": {
            "get": operation(
                "revocations", "The denylist, signed",
                {
                    "200": {"description": "A snapshot.", "headers": tagged, "content": binary},
                    "304": {"description": "As the caller has it already.", "headers": tagged},
                },
            )
        },
        "/revocations/state": {
            "parameters": [asked("nonce", {"type": "string", "pattern": NONCE_PATTERN})],
            "get": operation(
                "revocationsState", "Where the denylist stands, signed with a nonce",
                {"200": {"description": "A position.", **signed}}, "400",
            ),
        },
        "/revocations/lookup": {
            "post": operation(
                "revocationsLookup", "Whether an entry refuses a token, signed with a nonce",
                {"200": {"description": "What refuses it.", **signed}}, *_OF_A_BODY, "409",
                body=_json_body(question, optional=("known",)),
            )
        },
        "/revocations/events": {
            "parameters": [asked("after", after)],
            "get": operation(
                "revocationsEvents", "What comes after a position, as server-sent events",
                {"200": {"description": "A stream.", "content": stream}}, "400", "410",
            ),
        },
    }  # fmt: skip


def _signal_paths() -> Node:
    """Shared Signals, as docs/notifications.md describes them."""
    jti = text("A token's `jti`.", pattern=WORD)
    error = members(
        {
            "err": text("Its code (RFC 8936 section 2.6).", pattern=WORD),
            "description": {"type": "string"},
        },
        optional=("description",),
    )
    asked = {
        "maxEvents": {"type": "integer", "minimum": 0, "description": "None with 0."},
        "returnImmediately": {"type": "boolean", "description": "Do not wait for news."},
        "ack": {"type": "array", "items": jti, "maxItems": MOST_ACKNOWLEDGED},
        "setErrs": {
            "type": "object",
            "propertyNames": jti,
            "additionalProperties": error,
            "maxProperties": MOST_REFUSED,
        },
    }
    sets: Node = {"type": "object", "additionalProperties": {"type": "string"}}
    found = members({"sets": sets, "moreAvailable": {"type": "boolean"}})
    caching = {"Cache-Control": header("For how long it may be kept.")}
    return {
        "/.well-known/ssf-configuration": {
            "get": _operation(
                "signals", "signalsMetadata", "Metadata of the transmitter (SSF 1.0)",
                {"200": answer("Metadata.", {"type": "object", "minProperties": 1}, caching)},
                "404",
            )
        },
        "/ssf/poll": {
            "post": _operation(
                "signals", "pollSignals", "Fetch and acknowledge signals (RFC 8936)",
                {"200": answer("Signed tokens by their `jti`.", found)},
                *_OF_A_BODY, "401", "503",
                security=(_RECEIVER,),
                body=_json_body(asked, optional=tuple(asked)),
            )
        },
    }  # fmt: skip


def _discovery_paths() -> Node:
    caching = {"Cache-Control": header("For how long it may be kept.")}
    tagged = {**caching, "ETag": header("For `If-None-Match`.")}
    keys: Node = {"type": "array", "items": {"type": "object", "required": ["kty", "kid", "alg"]}}
    readiness = ref("schemas", "Readiness")
    again = {"Retry-After": header("Seconds.", pattern="^[0-9]+$")}
    # RFC 8414 and OpenAPI say what is in theirs.
    free_form: Node = {"type": "object", "minProperties": 1}

    def get(name: str, summary: str, answers: Node) -> Node:
        return {"get": _operation("discovery", name, summary, answers)}

    return {
        "/.well-known/jwks.json": get(
            "jwks", "Public keys (RFC 7517)",
            {
                "200": answer("The key set.", members({"keys": keys}), tagged),
                "304": {"description": "As the caller has it already.", "headers": tagged},
            },
        ),
        "/.well-known/oauth-authorization-server": get(
            "metadata", "Metadata (RFC 8414)", {"200": answer("Metadata.", free_form, caching)}
        ),
        "/status/{list_id}": {
            "parameters": [_LIST_IN_PATH],
            "get": _operation(
                "discovery", "statusList", "A Token Status List",
                {
                    "200": {
                        "description": "The list, signed.",
                        "headers": tagged,
                        "content": {"application/statuslist+jwt": {"schema": {"type": "string"}}},
                    },
                    "304": {"description": "As the caller has it already.", "headers": tagged},
                },
                "404", "503",
            ),
        },
        "/openapi.json": get(
            "openapi", "This document", {"200": answer("OpenAPI 3.1.", free_form, caching)}
        ),
        "/healthz": get(
            "health", "Whether the process is alive",
            {"200": _done("The process answers.", status={"const": "ok"})},
        ),
        "/metrics": {
            "get": _operation(
                "discovery", "metrics", "What is counted, for Prometheus",
                {
                    "200": {
                        "description": "In Prometheus' text format.",
                        "content": {"text/plain": {"schema": {"type": "string"}}},
                    },
                },
                "401",
                security=(_METRICS,),
            ),
        },
        "/readyz": get(
            "readiness", "Whether every store answers",
            {"200": answer("Ready.", readiness), "503": answer("Not ready.", readiness, again)},
        ),
    }  # fmt: skip
