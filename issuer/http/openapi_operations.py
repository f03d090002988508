"""How the OpenAPI document writes an operation down, and fields that several of them take."""

from __future__ import annotations

from ..accounts.passwords import MAX_PASSWORD
from .auth import LONGEST_LABEL
from .cookies import TRANSPORTS
from .openapi_parts import REFUSALS, Node, answer, json_content, line, members, or_null, ref, text

BEARER: Node = {"bearer": []}
BASIC: Node = {"clientSecretBasic": []}
OPEN: Node = {}
"""Nothing has to be proven."""
OF_A_BODY = ("400", "411", "413", "415")
"""Refusals of a body."""


def operation(
    tag: str,
    name: str,
    summary: str,
    answers: Node,
    *refusals: str,
    body: Node | None = None,
    security: tuple[Node, ...] = (),
) -> Node:
    """One operation; `refusals` name responses of the components by their status."""
    node: Node = {
        "operationId": name,
        "summary": summary,
        "tags": [tag],
        "security": list(security),
        "responses": {
            **answers,
            **{status: ref("responses", REFUSALS[status]) for status in ("405", *refusals)},
            "default": ref("responses", "Unexpected"),
        },
    }
    return node if body is None else {**node, "requestBody": body}


def json_body(properties: Node, *, optional: tuple[str, ...] = (), required: bool = True) -> Node:
    given = {
        name: or_null(schema) if name in optional else schema for name, schema in properties.items()
    }
    return {"required": required, "content": json_content(members(given, optional=optional))}


def done(description: str, **properties: Node) -> Node:
    return answer(description, members(dict(properties)))


def password(description: str) -> Node:
    return text(description, MAX_PASSWORD, format="password")


TRANSPORT: Node = {"enum": list(TRANSPORTS), "description": "How the refresh token travels."}
LABEL = line("A name for the device, shown in the list of sessions.", LONGEST_LABEL)
