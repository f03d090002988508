"""schemathesis' engine against an issuer in process: every phase, every check, always the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from harness.issuer_app import METRICS_TOKEN, PASSWORD, USERNAME, IssuerApp, basic, bearer, granted
from harness.openapi_conformance import METHODS
from schemathesis import engine
from schemathesis.core.failures import Failure, ServerError
from schemathesis.engine import events
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.transport.wsgi import WSGI_TRANSPORT

SEED = 20261128

DEPENDS_ON_STATE = frozenset(
    {
        "invalid_grant",
        "invalid_client",
        "unauthorized_client",
        "factor_refused",
        "invalid_scope",
        "feed_gap",
        "denylist_went_back",
    }
)
"""Refusals of what is well formed: no document can say which password, token or place is right."""
ONE_FACTOR = "give one of otp, recovery_code and webauthn"
BEYOND_SCHEMA = {
    "POST /login": ONE_FACTOR,
    "POST /password": ONE_FACTOR,
    "POST /elevate": ONE_FACTOR,
    "POST /factors/totp": ONE_FACTOR,
    "POST /factors/webauthn/options": ONE_FACTOR,
    "POST /factors/recovery-codes": ONE_FACTOR,
    "DELETE /factors/{factor_id}": ONE_FACTOR,
    "POST /refresh": "a refresh token is required",
    "POST /logout": "a refresh token, its cookie, or a bearer token is required",
    "POST /revocations/lookup": "a number out of range",
}
"""What a body need not hold where a cookie or a header does, and 1.0, an integer to JSON Schema."""

NO_FACTOR = dict.fromkeys(("otp", "recovery_code", "webauthn"))


@schemathesis.deserializer("application/json", "application/statuslist+jwt")
def _read(_context: Any, response: Any) -> Any:
    # schemathesis counts `application/jwt` as JSON, which no JWT is.
    (content_type,) = response.headers["content-type"]
    return response.text if content_type.endswith("jwt") else response.json()


class SchemeAuth:
    """Puts the credentials of an operation's own security scheme on a request."""

    issuer: IssuerApp

    def get(self, case: Any, context: Any) -> dict[str, str]:
        schemes = {name for choice in case.operation.definition.raw["security"] for name in choice}
        if "bearer" in schemes:
            # A new one each time: what is asked for may end every session.
            return bearer(self.issuer.grant()["access_token"])
        if "metricsToken" in schemes:
            return bearer(METRICS_TOKEN)
        if "gatewaySecretBasic" in schemes:
            return basic("edge")
        if "receiverSecretBasic" in schemes:
            return basic("watcher")
        return basic("rs") if "clientSecretBasic" in schemes else {}

    def set(self, case: Any, data: dict[str, str], context: Any) -> None:
        case.headers.update(data)


@dataclass
class Findings:
    """What a run saw: failures by check and operation, answers, and how often each check ran."""

    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    phases: set[str] = field(default_factory=set)

    def take(self, recorder: Any) -> None:
        for case_id, interaction in recorder.interactions.items():
            case = recorder.cases[case_id].value
            if interaction.response is not None:
                asked = f"{case.method} {case.operation.path}"
                self.answers[asked, interaction.response.status_code] += 1
        for case_id, nodes in recorder.checks.items():
            for node in nodes:
                self.checks[node.name] += 1
                if node.failure_info is not None:
                    failure, sample = node.failure_info.failure, node.failure_info.code_sample
                    answer = recorder.interactions[case_id].response.text[:300]
                    told = f"{failure.title}: {failure.message}\n{sample}\n{answer}"
                    self.failures.setdefault((node.name, failure.operation), told)


def run(
    issuer: IssuerApp, *, max_examples: int, authenticated: bool = True, only: str | None = None
) -> Findings:
    """Every phase and check of the engine over the served document, or over one path of it."""
    config = schemathesis.Config.from_dict(
        {
            "seed": SEED,
            "cache": {"enabled": False},
            "generation": {
                "deterministic": True,
                "database": "none",
                "max-examples": max_examples,
                "no-shrink": True,
            },
            "checks": {"max_response_time": 30},
            "continue-on-failure": True,
        }
    )
    document = granted(issuer.ask("GET", "/openapi.json"))
    for item in document["paths"].values():
        for method in item.keys() & set(METHODS):
            # It is for what comes before a route, and would make every status a documented one.
            del item[method]["responses"]["default"]
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.app = issuer.app
    if only is not None:
        schema = schema.include(path=only)
    if authenticated:
        schema.auth()(type("Auth", (SchemeAuth,), {"issuer": issuer}))
    _add_right_ones(schema, issuer)
    schema.hook("filter_failure")(_is_one)
    found = Findings()
    for event in engine.from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                found.phases.add(str(event.phase))
                found.take(event.recorder)
            case events.NonFatalError():
                found.errors.append(f"{event.label}: {event.value!r}")
            case events.FatalError():
                found.errors.append(repr(event.exception))
    return found


def _add_right_ones(schema: Any, issuer: IssuerApp) -> None:
    """Let every other well-formed request be one that succeeds, or none would come far."""
    turns: Counter[str] = Counter()

    def map_case(context: Any, case: Any) -> Any:
        if case.meta is not None and not case.meta.generation.mode.is_positive:
            return case
        turns[case.operation.label] += 1
        if turns[case.operation.label] % 2:
            if "sid" in case.path_parameters:
                case.path_parameters["sid"] = issuer.grant()["session"]["sid"]
            if isinstance(case.body, Mapping):
                case.body = {**case.body, **_right(issuer, case.operation.path)}
        return case

    schema.hook("map_case")(map_case)


def _right(issuer: IssuerApp, path: str) -> dict[str, Any]:
    match path:
        case "/login":
            login = {"username": USERNAME, "password": PASSWORD}
            return {**login, "client_id": "demo", "transport": "body", **NO_FACTOR}
        case "/refresh" | "/logout":
            return {"refresh_token": issuer.grant()["refresh_token"]}
        case "/revoke" | "/introspect":
            return {"token": issuer.grant()["access_token"], "client_id": "demo"}
        case "/password":
            passwords = {"current_password": PASSWORD, "new_password": PASSWORD}
            return {**passwords, "transport": "body", **NO_FACTOR}
        case "/factors/totp" | "/factors/webauthn/options":
            return {"current_password": PASSWORD, **NO_FACTOR}
        case "/elevate":
            right = {"current_password": PASSWORD, "transport": "body", **NO_FACTOR}
            return {**right, "scope": None, "acr": "aal1"}
        case "/password/reset":
            return {"token": issuer.forgot(), "new_password": PASSWORD}
        case "/revocations/lookup":
            return {"salt": issuer.services.denylist.state().salt.hex()}
        case _:
            return {}


def _is_one(context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Whether a failure is one; what well-formed requests are refused for may lie elsewhere."""
    if not isinstance(failure, RejectedPositiveData | ServerError):
        return True
    if response.status_code == 500:
        return True
    body = response.json()
    beyond = BEYOND_SCHEMA.get(case.operation.label)
    if beyond is not None and body["error_description"].startswith(beyond):
        return False
    return body["error"] not in DEPENDS_ON_STATE


_send = WSGI_TRANSPORT.send


def _send_in_process(case: Any, **options: Any) -> Any:
    # Checks that send a request of their own (4.32) pass on what only a network has.
    for name in ("max_redirects", "verify", "cert", "proxies"):
        options.pop(name, None)
    return _send(case, **options)


WSGI_TRANSPORT.send = _send_in_process
