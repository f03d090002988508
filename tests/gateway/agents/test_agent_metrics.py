"""`/metrics` of an agent: what it tells, for whom, and what no peer can do to it."""

from __future__ import annotations

import hashlib
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from harness.processes import monotonic, until
from harness.web import Answer, ask

from gateway.agents import metrics_server
from gateway.agents.envoy_agent import EnvoyCopy
from gateway.agents.haproxy_agent import HaproxyCopy
from gateway.agents.haproxy_files import ALGORITHMS, HaproxyFiles, Rules
from gateway.agents.haproxy_sink import HaproxySink
from gateway.agents.issuer_keys import IssuerKeys
from gateway.agents.metrics_server import MetricsApp, MetricsServer
from gateway.cli.agent_command import agent
from gateway.metrics import AgentMetrics, text_of
from gateway.metrics_access import MetricsAccess
from issuer.replica_reading import parse_metrics
from revocation import Denylist, Entry, Follower, Replica, open_denylist

TOKEN = "what-prometheus-shows-5d07"
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
BEARER = {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}
HEARTBEAT, MAX_STALENESS = 1.0, 5.0
AGENT = ("--issuer", "http://127.0.0.1:1", "--audience", "api")
AGENT += ("--denylist", "redis://127.0.0.1:1/0")


class Clock:
    """Stands until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def denylist() -> Iterator[Denylist]:
    """In this process' memory, ready, with nothing in it yet."""
    with closing(open_denylist(f"memory://{secrets.token_hex(8)}")) as made:
        made.initialise(0)
        made.mark_ready()
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def copy(denylist: Denylist, clock: Clock) -> EnvoyCopy:
    """Envoy's, which nobody has followed into yet."""
    replica = Replica(
        denylist, max_staleness=MAX_STALENESS, heartbeat_interval=HEARTBEAT, clock=clock
    )
    return EnvoyCopy(replica, MAX_STALENESS)


def follow(denylist: Denylist, follower: Replica | Follower) -> None:
    """Step by step, with one revocation on the way."""
    for number in range(4):
        if number == 2:
            denylist.add([Entry.session("x" * 22, int(time.time()) + 600)])
        denylist.heartbeat(0)
        follower.step(block=0)


# --- what is told -------------------------------------------------------------------------------


def test_envoys_copy_is_told_without_keys(
    denylist: Denylist, copy: EnvoyCopy, clock: Clock
) -> None:
    """The console reads it as a gateway's; before it follows nobody knows how old it is."""
    first = parse_metrics(text_of(AgentMetrics(copy)).decode())
    assert (first.staleness, first.in_step, first.entries) == (None, False, 0)
    follow(denylist, copy.replica)
    text = text_of(AgentMetrics(copy)).decode()
    told = parse_metrics(text)
    assert (told.staleness, told.in_step, told.entries) == (HEARTBEAT, True, 1)
    assert told.latency[-1] == (None, 1)
    assert "gatepass_keys_ready" not in text
    assert "gatepass_verifications" not in text
    clock.now += MAX_STALENESS
    late = parse_metrics(text_of(AgentMetrics(copy)).decode())
    assert (late.staleness, late.in_step) == (MAX_STALENESS + HEARTBEAT, False)


def test_another_process_has_the_latency(denylist: Denylist, tmp_path: Path) -> None:
    """Of those that share a file, the one that follows."""
    replica = Replica(denylist, shared=tmp_path / "replica", owner="somebody")
    assert "revocation_latency" not in text_of(AgentMetrics(EnvoyCopy(replica, 5.0))).decode()


def test_a_haproxy_that_is_not_reached_is_not_in_step(
    denylist: Denylist, clock: Clock, tmp_path: Path
) -> None:
    """However fresh what the agent itself knows: the maps are what HAProxy goes by."""
    rules = Rules(
        issuer="https://id.example",
        audience="api",
        leeway=10,
        max_lifetime=3600,
        max_staleness=MAX_STALENESS,
        heartbeat_interval=HEARTBEAT,
    )
    sink = HaproxySink(HaproxyFiles(tmp_path, rules), tmp_path / "nobody.sock")
    follower = Follower(
        denylist, sink, max_staleness=MAX_STALENESS, heartbeat_interval=HEARTBEAT, clock=clock
    )
    keys = IssuerKeys(rules.issuer, ALGORITHMS, fetch=lambda _: pytest.fail("nothing is fetched"))
    follow(denylist, follower)
    text = text_of(AgentMetrics(HaproxyCopy(follower, sink, keys, MAX_STALENESS))).decode()
    told = parse_metrics(text)
    assert (told.staleness, told.in_step, told.entries) == (HEARTBEAT, False, 1)
    assert told.latency[-1] == (None, 1)
    assert "gatepass_keys_ready 0.0" in text


# --- for whom -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("digest", "peer", "headers", "status"),
    [
        (None, "127.0.0.1", {}, 200),
        (None, "::1", {}, 200),
        (None, "203.0.113.9", {}, 403),
        (None, "::ffff:203.0.113.9", {}, 403),
        (None, "127.0.0.1", {"HTTP_X_FORWARDED_FOR": "203.0.113.9"}, 403),
        (None, "127.0.0.1", {"HTTP_FORWARDED": "for=203.0.113.9"}, 403),
        (None, "127.0.0.1", {"HTTP_VIA": "1.1 proxy"}, 403),
        (None, "203.0.113.9", BEARER, 403),
        (DIGEST, "127.0.0.1", {}, 401),
        (DIGEST, "127.0.0.1", {"HTTP_AUTHORIZATION": f"Bearer {TOKEN[:-1]}"}, 401),
        (DIGEST, "127.0.0.1", {"HTTP_AUTHORIZATION": f"Bearer {DIGEST}"}, 401),
        (DIGEST, "127.0.0.1", {"HTTP_AUTHORIZATION": f"Bearer {TOKEN},Bearer {TOKEN}"}, 401),
        (DIGEST, "203.0.113.9", BEARER, 200),
        (DIGEST, "203.0.113.9", BEARER | {"HTTP_VIA": "1.1 proxy"}, 200),
    ],
)
def test_who_may_read_it(
    copy: EnvoyCopy, digest: str | None, peer: str, headers: dict[str, str], status: int
) -> None:
    """As the forward-auth service's: whoever has the token, or without one this machine."""
    answers: list[tuple[str, dict[str, str]]] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "REMOTE_ADDR": peer, **headers}
    app = MetricsApp(copy, MetricsAccess(digest))

    def start(status: str, headers: list[tuple[str, str]], *_: object) -> None:
        answers.append((status, {name.lower(): value for name, value in headers}))

    body = b"".join(app(environ, start))  # type: ignore[arg-type]
    answer = Answer(int(answers[0][0][:3]), answers[0][1], body)
    assert answer.status == status
    assert answer.headers["cache-control"] == "no-store"
    assert ("www-authenticate" in answer.headers) is (status == 401)
    if status == 200:
        assert b"gatepass_replica_in_step 0.0" in body
    else:
        answer.refused(status, "invalid_token" if status == 401 else "access_denied")


# --- over HTTP ----------------------------------------------------------------------------------


@pytest.fixture
def server(copy: EnvoyCopy) -> Iterator[MetricsServer]:
    """On a port that was free."""
    with closing(MetricsServer("127.0.0.1", 0, MetricsAccess(None))) as made:
        made.watch(copy)
        yield made


def connected(server: MetricsServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_port), timeout=10)


def raw(server: MetricsServer, sent: bytes) -> bytes:
    """All that is answered to these bytes."""
    with connected(server) as connection, connection.makefile("rb") as answer:
        connection.sendall(sent)
        return answer.read()


def test_there_is_one_path(server: MetricsServer, capfd: pytest.CaptureFixture[str]) -> None:
    """HEAD as GET without a body; 404 for all else, and nothing of it on standard error."""
    url = f"http://127.0.0.1:{server.server_port}"
    got = ask("GET", f"{url}/metrics?x=y")
    assert got.status == 200
    assert got.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert got.headers["server"] == "gatepass"
    head = ask("HEAD", f"{url}/metrics")
    assert (head.status, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 100
    for method, path in (("GET", "/"), ("GET", "/metrics/"), ("POST", "/metrics"), ("PUT", "/x")):
        ask(method, url + path).refused(404, "not_found")
    assert b"400" in raw(server, b"nonsense\r\n\r\n")
    assert b"414" in raw(server, b"GET /" + b"x" * 65_532)
    assert b" 431 " in raw(server, b"GET /metrics HTTP/1.1\r\n" + b"x: y\r\n" * 101)
    with connected(server):
        pass
    told = capfd.readouterr()
    assert told.out + told.err == ""


def test_a_failure_is_a_500_without_its_reason(
    server: MetricsServer,
    copy: EnvoyCopy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its kind is in the log."""

    def fail() -> float:
        raise RuntimeError("a secret of the copy")

    monkeypatch.setattr(copy.replica, "staleness", fail)
    answer = ask("GET", f"http://127.0.0.1:{server.server_port}/metrics")
    answer.refused(500, "server_error")
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text + answer.content.decode()


def test_who_dawdles_is_hung_up_on(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head has to be there in time, also of who sends a little again and again."""
    monkeypatch.setattr(metrics_server, "REQUEST_TIMEOUT", 0.3)
    begun = monotonic()
    with connected(server) as connection:
        connection.settimeout(0.05)
        connection.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        for _ in until(10, "the end of the connection"):
            try:
                connection.sendall(b"x")
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    assert 0.3 <= monotonic() - begun < 5


def test_connections_are_bounded_and_room_comes_back(server: MetricsServer) -> None:
    """One more than there is room for is closed at once; those before it are answered."""
    url = f"http://127.0.0.1:{server.server_port}/metrics"
    waiting = [connected(server) for _ in range(metrics_server.MOST_CONNECTIONS)]
    with connected(server) as turned_away:
        assert turned_away.recv(1) == b""
    for connection in waiting:
        with connection, connection.makefile("rb") as answer:
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert answer.read().startswith(b"HTTP/1.0 200 OK")
    for _ in until(5, "room"):
        try:
            if ask("GET", url).status == 200:
                break
        except OSError:
            continue


# --- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["envoy", "haproxy"])
def test_an_address_that_is_taken_is_told(kind: str, tmp_path: Path) -> None:
    """Exit code 1, before anything is followed."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        own = ("--socket", "s") if kind == "haproxy" else ()
        options = (*AGENT, "--directory", str(tmp_path), *own, "--metrics-port", port)
        done = CliRunner().invoke(agent, [kind, *options])
    assert (done.exit_code, f"port {port}: Address already in use" in done.output) == (1, True)


def test_without_prometheus_client_its_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, and how to install it."""
    for name in ("gateway.metrics", "gateway.agents.metrics_server"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    options = (*AGENT, "--directory", str(tmp_path), "--metrics-port", "1")
    done = CliRunner().invoke(agent, ["envoy", *options])
    assert (done.exit_code, "pip install 'gatepass[gateway]'" in done.output) == (2, True)


def test_an_agent_without_metrics_does_without_their_library() -> None:
    """Nor is a server's there."""
    unwanted = "{'prometheus_client', 'wsgiref', 'uvicorn'} & set(sys.modules)"
    program = f"import sys, gateway.cli.agent_command; print({unwanted})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
