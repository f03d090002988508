"""Holds every answer of an issuer against its own OpenAPI document."""

from __future__ import annotations

import copy
import re
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from issuer.http.openapi import document

METHODS = ("get", "put", "post", "delete", "patch")
ROUTING_REFUSALS = {404, 405}
FRAMING_REFUSALS = {400, 411}
_URI = "urn:openapi"


class Conformance:
    """Checks answers; `seen` counts the (path, method, status) that occurred."""

    def __init__(self, issuer: str) -> None:
        """Make the document's objects closed, so that a member it does not name is found."""
        self.document = _closed(document(issuer))
        self.seen: set[tuple[str, str, int]] = set()
        self._registry: Registry[Any] = Registry().with_resource(
            _URI, DRAFT202012.create_resource(self.document)
        )
        self._patterns = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", re.escape(path).replace(r"\{", "{").replace(
                r"\}", "}")) + r"\Z"), path)
            for path in self.document["paths"]
        ]  # fmt: skip
        self._validators: dict[str, Draft202012Validator] = {}

    def check(self, path: str, method: str, status: int, headers: Any, body: Any) -> None:
        """Raise AssertionError unless the document says that such an answer may come."""
        template = next((name for pattern, name in self._patterns if pattern.match(path)), None)
        operation = self.document["paths"].get(template, {}).get(method.lower())
        if template is None or operation is None:
            # No operation: only the router answers, and in the form of every refusal.
            assert status in ROUTING_REFUSALS | FRAMING_REFUSALS, (method, path, status, body)
            self._conforms("#/components/schemas/Error", body)
            return
        self.seen.add((template, method.lower(), status))
        responses = operation["responses"]
        if str(status) not in responses and status in FRAMING_REFUSALS:
            # Refused before its body or its route mattered: the document's `default`.
            status_name = "default"
        else:
            status_name = str(status)
        assert status_name in responses, f"{method} {path}: {status} is not documented: {body}"
        pointer = f"#/paths/{_escape(template)}/{method.lower()}/responses/{status_name}"
        response = responses[status_name]
        if "$ref" in response:
            pointer = response["$ref"]
            response = self.document["components"]["responses"][pointer.rpartition("/")[2]]
        if "content" in response:
            media_type = str(headers.get("Content-Type")).partition(";")[0]
            assert media_type in response["content"], (path, media_type)
        if "application/json" in response.get("content", {}):
            self._conforms(f"{pointer}/content/application~1json/schema", body)
        for name, header in response.get("headers", {}).items():
            self._header(name, header, headers.get(name), optional=name == "Set-Cookie")

    def _conforms(self, pointer: str, body: Any) -> None:
        validator = self._validators.get(pointer)
        if validator is None:
            schema = {"$ref": f"{_URI}{pointer}"}
            validator = Draft202012Validator(schema, registry=self._registry)
            self._validators[pointer] = validator
        validator.validate(body)

    def _header(self, name: str, header: Any, value: str | None, *, optional: bool) -> None:
        if value is None:
            assert optional, f"{name} is missing"
            return
        Draft202012Validator(header["schema"]).validate(value)


def _escape(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


def _closed(node: Any) -> Any:
    node = copy.copy(node)
    if isinstance(node, dict):
        for name, value in node.items():
            node[name] = _closed(value)
        if node.get("type") == "object" and "properties" in node:
            node["additionalProperties"] = False
    elif isinstance(node, list):
        node = [_closed(value) for value in node]
    return node
