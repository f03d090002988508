"""What gateways tell of their replicas: read over HTTP, kept for an hour, and drawn."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from harness import stacks
from harness.console_client import ConsoleClient
from harness.console_history import put_readings
from harness.issuer_app import IssuerApp
from harness.processes import until
from prometheus_client import CollectorRegistry, generate_latest

from gateway import Verifier
from gateway.metrics import VerifierMetrics
from issuer.console import gateway_metrics, plots, watching
from issuer.console.gateway_metrics import fetch_reading
from issuer.console.settings import WatchedGateway
from issuer.console.watching import KEEP_READINGS, Noted
from issuer.replica_reading import NotReached, Reading, parse_metrics, reading_of
from revocation import Entry
from revocation.latency import BOUNDS

TOKEN = "what-the-gateway-asks-for-88"


class MetricsServer:
    """Answers with what a test gave it, to whoever has the token."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, b"", dict[str, str]()
        self.asked: list[str] = []
        self.trickle = 0.0
        """Seconds between one byte and the next."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                allowed = self.headers["Authorization"] == f"Bearer {TOKEN}"
                self.send_response(outer.status if allowed else 401)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                with suppress(OSError):
                    for part in range(0, len(outer.body), 1 if outer.trickle else 1 << 20):
                        self.wfile.write(outer.body[part : part + 1 if outer.trickle else None])
                        time.sleep(outer.trickle)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/metrics"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    """On a free port."""
    running = MetricsServer()
    yield running
    running.close()


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


def test_what_does_not_answer_as_it_should_is_not_reached(server: MetricsServer) -> None:
    """No token, a redirect, a flood of bytes, a closed port: one kind of error, and no more."""
    watched = WatchedGateway(url=server.url, token=TOKEN)
    with pytest.raises(NotReached, match="401"):
        fetch_reading(WatchedGateway(url=server.url))
    server.status, server.headers = 302, {"Location": f"{server.url}/elsewhere"}
    with pytest.raises(NotReached, match="302"):
        fetch_reading(watched)
    assert server.asked == ["/metrics", "/metrics"]
    server.status, server.body = 200, b"x" * (gateway_metrics.MAX_METRICS + 1)
    with pytest.raises(NotReached):
        fetch_reading(watched)
    with pytest.raises(NotReached, match="does not answer"):
        fetch_reading(WatchedGateway(url="http://127.0.0.1:1/metrics"))


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


def test_what_only_trickles_is_not_waited_for(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is for the whole answer, and not for each part of it."""
    monkeypatch.setattr(gateway_metrics, "FETCH_TIMEOUT", 0.2)
    server.body, server.trickle = b"#" * 40, 0.05
    with pytest.raises(NotReached, match="in time"):
        fetch_reading(WatchedGateway(url=server.url, token=TOKEN))


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
