"""The parts of the OpenAPI document for those who follow: the denylist's feed, Shared Signals."""

from __future__ import annotations

from typing import Any

from ..notifications.polling import MOST_ACKNOWLEDGED, MOST_REFUSED, WORD
from .openapi_operations import OF_A_BODY, json_body, operation
from .openapi_parts import MOST_WHOLE, NONCE_PATTERN, Node, answer, header, members, text

_GATEWAY: Node = {"gatewaySecretBasic": []}
_RECEIVER: Node = {"receiverSecretBasic": []}


def feed_paths() -> Node:
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

    def asking(name: str, summary: str, answers: Node, *refusals: str, **more: Any) -> Node:
        return operation(
            "feed", name, summary, answers, "401", *refusals, "503", security=(_GATEWAY,), **more
        )

    return {
        "/revocations": {
            "get": asking(
                "revocations", "The denylist, signed",
                {
                    "200": {"description": "A snapshot.", "headers": tagged, "content": binary},
                    "304": {"description": "As the caller has it already.", "headers": tagged},
                },
            )
        },
        "/revocations/state": {
            "parameters": [asked("nonce", {"type": "string", "pattern": NONCE_PATTERN})],
            "get": asking(
                "revocationsState", "Where the denylist stands, signed with a nonce",
                {"200": {"description": "A position.", **signed}}, "400",
            ),
        },
        "/revocations/lookup": {
            "post": asking(
                "revocationsLookup", "Whether an entry refuses a token, signed with a nonce",
                {"200": {"description": "What refuses it.", **signed}}, *OF_A_BODY, "409",
                body=json_body(question, optional=("known",)),
            )
        },
        "/revocations/events": {
            "parameters": [asked("after", after)],
            "get": asking(
                "revocationsEvents", "What comes after a position, as server-sent events",
                {"200": {"description": "A stream.", "content": stream}}, "400", "410",
            ),
        },
    }  # fmt: skip


def signal_paths() -> Node:
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
            "get": operation(
                "signals", "signalsMetadata", "Metadata of the transmitter (SSF 1.0)",
                {"200": answer("Metadata.", {"type": "object", "minProperties": 1}, caching)},
                "404",
            )
        },
        "/ssf/poll": {
            "post": operation(
                "signals", "pollSignals", "Fetch and acknowledge signals (RFC 8936)",
                {"200": answer("Signed tokens by their `jti`.", found)},
                *OF_A_BODY, "401", "503",
                security=(_RECEIVER,),
                body=json_body(asked, optional=tuple(asked)),
            )
        },
    }  # fmt: skip
