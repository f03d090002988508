"""The OpenAPI document, kept beside the views that it describes."""

from __future__ import annotations

from importlib import metadata

from .auth import LONGEST_CLIENT
from .body import LONGEST_TEXT, MAX_BODY, MOST_FIELDS
from .openapi_factors import factor_paths
from .openapi_feeds import feed_paths, signal_paths
from .openapi_operations import BASIC, OF_A_BODY, OPEN, done, operation
from .openapi_parts import SID_PATTERN, Node, answer, components, header, line, members, ref, text
from .openapi_sessions import password_paths, session_paths

_METRICS: Node = {"metricsToken": []}


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
            **session_paths(),
            **password_paths(),
            **factor_paths(),
            **_token_paths(),
            **feed_paths(),
            **signal_paths(),
            **_discovery_paths(),
        },
        "components": components(),
    }


def _form_body(properties: Node, *, optional: tuple[str, ...]) -> Node:
    # Each field once (RFC 6749 section 3.2), so that none is a list.
    strict = {"additionalProperties": {"type": "string"}, "maxProperties": MOST_FIELDS}
    schema = members(properties, optional=optional, **strict)
    return {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": schema}}}


_LIST_IN_PATH: Node = {
    "name": "list_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": SID_PATTERN},
}


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
            "post": operation(
                "tokens", "revokeToken", "Revoke a token (RFC 7009)",
                {"200": done("Revoked, or it was worth nothing.")}, *OF_A_BODY, "401", "503",
                security=(BASIC, OPEN),
                body=_form_body(revoke, optional=("token_type_hint", "client_id")),
            )
        },
        "/introspect": {
            "post": operation(
                "tokens", "introspectToken", "Ask about a token of one's own audience (RFC 7662)",
                {"200": answer("What it is worth now.", found)}, *OF_A_BODY, "401", "503",
                security=(BASIC,),
                body=_form_body(token, optional=("token_type_hint",)),
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
        return {"get": operation("discovery", name, summary, answers)}

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
            "get": operation(
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
            {"200": done("The process answers.", status={"const": "ok"})},
        ),
        "/metrics": {
            "get": operation(
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
