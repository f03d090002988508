"""The way of a revocation is measured whole, and what would make a figure better fails the run."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from harness.documented import benchmarks_documented
from harness.processes import until
from harness.token_source import TokenSource
from harness.watching_gateway import Said, WatchingGateway

from benchmarks import revocation_latency
from benchmarks.processor_time import TICKS, ProcessorTime, sort_of
from benchmarks.revocation_latency import KINDS, WAYS, Traffic, moment_of
from benchmarks.revocation_traffic import OtherRevocations
from benchmarks.servers import BenchmarkError
from revocation import open_denylist
from tokens import sign

ROUNDS = 1
RATE = 2
"""Other revocations a second: a machine that runs tests beside keeps that pace."""


def bodies(output: str) -> list[list[list[str]]]:
    """The cells of each markdown table's body."""
    tables = [part.splitlines() for part in output.split("\n\n") if part.startswith("|")]
    return [[[c.strip() for c in row.strip("|").split("|")] for row in t[2:]] for t in tables]


def test_every_kind_of_verifier_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """Each refuses each revocation in each way, while others go on and new tokens come."""
    options = ["--rounds", str(ROUNDS), "--verifiers", "1", "--rate", str(RATE)]
    # The page says the same of one kind.
    assert benchmarks_documented()["revocation_latency"] == [*options, "--only", "Redis feed"]
    for _ in range(3):
        failed = revocation_latency.main(options)
        output, complaints = capsys.readouterr()
        # A machine that stood still for two seconds keeps no pace; the next run does.
        if not failed or f"other revocations a second, not {RATE}" not in complaints:
            break
    assert failed == 0, complaints
    figures, meanwhile = bodies(output)
    assert [row[:3] for row in figures] == [
        [kind, way, str(ROUNDS)] for kind in KINDS for way in WAYS
    ]
    assert [row[0] for row in meanwhile] == list(KINDS)
    for kind, others, requests, new, busy, programs in meanwhile:
        assert all(figure.endswith("/s") for figure in (others, requests, new))
        assert 0 < int(new[:-2]) < int(requests[:-2])
        assert 0 < int(busy[:-1]) <= 100
        assert re.fullmatch(r"([a-zA-Z ]+ [0-9]+%(, )?)+", programs)
        assert "agents" not in programs or "agent" in kind
    assert f"1 of each kind, {ROUNDS} revocations of each sort." in output


COUNTS = [
    {"accepted": 9, "503": 1, "401": 2},
    {"accepted": 9, "replica_stale": 1},
    {"accepted": 9, "ConnectionResetError": 1, "401": 2},
    {"401": 3},
]


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_no_other_refusal_passes_for_that_of_a_revocation(counts: dict[str, int]) -> None:
    """A gateway that could not tell, or never accepted the token, has measured nothing."""
    with pytest.raises(BenchmarkError, match="got"):
        moment_of("401", Said("401", 1.0, 2.0, counts))


def test_a_token_accepted_once_more_is_no_measurement() -> None:
    """The first refusal counts only where it was the end of it."""
    counts = {"accepted": 9, "401": 2}
    assert moment_of("401", Said("401", 1.0, 2.0, counts)) == 2.0
    with pytest.raises(BenchmarkError, match="after"):
        moment_of("401", Said("401", 3.0, 2.0, counts))
    with pytest.raises(BenchmarkError, match="after"):
        moment_of("401", Said("accepted", 1.0, 2.0, counts))


def test_a_refusal_of_a_token_that_lives_fails_the_run(redis_url: str) -> None:
    """Verifiers that refuse whatever they are asked would be quick with every revocation."""
    with (
        TemporaryDirectory(prefix="gp-b-") as place,
        TokenSource(redis_url) as source,
        WatchingGateway(Path(place), issuer=source.url, denylist=redis_url) as gateway,
        OtherRevocations(redis_url, RATE) as others,
    ):
        source.serve()
        claims = source.claims()
        token = sign(claims, source.ring.active("ES256"))
        traffic = Traffic([gateway], lambda: token, others)
        for _ in until(30, "new tokens"):
            others.begin()  # their pace is no matter here
            if traffic.ended("all of them").new > 0:
                break
        source.revoke(claims)
        for _ in until(30, "a refusal"):
            # On a busy machine all tokens may have been met before the entry is there.
            traffic.goes_on()
            if "revoked" in gateway.meet([]).counts:
                break
        others.begin()
        with pytest.raises(BenchmarkError, match="nobody has revoked"):
            traffic.ended("all of them")


@pytest.fixture
def denylist_url(redis_url: str) -> str:
    """An empty denylist that is ready."""
    with closing(open_denylist(redis_url)) as denylist:
        denylist.initialise(watermark=0)
        denylist.mark_ready()
    return redis_url


def test_other_revocations_that_fall_behind_fail_the_run(denylist_url: str) -> None:
    """What was measured under less than was asked for is not shown."""
    with (
        OtherRevocations(denylist_url, 1_000_000) as others,
        pytest.raises(BenchmarkError, match="not 1000000"),
    ):
        others.achieved()


def test_entries_that_the_feed_has_not_got_do_not_count(denylist_url: str) -> None:
    """The pace is the feed's own, whatever the other process believes to have added."""
    with OtherRevocations(denylist_url, 1_000_000) as others:
        assert others.pid is not None
        os.kill(others.pid, signal.SIGSTOP)
        for _ in until(10, "its stop"):
            if Path(f"/proc/{others.pid}/stat").read_text().split()[2] == "T":
                break
        for _ in range(2):  # the last entry may have been on its way
            others.begin()
        others._added.value += 100_000
        with pytest.raises(BenchmarkError, match="0 other revocations"):
            others.achieved()


def test_other_revocations_that_have_ended_fail_the_run(denylist_url: str) -> None:
    """A process that died early has not been beside all the time."""
    with OtherRevocations(denylist_url, 1_000_000) as others:
        assert others.pid is not None
        os.kill(others.pid, signal.SIGKILL)
        for _ in until(10, "its end"):
            with pytest.raises(BenchmarkError) as failed:
                others.achieved()
            if "has ended" in str(failed.value):
                break


def test_processor_time_is_told_by_program() -> None:
    """Ten ticks of which four were idle are 60 %; who ended since then has taken nothing."""
    before = ProcessorTime(10, 20, Counter({"Envoy": 100, "the rest": 7}))
    after = ProcessorTime(16, 24, Counter({"Envoy": 150, "Redis": 25}))
    assert after.share_since(before) == 0.6
    assert after.programs_since(before, 1.0) == {"Envoy": 50 / TICKS, "Redis": 25 / TICKS}


COMMANDS = {
    "agents": ["/usr/bin/python3", "/opt/bin/gatepass", "agent", "envoy", "--json"],
    "issuer": ["/usr/bin/python3", "/opt/bin/gatepass", "serve"],
    "verifiers": ["python3", "/opt/harness/watching_gateway.py", "envoy-0/orders.json"],
    "Envoy": ["/opt/bin/envoy", "--config-path", "x.yaml"],
    "HAProxy": ["/usr/sbin/haproxy", "-W"],
    "Redis": ["/usr/bin/redis-server 127.0.0.1:6379"],
    "the rest": ["python3", "-m", "benchmarks.revocation_latency", "--only", "Envoy agent"],
}


@pytest.mark.parametrize("sort", COMMANDS)
def test_a_program_is_known_by_its_command(sort: str) -> None:
    """An agent that serves Envoy is an agent, not an Envoy."""
    assert sort_of(COMMANDS[sort]) == sort
