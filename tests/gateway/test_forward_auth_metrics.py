"""`/metrics` of `gatepass gateway`: what is counted, by all of its processes, and for whom."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from harness.forward_auth import ForwardAuthService, children
from harness.processes import until
from harness.token_source import TokenSource
from harness.web import ask
from prometheus_client.parser import text_string_to_metric_families

from gateway import errors
from gateway.counts import CODES, OTHER, Counts
from gateway.metrics_access import MetricsAccess
from revocation import DenylistUnavailable, ReplicaStale, TokenRevoked
from revocation.latency import Latencies
from tokens import TokenError

TOKEN = "what-prometheus-shows-91c2"
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(service: ForwardAuthService, token: str | None = None) -> Samples:
    """Every sample, by name and labels."""
    answer = ask("GET", f"{service.url}/metrics", token=token)
    assert answer.status == 200, answer.content
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def verified(found: Samples, outcome: str) -> float:
    return found["gatepass_verifications_total", (("outcome", outcome),)]


def test_each_decision_is_counted_and_timed(
    service: ForwardAuthService, source: TokenSource
) -> None:
    """By its outcome, and by what was answered; a revocation's way here is timed too."""
    before = samples(service)
    claims = source.claims()
    assert service.verify(source.token(sid=claims.sid)).status == 200
    assert service.verify(None).status == 401
    assert service.verify(source.token(), "/verify/scope=none").status == 403
    assert service.verify(source.token(exp=claims.iat - 3600)).status == 401
    source.revoke(claims)
    latency = ("gatepass_revocation_latency_seconds_count", ())
    for _ in until(15, "the revocation to be timed, by a replica in step"):
        after = samples(service)
        in_step = after["gatepass_replica_in_step", ()] == 1
        fresh = after["gatepass_replica_staleness_seconds", ()] < 2
        if after[latency] > before[latency] and in_step and fresh:
            break
    for outcome in ("allowed", "token_required", "insufficient_scope"):
        assert verified(after, outcome) == verified(before, outcome) + 1, outcome
    name = "gatepass_verification_duration_seconds_count"
    for answer, more in (("allowed", 1), ("refused", 3), ("unavailable", 0)):
        key = (name, (("answer", answer),))
        assert after[key] == before[key] + more, answer
    assert after["gatepass_keys_ready", ()] == 1


def test_nobody_is_named(service: ForwardAuthService, source: TokenSource) -> None:
    """No person, session, client, token or key is in what Prometheus keeps for months."""
    claims = source.claims()
    token = source.token(sid=claims.sid)
    assert service.verify(token).status == 200
    source.revoke(claims)
    for _ in until(10, "the replica's entry"):
        if service.verify(token).status == 401:
            break
    answer = ask("GET", f"{service.url}/metrics")
    assert answer.status == 200
    text = answer.content.decode()
    assert "gatepass_verifications_total" in text
    for named in (claims.sub, claims.sid, claims.jti, claims.client_id, token, token.split(".")[2]):
        assert named not in text


def test_who_is_passed_on_by_a_proxy_is_not_this_machine(service: ForwardAuthService) -> None:
    """Without a token loopback may, but not somebody whom a proxy on it serves."""
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        answer = ask("GET", f"{service.url}/metrics", headers={header: "for=203.0.113.9"})
        answer.refused(403, "access_denied")


@pytest.mark.parametrize(
    ("client", "admitted"),
    [
        (("127.0.0.1", 1), True),
        (("::1", 1), True),
        (None, True),
        (("203.0.113.9", 1), False),
        (("::ffff:203.0.113.9", 1), False),
        (("", 0), False),
    ],
)
def test_without_a_token_only_this_machine_may(
    client: tuple[str, int] | None, *, admitted: bool
) -> None:
    """A unix socket is this machine; what is no address is nobody."""
    assert MetricsAccess(None).admits(client, []) is admitted


def test_the_token_opens_from_anywhere_and_nothing_else_does() -> None:
    """Where there is one, loopback alone is no longer enough."""
    access = MetricsAccess(DIGEST)
    bearer = (b"authorization", b"Bearer " + TOKEN.encode())
    assert access.admits(("203.0.113.9", 1), [bearer, (b"via", b"x")])
    for headers in (
        [],
        [bearer, bearer],
        [(b"authorization", b"Bearer " + TOKEN.encode()[:-1])],
        [(b"authorization", b"Bearer " + DIGEST.encode())],
        [(b"authorization", b"Basic " + TOKEN.encode())],
        [(b"authorization", b"Bearer \xff")],
    ):
        assert not access.admits(("127.0.0.1", 1), headers)


@pytest.fixture(scope="module")
def several(source: TokenSource) -> Iterator[ForwardAuthService]:
    """Two processes behind one socket, with a token for their metrics."""
    options = ["--workers", "2", "--metrics-token-sha256", DIGEST, "--trust-request-id"]
    with ForwardAuthService(source.url, source.denylist_url, *options) as running:
        yield running.wait_ready()


def test_all_processes_count_together(several: ForwardAuthService, source: TokenSource) -> None:
    """Whichever of them is asked, also about what one counted that has died since."""
    token, asked = source.token(), 40
    for _ in until(20, "both to be ready"):
        if {_worker(several, token) for _ in range(8)} == {200}:
            break
    before = verified(samples(several, TOKEN), "allowed")
    for _ in range(asked):
        assert several.verify(token).status == 200
    # An answer is on its way a moment before it is counted.
    for _ in until(20, "the last answer to be counted"):
        if verified(samples(several, TOKEN), "allowed") >= before + asked:
            break
    assert {verified(samples(several, TOKEN), "allowed") for _ in range(8)} == {before + asked}
    victim = children(several.process.pid)[0]
    os.kill(victim, signal.SIGKILL)
    for _ in until(20, "another process"):
        if victim not in (now := children(several.process.pid)) and len(now) == 2:
            break
    for _ in until(20, "both to be ready"):
        if {_worker(several, token) for _ in range(8)} == {200}:
            break
    assert verified(samples(several, TOKEN), "allowed") >= before + asked


def test_metrics_need_their_token(several: ForwardAuthService, source: TokenSource) -> None:
    """An access token is none, and neither is being on this machine."""
    for token in (None, source.token(), TOKEN[:-1]):
        answer = ask("GET", f"{several.url}/metrics", token=token)
        answer.refused(401, "invalid_token")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_request_id_is_answered_and_logged(
    service: ForwardAuthService, several: ForwardAuthService, source: TokenSource
) -> None:
    """One of the service's own, unless it is told that the gateway sets it."""
    given = {"X-Request-Id": "edge-1.7"}
    ids = [
        answer.headers["x-request-id"]
        for answer in (service.verify(None, headers=given), service.verify(source.token()))
    ]
    assert len({*ids, given["X-Request-Id"]}) == 3
    for _ in until(5, "both lines"):
        if set(ids) <= {line.get("request_id") for line in service.logged()}:
            break
    assert several.verify(None, headers=given).headers["x-request-id"] == "edge-1.7"
    for wrong in ("a b", "x" * 65, "a,b"):
        answer = several.verify(None, headers={"X-Request-Id": wrong})
        assert answer.headers["x-request-id"] != wrong


# --- the counts themselves ----------------------------------------------------------------------


def test_every_code_of_a_refusal_has_a_count() -> None:
    """No refusal of a token hides among the others."""

    def codes(root: type[Exception]) -> set[str]:
        below = (codes(kind) for kind in root.__subclasses__() if kind.__module__[:5] != "tests")
        return {getattr(root, "code", "")}.union(*below)

    raised = codes(TokenError) | codes(errors.GatewayError)
    raised |= {kind.code for kind in (TokenRevoked, ReplicaStale, DenylistUnavailable)}
    assert raised - {"gateway_error"} <= set(CODES)
    assert len(set(CODES)) == len(CODES)
    counts = Counts()
    counts.decided("made_up", 1, 5)
    assert dict(counts.totals().outcomes())[OTHER] == 1


def test_a_process_goes_on_where_one_that_died_has_stopped(tmp_path: Path) -> None:
    """Its words are found again once its lock is gone; one that lives keeps its own."""
    first, second = Counts(tmp_path), Counts(tmp_path)
    for counts in (first, second):
        counts.decided("allowed", 0, 20_000)
    child = os.fork()
    if child == 0:
        third = Counts(tmp_path)
        third.decided("allowed", 0, 20_000)
        os._exit(0)
    os.waitpid(child, 0)
    assert len(list(tmp_path.glob("counts-*"))) == 3
    third = Counts(tmp_path)
    third.decided("allowed", 0, 3_000_000_000)
    assert len(list(tmp_path.glob("counts-*"))) == 3
    totals = second.totals()
    assert dict(totals.outcomes())["allowed"] == 4
    buckets, seconds = totals.durations("allowed")
    assert dict(buckets)[0.000025] == 3
    assert (dict(buckets)[2.5], dict(buckets)[5.0]) == (3, 4)
    assert seconds == pytest.approx(3.00006)


def test_latency_never_falls_when_another_one_follows(tmp_path: Path) -> None:
    """A process that follows again begins to count anew, and what it had counted stays."""
    counts = Counts(tmp_path)
    for _ in range(2):
        latencies = Latencies()
        latencies.note(0.002)
        counts.publish(latencies)
        latencies.note(0.2)
        counts.publish(latencies)
        counts.publish(latencies)
        counts.publish(None)
    buckets, seconds = Counts(tmp_path).totals().latencies()
    assert dict(buckets)[0.0025] == 2
    assert dict(buckets)[float("inf")] == 4
    assert seconds == pytest.approx(0.404)


def _worker(service: ForwardAuthService, token: str) -> int:
    """The answer of whichever process takes a new connection."""
    with closing(HTTPConnection("127.0.0.1", service.port, timeout=10)) as connection:
        connection.request("GET", "/verify", headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
