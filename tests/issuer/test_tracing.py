"""Traces over issuer, SQL, Redis and gateway, in real processes, and what is never in them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from harness.forward_auth import ForwardAuthService
from harness.issuer_process import IssuerFleet
from harness.processes import monotonic, until
from harness.redis_server import RedisServer
from harness.token_source import TokenSource
from harness.trace_collector import TraceCollector
from harness.web import Answer, ask

from revocation import trace_export

USERNAME, PASSWORD = "alice@example.org", "seven violet otters juggle 91"


@dataclass
class Traced:
    """An issuer and a gateway that export to one collector."""

    collector: TraceCollector
    fleet: IssuerFleet
    service: ForwardAuthService
    stranger: TokenSource

    def login(self, **options: object) -> Answer:
        """Log in, in body mode."""
        body = {"username": USERNAME, "password": PASSWORD, "transport": "body"}
        return ask("POST", f"{self.fleet.url}/login", json_body=body, **options)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """Both of them, with an account."""
    directory = tmp_path_factory.mktemp("traced")
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(tcp=True))
        collector = stack.enter_context(TraceCollector())
        environment = collector.environment
        fleet = IssuerFleet(
            f"sqlite:///{directory}/issuer.db",
            redis.unix_url,
            directory / "fleet",
            size=1,
            settings={"GATEPASS_WORKERS": "1", **environment},
        )
        stack.enter_context(fleet)
        fleet.add_account(USERNAME, PASSWORD)
        service = ForwardAuthService(fleet.url, redis.unix_url)
        service.process.env |= {**environment, "OTEL_SERVICE_NAME": "edge"}
        stack.enter_context(service)
        service.wait_ready()
        yield Traced(collector, fleet, service, TokenSource(redis.unix_url))


def a_trace() -> tuple[str, dict[str, str]]:
    """A new trace of the caller's, and the header that names it (W3C Trace Context)."""
    trace = secrets.token_hex(16)
    return trace, {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}


def test_a_login_is_one_trace(traced: Traced) -> None:
    """Request, hash, SQL and Redis, all below the caller's own span."""
    trace, header = a_trace()
    answer = traced.login(headers=header)
    spans = traced.collector.wait_for(trace, "POST /login", "hash password", "SELECT", "EVALSHA")
    (request,) = [span for span in spans if span.name == "POST /login"]
    assert request.service == "gatepass-issuer"
    assert request.parent == header["traceparent"].split("-")[2]
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/login",
        "http.response.status_code": 200,
        "gatepass.request_id": answer.headers["x-request-id"],
    }
    known = {span.span for span in spans}
    assert all(span.parent in known for span in spans if span is not request)
    statements = [span.attributes for span in spans if "db.query.text" in span.attributes]
    assert {one["db.system.name"] for one in statements} == {"sqlite"}
    assert any("?" in one["db.query.text"] for one in statements)


def test_a_request_without_a_trace_begins_one(traced: Traced) -> None:
    """Also one with a header that is none."""
    before = len([span for span in traced.collector.spans if not span.parent])
    ask("GET", f"{traced.fleet.url}/sessions/{secrets.token_urlsafe(16)}")
    _, header = a_trace()
    ask("GET", f"{traced.fleet.url}/nowhere/{PASSWORD.replace(' ', '+')}", headers=header)
    ask("GET", f"{traced.fleet.url}/healthz", headers={"traceparent": "ff-x"})
    trace = header["traceparent"].split("-")[1]
    (missed,) = traced.collector.wait_for(trace, "GET none")
    assert missed.attributes["http.response.status_code"] == 404
    for _ in until(20, "the other two"):
        roots = [span.name for span in traced.collector.spans if not span.parent]
        if len(roots) >= before + 2:
            break


def test_a_decision_at_the_gateway_is_in_the_callers_trace(traced: Traced) -> None:
    """What was decided; and where the issuer had to be asked for a key, that it was."""
    token = traced.login().granted()["access_token"]
    trace, header = a_trace()
    assert traced.service.verify(token, "/verify/any?x", headers=header).status == 200
    (span,) = traced.collector.wait_for(trace, "GET /verify")
    assert span.service == "edge"
    assert span.attributes["gatepass.outcome"] == "allowed"
    trace, header = a_trace()
    unknown = traced.stranger.token(iss=traced.fleet.url)
    assert traced.service.verify(unknown, headers=header).status == 401
    spans = traced.collector.wait_for(trace, "GET /verify", "GET /.well-known/jwks.json")
    services = {span.name: span.service for span in spans}
    assert services["GET /.well-known/jwks.json"] == "gatepass-issuer"
    (refused,) = [span for span in spans if span.name == "GET /verify"]
    assert refused.attributes["gatepass.outcome"] == "unknown_kid"
    assert not refused.failed


def test_no_secret_is_in_a_trace(traced: Traced) -> None:
    """No password, token, name, session or address, in whatever way they came."""
    grant = traced.login().granted()
    sid = grant["session"]["sid"]
    trace, header = a_trace()
    token, refresh = grant["access_token"], grant["refresh_token"]
    header["User-Agent"] = "a-browser-of-its-own"
    ask("POST", f"{traced.fleet.url}/refresh?t={token}", json_body={"refresh_token": refresh})
    traced.service.verify(token, f"/verify/any?access_token={token}", headers=header)
    url = f"{traced.fleet.url}/sessions/{sid}"
    assert ask("DELETE", url, token=token, headers=header).status < 300
    spans = traced.collector.wait_for(trace, "DELETE /sessions/<sid>", "GET /verify")
    account = traced.fleet.account(USERNAME).id
    told = (PASSWORD, USERNAME, token, refresh, sid, account, "127.0.0.1", "a-browser-of-its-own")
    for secret in told:
        assert secret.encode() not in traced.collector.raw, secret
    allowed = {"http.request.method", "http.route", "http.response.status_code"}
    allowed |= {"gatepass.request_id", "gatepass.outcome"}
    allowed |= {"db.system.name", "db.operation.name", "db.query.text", "error.type"}
    for span in traced.collector.spans:
        assert set(span.attributes) <= allowed, span
    assert spans


def test_a_collector_that_is_away_holds_nobody_up(redis_url: str, source_url: str) -> None:
    """Requests go on, and a stop does not wait for it."""
    service = ForwardAuthService(source_url, redis_url)
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    service.process.env |= away
    with service:
        for _ in range(5):
            assert service.verify(None).status == 401
        began = monotonic()
        assert service.process.stop(timeout=30) == 0
        assert monotonic() - began < 12


@pytest.fixture
def source_url() -> str:
    """An issuer's address that nobody answers at: no key is needed to refuse."""
    return "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_the_standard_variables_decide(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, wanted: bool
) -> None:
    """Without any of them nothing is imported, made or sent."""
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED", *trace_export._ENDPOINTS):
        monkeypatch.delenv(name, raising=False)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert trace_export.wanted() is wanted
    if not wanted:
        assert trace_export.start("nobody") is None
