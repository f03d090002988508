"""schemathesis finds nothing wrong with what the OpenAPI document says, and would."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pytest
from flask import jsonify, request
from harness import stacks
from harness.issuer_app import IssuerApp
from harness.limits import OFF
from harness.openapi_engine import Findings, run
from schemathesis.checks import CHECKS

from issuer import sessions
from issuer.http import answers, session_list
from issuer.http.body import Fields
from issuer.http.openapi import document
from issuer.sessions.bearer import authenticate

HEALTH = "discovery.alive"
PHASES = {"examples", "coverage", "fuzzing", "stateful"}
NEVER_WELL = {
    "POST /factors/totp/confirm": "an enrolment belongs to the session that began it",
    "POST /factors/webauthn/register": "as with an app, and it needs a key that signs",
    "POST /factors/recovery-codes": "the person has no factor, or every login here would need one",
    "DELETE /factors/{factor_id}": "as with codes",
    "POST /password/reset": "a token is delivered out of band, and each is good for once",
    "GET /status/{list_id}": "no client of these asks for lists",
    "GET /openapi.json": "the engine has the document before it begins",
    "GET /revocations/events": "a cursor is another one after each change",
}
"""Why no request of the engine succeeds at these."""


@pytest.fixture
def issuer(make_issuer: Callable[..., IssuerApp]) -> IssuerApp:
    """One without limits: the engine asks hundreds of times, all from one address."""
    return make_issuer(limits=OFF)


@stacks.anywhere
def test_every_check_holds_for_an_authenticated_caller(issuer: IssuerApp) -> None:
    """All checks and phases of the installed version, and each operation does its work."""
    found = run(issuer, max_examples=6)
    assert_sound(found)
    succeeded = {asked for asked, status in found.answers if status < 300}
    assert operations() - succeeded - NEVER_WELL.keys() == set()


@stacks.anywhere
def test_every_check_holds_for_whoever_does_not_authenticate(issuer: IssuerApp) -> None:
    """The same without credentials: what needs them refuses each time."""
    found = run(issuer, max_examples=3, authenticated=False)
    assert_sound(found)
    for asked in operations("bearer") | operations("gatewaySecretBasic"):
        path = asked.partition(" ")[2]
        if (asked, path) != ("POST /logout", "/logout"):
            # What has not the length of a factor's id is no path at all.
            refusals = {400, 401, 415} | ({404} if "{factor_id}" in path else set())
            assert {status for name, status in found.answers if name == asked} <= refusals


def assert_sound(found: Findings) -> None:
    """Nothing failed, and nothing was left out."""
    assert found.errors == []
    assert found.failures == {}
    assert found.phases == PHASES
    assert set(CHECKS.get_all_names()) - found.checks.keys() == set()


def operations(scheme: str | None = None) -> set[str]:
    """The document's operations, or those that take one scheme of authentication."""
    return {
        f"{method.upper()} {path}"
        for path, item in document("https://id.example")["paths"].items()
        for method, operation in item.items()
        if method in {"get", "post", "delete"}
        and (scheme is None or any(scheme in choice for choice in operation["security"]))
    }


def a_session_list_for_anybody(patch: pytest.MonkeyPatch, issuer: IssuerApp) -> None:
    """The caller is always the same person."""
    who = authenticate(issuer.services, issuer.grant()["access_token"])
    patch.setattr(session_list, "caller", lambda: who)


def no_session_in_a_grant(patch: pytest.MonkeyPatch, issuer: IssuerApp) -> None:
    """A member is missing."""
    patch.setattr(answers, "jsonify", lambda body: jsonify({**body, "session": None}))


def names_of_any_length(patch: pytest.MonkeyPatch, issuer: IssuerApp) -> None:
    """What the document forbids is taken."""
    real = Fields.text
    patch.setattr(Fields, "text", lambda self, name, longest=0: real(self, name, longest=10**6))


def an_error_that_nobody_knows(patch: pytest.MonkeyPatch, issuer: IssuerApp) -> None:
    """A library's exception gets through."""

    def broken(*_: object, **__: object) -> NoReturn:
        raise KeyError("kid")

    patch.setattr(sessions, "refresh", broken)


def another_status(patch: pytest.MonkeyPatch, issuer: IssuerApp) -> None:
    """An answer that the document does not name."""
    patch.setitem(issuer.app.view_functions, HEALTH, lambda: (jsonify({"status": "ok"}), 203))


def any_method(patch: pytest.MonkeyPatch, issuer: IssuerApp) -> None:
    """Every method does what GET does."""
    app = issuer.app
    app.before_request_funcs.setdefault(None, []).append(
        lambda: jsonify({"status": "ok"}) if request.path == "/healthz" else None
    )


def a_body_that_is_no_json(patch: pytest.MonkeyPatch, issuer: IssuerApp) -> None:
    """Another content type than the document's."""
    patch.setitem(issuer.app.view_functions, HEALTH, lambda: "ok")


MUTANTS = [
    (a_session_list_for_anybody, "/sessions", "ignored_auth"),
    (no_session_in_a_grant, "/login", "response_schema_conformance"),
    (names_of_any_length, "/password/forgot", "negative_data_rejection"),
    (an_error_that_nobody_knows, "/refresh", "not_a_server_error"),
    (another_status, "/healthz", "status_code_conformance"),
    (any_method, "/healthz", "unsupported_method"),
    (a_body_that_is_no_json, "/healthz", "content_type_conformance"),
]


@stacks.anywhere
@pytest.mark.parametrize(("mutant", "path", "check"), MUTANTS, ids=[m[0].__name__ for m in MUTANTS])
def test_a_mistake_is_found(
    issuer: IssuerApp,
    monkeypatch: pytest.MonkeyPatch,
    mutant: Callable[[pytest.MonkeyPatch, IssuerApp], None],
    path: str,
    check: str,
) -> None:
    """One mistake in the issuer, and the check that is there for it fails."""
    mutant(monkeypatch, issuer)
    assert check in {name for name, _ in run(issuer, max_examples=2, only=path).failures}
