"""The OpenAPI document is valid, complete, and true."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import openapi_answers, stacks
from harness.issuer_app import (
    IssuerApp,
    conformance,
    default_clients,
    granted,
    issuer_settings,
)
from harness.limits import OFF, limits
from harness.openapi_conformance import METHODS, Conformance
from jsonschema import ValidationError
from openapi_spec_validator import OpenAPIV31SpecValidator

from issuer.http.openapi import document

ISSUER = "https://login.example"


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """The document."""
    return document(ISSUER)


def operations(described: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Each operation by its path and method."""
    return {
        (path, method): item[method]
        for path, item in described["paths"].items()
        for method in METHODS
        if method in item
    }


def test_the_document_is_openapi_3_1(described: dict[str, Any]) -> None:
    """It is valid, and names where it applies."""
    OpenAPIV31SpecValidator(described).validate()
    assert described["openapi"].startswith("3.1")
    assert described["servers"] == [{"url": ISSUER}]


@stacks.anywhere
def test_the_document_has_every_route_and_no_other(issuer: IssuerApp) -> None:
    """Paths and methods of the application and of the document are the same."""
    served = {
        (re.sub(r"<(?:[^>]+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in issuer.app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in {"HEAD", "OPTIONS"}
    }
    fetched = granted(issuer.ask("GET", "/openapi.json"))
    assert set(operations(fetched)) == served


def test_every_operation_has_a_name_of_its_own(described: dict[str, Any]) -> None:
    """Generated clients need `operationId`s that are there once."""
    names = [operation["operationId"] for operation in operations(described).values()]
    assert len(set(names)) == len(names)


def test_every_operation_says_who_may_call_it(described: dict[str, Any]) -> None:
    """Security names schemes that exist; an empty one stands for anybody."""
    schemes = described["components"]["securitySchemes"]
    named = {
        "bearer",
        "refreshCookie",
        "clientSecretBasic",
        "gatewaySecretBasic",
        "receiverSecretBasic",
        "metricsToken",
    }
    assert set(schemes) == named
    used = {
        name
        for operation in operations(described).values()
        for choice in operation["security"]
        for name in choice
    }
    assert used == set(schemes)


def test_every_refusal_has_the_oauth_form(described: dict[str, Any]) -> None:
    """Whatever is not an answer of its own is `Error`, and no component lies about."""
    parts = described["components"]
    for name, response in parts["responses"].items():
        schema = response["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Error"}, name
    text = repr(described)
    for kind in ("responses", "schemas"):
        for name in parts[kind]:
            assert f"#/components/{kind}/{name}'" in text, name


@stacks.anywhere
def test_a_body_that_the_document_allows_is_read(issuer: IssuerApp) -> None:
    """Bodies made from the document's own limits are never malformed."""
    longest = {
        name: schema["maxLength"]
        for (path, _), operation in operations(document(ISSUER)).items()
        if path == "/login"
        for name, schema in operation["requestBody"]["content"]["application/json"]["schema"][
            "properties"
        ].items()
        if "maxLength" in schema
    }
    codes = {name: longest.pop(name) for name in ("otp", "recovery_code")}
    assert longest == {"username": 320, "password": 256, "client_id": 255, "label": 64}
    assert codes == {"otp": 64, "recovery_code": 64}
    body = {name: "x" * length for name, length in longest.items()}
    body |= {"client_id": "demo", "transport": "body"}
    assert issuer.post("/login", body).get_json()["error"] == "invalid_grant"
    for name, length in longest.items():
        answer = issuer.post("/login", {**body, name: "x" * (length + 1)})
        assert answer.get_json()["error"] == "invalid_request"


@stacks.anywhere
def test_every_documented_answer_comes_and_conforms(
    make_issuer: Callable[..., IssuerApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each operation is made to give each of its documented answers; each is as described."""
    clients = default_clients()
    clients["kiosk"]["status_list"] = True
    # What limits refuse comes at the end; until then nothing is to be refused.
    issuer = make_issuer(clients=clients, limits=OFF)
    conformance.seen.clear()
    openapi_answers.drive_status_lists(issuer)
    openapi_answers.drive_feed(issuer, monkeypatch)
    openapi_answers.drive_factors(issuer, monkeypatch)
    openapi_answers.drive_elevation(issuer, monkeypatch)
    openapi_answers.drive_signals(issuer, monkeypatch)
    openapi_answers.drive(issuer, monkeypatch)
    once = "1 per minute"
    limited = limits(requests=once, refreshes_refused=once)
    openapi_answers.drive_into_limits(make_issuer(limits=limited, clock=issuer.clock))
    documented = {
        (path, method, int(status))
        for (path, method), operation in operations(document(ISSUER)).items()
        for status in operation["responses"]
        if status not in {"default", "405"}
    }
    assert documented - conformance.seen == set()
    # 405 is what the other methods of the path get.
    assert issuer.ask("PUT", "/login").status_code == 405


@pytest.mark.parametrize(
    ("path", "method", "status", "headers", "body"),
    [
        ("/login", "POST", 200, {}, {"access_token": "x"}),
        ("/login", "POST", 418, {}, {"error": "x", "error_description": "y"}),
        ("/login", "POST", 400, {}, {"error": "x"}),
        ("/login", "POST", 400, {}, {"error": "x", "error_description": "y", "password": "z"}),
        ("/login", "POST", 503, {}, {"error": "x", "error_description": "y"}),
        ("/nothing", "POST", 200, {}, {}),
        ("/sessions/x", "DELETE", 200, {}, {"ended": "short"}),
    ],
)
def test_an_answer_that_is_not_as_described_is_caught(
    path: str, method: str, status: int, headers: dict[str, str], body: Any
) -> None:
    """The checker of these tests finds missing and surplus members, statuses and headers."""
    with pytest.raises((AssertionError, ValidationError)):
        Conformance(ISSUER).check(path, method, status, headers, body)


def test_the_document_does_not_depend_on_secrets(tmp_path: Path) -> None:
    """Nothing of the settings but the issuer's URL is in it."""
    settings = issuer_settings("sqlite:///x.db", "memory://x", tmp_path)
    assert document(settings.issuer) == document(settings.issuer)
    assert "sqlite" not in repr(document(settings.issuer))
