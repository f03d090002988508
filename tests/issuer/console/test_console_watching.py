"""Gateways watched from the console: read at their pace, kept for an hour, and drawn."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import pytest
from harness import stacks
from harness.console_client import ConsoleClient
from harness.console_history import put_readings
from harness.issuer_app import IssuerApp
from harness.metrics_server import TOKEN, MetricsServer
from harness.processes import until
from prometheus_client import CollectorRegistry, generate_latest

from gateway import Verifier
from gateway.metrics import VerifierMetrics
from issuer.console import plots, watching
from issuer.console.watching import KEEP_READINGS, Noted
from issuer.replica_reading import NotReached, Reading, parse_metrics, reading_of
from revocation import Entry
from revocation.latency import BOUNDS


@pytest.fixture
def verifier(issuer: IssuerApp) -> Verifier:
    """A real one, whose replica follows this issuer's denylist; step by step."""
    settings = issuer.services.settings
    made = Verifier(
        issuer=settings.issuer,
        audience="api",
        denylist=settings.denylist,
        fetch=lambda _: pytest.fail("no token is checked"),
        clock=issuer.clock,
    )
    for _ in range(3):
        issuer.services.denylist.heartbeat(0)
        made.replica.step(block=0)
    return made


def metrics_of(verifier: Verifier) -> str:
    registry = CollectorRegistry()
    registry.register(VerifierMetrics(verifier))
    return generate_latest(registry).decode()


@stacks.anywhere
def test_a_verifiers_metrics_are_its_replica(issuer: IssuerApp, verifier: Verifier) -> None:
    """What Prometheus is told, and what a verifier in this process says, is the same reading."""
    issuer.services.denylist.add([Entry.session("x" * 22, int(issuer.clock()) + 60)])
    verifier.replica.step(block=0)
    told = parse_metrics(metrics_of(verifier))
    known = reading_of(verifier.replica, in_step=verifier.in_step)
    assert (told.entries, told.in_step, told.latency) == (1, True, known.latency)
    assert told.staleness == pytest.approx(known.staleness, abs=1)
    assert len(told.latency) == len(BOUNDS) + 1
    assert Reading.from_json(told.to_json()) == told


def test_the_plot_is_higher_for_what_took_longer() -> None:
    """A tenfold latency is a step upwards; what is off the scale is at its edge."""
    now = 1000.0
    bounds = (0.001, 0.01, 0.1, None)

    def noted(at: float, *counts: int) -> Noted:
        return Noted(at, Reading(0, True, 0, tuple(zip(bounds, counts, strict=True))))

    plot = plots.latencies(
        0,
        "edge",
        [
            noted(now - 40, 0, 0, 0, 0),
            noted(now - 30, 1, 1, 1, 1),
            Noted(now - 25, None),
            noted(now - 20, 1, 2, 2, 2),
            noted(now - 10, 1, 2, 2, 3),
        ],
        now,
    )
    tops = [box.y for box in plot.boxes]
    assert tops == [100, 75, 0]
    assert "3 revocations in five minutes, all within more than 5 s" in plot.says
    assert all(math.isfinite(box.x + box.width) and box.x + box.width <= 100 for box in plot.boxes)
    assert plots.latencies(0, "edge", [], now).empty


# --- watching ------------------------------------------------------------------------------------


@stacks.both_databases
def test_gateways_are_read_at_their_pace_and_kept_for_an_hour(
    make_issuer: Callable[..., IssuerApp], server: MetricsServer, verifier: Verifier
) -> None:
    """Twice a minute in the background, every other second for whoever looks."""
    server.body = metrics_of(verifier).encode()
    gateways = {"edge": {"url": server.url, "token": TOKEN}, "gone": {"url": "http://127.0.0.1:1"}}
    issuer = make_issuer(console={"enabled": True, "gateways": gateways})
    watch, clock = issuer.services.watch, issuer.clock
    clock.advance(60 - clock() % 60)  # so that no minute begins within the test's two seconds
    for _ in range(3):
        watch.note()
        watch.look()
    assert len(server.asked) == 1
    clock.advance(2)
    watch.note()
    assert len(server.asked) == 1
    watch.look()
    assert len(server.asked) == 2
    noted = watch.readings(0)
    assert [each.reading and each.reading.in_step for each in noted["edge"]] == [True, True]
    assert [each.reading for each in noted["gone"]] == [None, None]
    clock.advance(KEEP_READINGS + 10)
    watch.note()
    assert [each.at for each in watch.readings(0)["edge"]] == [clock()]
    assert [size for _, size in watch.sizes(0)] == [0, 0]


@stacks.both_databases
def test_a_clock_that_is_put_back_hides_nothing_of_now(issuer: IssuerApp) -> None:
    """What is dated later than now is not taken for the latest word."""
    watch, entries = issuer.services.watch, 5
    watch.add("edge", lambda: Reading(0.1, in_step=True, entries=entries))
    issuer.clock.advance(900)
    watch.note()
    issuer.clock.now -= 900
    entries = 6
    watch.note()
    assert [each.reading and each.reading.entries for each in watch.readings(0)["edge"]] == [6]
    assert len(watch.sizes(0)) == 1


def test_a_gateway_that_never_answers_holds_nothing_up(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are told without it; it is not asked again before it is done, and then it is."""
    monkeypatch.setattr(watching, "PATIENCE", 0.2)
    watch, goes_on = issuer.services.watch, threading.Event()
    asked: list[float] = []

    def late() -> Reading:
        asked.append(issuer.clock())
        goes_on.wait(10)
        return Reading(0.1, in_step=True, entries=1)

    watch.add("late", late)
    watch.add("prompt", lambda: Reading(0.1, in_step=True, entries=1))
    for _ in range(3):
        watch.look()
        issuer.clock.advance(2)
    assert len(asked) == 1
    goes_on.set()
    for _ in until(5, "the late one"):
        watch.look()
        issuer.clock.advance(2)
        if len(asked) > 1:
            break
    noted = watch.readings(0)
    assert [each.reading is None for each in noted["late"][:3]] == [True] * 3
    assert noted["late"][-1].reading is not None
    assert all(each.reading is not None for each in noted["prompt"])


@stacks.anywhere
def test_the_page_tells_each_replica(browser: ConsoleClient, verifier: Verifier) -> None:
    """In step or not, its staleness, what it holds; who does not answer is said so."""
    issuer = browser.issuer
    watch = issuer.services.watch

    def unreachable() -> Reading:
        raise NotReached("it does not answer")

    watch.add("edge", lambda: reading_of(verifier.replica, in_step=True))
    watch.add("behind", lambda: Reading(93.0, in_step=False, entries=5))
    watch.add("far", unreachable)
    put_readings(issuer.services.engine, "edge", issuer.clock())
    page = browser.signed_in().page("/gateways")
    for words in ("in step", "too old", "93.00 s", "does not answer", "Revocation latency at edge"):
        assert words in page
    assert page.count('class="took"') > 20
    fragment = browser.page("/gateways/live")
    assert "<html" not in fragment
    assert "93.00 s" in fragment
    assert "1 of 3" in browser.page("/")


@stacks.anywhere
def test_without_a_gateway_the_page_says_so(browser: ConsoleClient) -> None:
    """And points to where it is told how to name one."""
    assert "No gateway is named in the settings" in browser.signed_in().page("/gateways")
