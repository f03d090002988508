"""What the OpenAPI document shares between its operations: schemas, refusals, security schemes."""

from __future__ import annotations

from typing import Any

from .cookies import COOKIE

Node = dict[str, Any]

SID_PATTERN = "^[A-Za-z0-9_-]{22}$"
NONCE_PATTERN = "^[A-Za-z0-9_-]{16,64}$"
LINE_PATTERN = r"^[^\u0000-\u001f\u007f-\u009f]*$"
"""Without control characters."""
MOST_WHOLE = (1 << 53) - 1

REFUSALS = {
    "400": "BadRequest",
    "401": "Unauthorized",
    "403": "Forbidden",
    "404": "NotFound",
    "405": "MethodNotAllowed",
    "409": "Conflict",
    "410": "Gone",
    "411": "LengthRequired",
    "413": "TooLarge",
    "415": "UnsupportedType",
    "429": "TooMany",
    "503": "Unavailable",
}
"""By status, the name of the response among the components."""


def ref(kind: str, name: str) -> Node:
    return {"$ref": f"#/components/{kind}/{name}"}


def text(description: str, longest: int | None = None, **more: Any) -> Node:
    node: Node = {"type": "string", "description": description, "minLength": 1, **more}
    return node if longest is None else {**node, "maxLength": longest}


def line(description: str, longest: int) -> Node:
    return text(description, longest, pattern=LINE_PATTERN)


def or_null(schema: Node) -> Node:
    """The same or null, which says as much as leaving a member out."""
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else schema


def seconds(description: str, **more: Any) -> Node:
    return {"type": "integer", "minimum": 0, "description": description, **more}


def members(properties: Node, *, optional: tuple[str, ...] = (), **more: Any) -> Node:
    """An object whose members are all there but the `optional` ones."""
    node: Node = {"type": "object", "properties": properties, **more}
    required = [name for name in properties if name not in optional]
    return {**node, "required": required} if required else node


def json_content(schema: Node) -> Node:
    return {"application/json": {"schema": schema}}


def answer(description: str, schema: Node, headers: Node | None = None) -> Node:
    node: Node = {"description": description, "content": json_content(schema)}
    return node if headers is None else {**node, "headers": headers}


def header(description: str, **schema: Any) -> Node:
    return {"description": description, "schema": {"type": "string", **schema}}


def components() -> Node:
    """The document's `components`."""
    return {
        "schemas": _schemas(),
        "responses": _refusals(),
        "securitySchemes": _security_schemes(),
    }


def _refusals() -> Node:
    def refusal(description: str, **headers: Node) -> Node:
        named = {name.replace("_", "-"): header for name, header in headers.items()}
        return answer(description, ref("schemas", "Error"), named or None)

    challenge = header("How to authenticate (RFC 6750 section 3, RFC 7617).")
    again = header("Seconds after which it is worth trying again.", pattern="^[0-9]+$")
    return {
        "BadRequest": refusal("Malformed, or credentials or a token that are worth nothing."),
        "Unauthorized": refusal("No valid token or client secret.", WWW_Authenticate=challenge),
        "Forbidden": refusal(
            "Cookie mode is refused to requests that another site may have sent; or what was proved"
            " is not enough for this client."
        ),
        "NotFound": refusal("There is no such thing, or it is not the caller's."),
        "MethodNotAllowed": refusal("Not this method.", Allow=header("The methods allowed.")),
        "Conflict": refusal("Another change came first; nothing was written."),
        "Gone": refusal("The feed does not go on from there; take a snapshot."),
        "LengthRequired": refusal("The body's length is not given."),
        "TooLarge": refusal("The body is too large."),
        "UnsupportedType": refusal("The body is of another content type."),
        "TooMany": refusal("Too many attempts; nothing was tried or changed.", Retry_After=again),
        "Unavailable": refusal("A store does not answer in time.", Retry_After=again),
        "Unexpected": refusal("Any other refusal, 405 for another method among them."),
    }


def _security_schemes() -> Node:
    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An access token (RFC 9068).",
        },
        "refreshCookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": COOKIE,
            "description": "The refresh token of a browser; needs an own `Origin`.",
        },
        "clientSecretBasic": {
            "type": "http",
            "scheme": "basic",
            "description": "A confidential client (RFC 6749 section 2.3.1).",
        },
        "gatewaySecretBasic": {
            "type": "http",
            "scheme": "basic",
            "description": "A gateway of `gateways`, encoded as a client is.",
        },
        "receiverSecretBasic": {
            "type": "http",
            "scheme": "basic",
            "description": "A receiver of `notifications.signals`, encoded as a client is.",
        },
        "metricsToken": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token of `metrics_token_sha256`.",
        },
    }


def _schemas() -> Node:
    sid = text("The session: 128 random bits.", pattern=SID_PATTERN)
    idle_left = {
        "type": ["integer", "null"],
        "minimum": 0,
        "description": "Until it ends for want of a person's activity; null: never for that.",
    }
    absolute_left = seconds("Until it ends, whatever happens.")
    ends = {"idle_expires_in": idle_left, "absolute_expires_in": absolute_left}
    elevated_left = seconds("Until its elevation ends; only where there is one.", minimum=1)
    scope = {"type": "string", "description": "Space-separated (RFC 6749 section 3.3)."}
    place = {
        "idx": {"type": "integer", "minimum": 0, "description": "Its place in the list."},
        "uri": text("Its Token Status List."),
    }
    refresh_token = text("Only with transport `body`; otherwise it is in the cookie.")
    granted = {
        "access_token": text("A JWT, or a JWE for an audience with a registered key."),
        "token_type": {"const": "Bearer"},
        "expires_in": seconds("The access token's lifetime.", minimum=1),
        "refresh_token": refresh_token,
        "scope": scope,
        "session": members(
            {"sid": sid, **ends, "elevated_expires_in": elevated_left},
            optional=("elevated_expires_in",),
        ),
    }
    return {
        "Error": members(
            {
                "error": text("A stable code (RFC 6749 section 5.2)."),
                "error_description": text("For a developer; holds no secret."),
            }
        ),
        "FactorRequired": members(
            {
                "error": {"const": "factor_required"},
                "error_description": text("For a developer; holds no secret."),
                "factors": {
                    "type": "array",
                    "items": {"enum": ["totp", "webauthn", "recovery_code"]},
                    "description": "What would do.",
                },
                "webauthn": {
                    "type": "object",
                    "description": "`PublicKeyCredentialRequestOptions` (Web Authentication 3).",
                },
            },
            optional=("webauthn",),
        ),
        "Factor": members(
            {
                "id": text("This factor.", pattern=SID_PATTERN),
                "kind": {"enum": ["totp", "webauthn"]},
                "label": {"type": "string", "description": "As its owner named it."},
                "created": seconds("When it was enrolled."),
                "last_used": {"type": ["integer", "null"], "minimum": 0},
                "locked": {"type": "boolean", "description": "After too many wrong codes."},
                "synced": {"type": "boolean", "description": "Whether its key may be copied."},
            },
            optional=("synced",),
        ),
        "Grant": members(granted, optional=("refresh_token",)),
        "Changed": members(
            {
                "factor": ref("schemas", "Factor"),
                "removed": text("The factor that is gone.", pattern=SID_PATTERN),
                "recovery_codes": {"type": "array", "items": {"type": "string"}},
                **granted,
            },
            optional=("factor", "removed", "recovery_codes", *granted),
        ),
        "Session": members(
            {
                "sid": sid,
                "client_id": text("Where the person logged in."),
                "label": {"type": "string", "description": "As the client named the device."},
                "address": {"type": "string"},
                "user_agent": {"type": "string"},
                "created": seconds("When the person logged in."),
                "last_active": seconds("When the person last did something."),
                "last_refresh": seconds("When tokens were last renewed."),
                **ends,
                "current": {"type": "boolean", "description": "Whether it is the caller's own."},
            }
        ),
        "Inactive": members({"active": {"const": False}}),
        "ActiveAccessToken": members(
            {
                "active": {"const": True},
                "token_type": {"const": "Bearer"},
                "iss": text("This issuer."),
                "sub": text("The person."),
                "aud": {"type": ["string", "array"], "items": {"type": "string"}},
                "client_id": text("Where the person logged in."),
                "iat": seconds("When it was issued."),
                "exp": seconds("When it expires."),
                "jti": text("This token: 128 random bits."),
                "sid": sid,
                "auth_time": seconds("When the person logged in."),
                "sub_ver": seconds("The person's version."),
                "amr": {"type": "array", "items": {"type": "string"}},
                "scope": scope,
                "roles": {"type": "array", "items": {"type": "string"}},
                "acr": text("How well the person was authenticated: `aal1`, `aal2` or `aal3`."),
                "status": members({"status_list": members(place)}),
            },
            optional=("roles", "acr", "status"),
        ),
        "ActiveRefreshToken": members(
            {
                "active": {"const": True},
                "token_type": {"const": "refresh_token"},
                "iss": text("This issuer."),
                "sub": text("The person."),
                "sid": sid,
                "client_id": text("Where the person logged in."),
                "scope": scope,
                "exp": seconds("When the session ends as things stand."),
            }
        ),
        "Readiness": members(
            {
                "status": {"enum": ["ready", "not ready"]},
                "checks": members(
                    {
                        name: {"enum": ["ok", "failing"]}
                        for name in ("database", "families", "denylist", "keys")
                    }
                ),
            }
        ),
    }
