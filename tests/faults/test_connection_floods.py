"""Floods of connections to `gatepass serve` and `gatepass gateway`: honest clients are served.

One issuer and one gateway that believes it. During each flood sessions begin, refresh and end;
whatever was acknowledged as revoked is refused ever after, and when the flood is over the service
is as it was within seconds.
"""

from __future__ import annotations

import http.client
import math
import os
import resource
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness.flood import Flood
from harness.forward_auth import ForwardAuthService
from harness.gatepass_command import PROGRAM
from harness.issuer_app import migrated_sqlite
from harness.limits import OFF
from harness.processes import monotonic, require_binary, short_directory, until
from harness.redis_server import RedisServer
from harness.served_issuer import ServedIssuer
from harness.web import Answer

TEN_THOUSAND = 10_000
SOON = 2.0
"""Seconds in which an honest client has its answer while a flood lasts."""
FLOODS = 3
RECOVERED = 15.0
"""Seconds in which all is as it was, also if the machine stands still meanwhile."""
HEAD = b"POST /login HTTP/1.1\r\nHost: a\r\nX-Slow: "
UNAVAILABLE = {429, 503}


@dataclass
class World:
    """An issuer, a gateway, and what must be true of the tokens there were."""

    issuer: ServedIssuer
    gateway: ForwardAuthService
    revoked: list[str] = field(default_factory=list)
    longest: float = 0.0
    refused: int = 0

    def floods(self) -> Iterator[None]:
        """Floods that refuse no honest client, until one leaves each its answer `SOON`.

        What a flood takes from others it takes every time; a busy machine's slow moment it does
        not.
        """
        for _ in range(FLOODS):
            self.longest = self.refused = 0
            yield
            if not self.refused and self.longest < SOON:
                return
        raise AssertionError(
            f"{self.refused} refused, {self.longest:.1f} s for an answer, and so in {FLOODS} floods"
        )

    def port_of(self, name: str) -> int:
        return self.issuer.port if name == "serve" else self.gateway.port

    def workers_of(self, name: str) -> list[int]:
        """The processes that accept connections."""
        process = self.issuer.process if name == "serve" else self.gateway.process
        if name == "gateway":
            return [process.pid]
        return children(process.pid)

    def asked(self, ask: Callable[[], Answer]) -> Answer:
        """An honest request, repeated as whoever is told to come back does; never a 500."""
        began = monotonic()
        for _ in until(20, "an answer", pause=0.05):
            try:
                answer = ask()
            except OSError:
                self.refused += 1
                continue
            assert answer.status < 500 or answer.status in UNAVAILABLE, (answer.status, answer)
            if answer.status not in UNAVAILABLE:
                break
            self.refused += 1
            assert int(answer.headers["retry-after"]) >= 1
        self.longest = max(self.longest, monotonic() - began)
        return answer

    def story(self) -> None:
        """A session begins, is verified, refreshes and ends, and one token is revoked."""
        site = self.issuer.site
        grant = self.asked(self.issuer.login).granted()
        verified = self.asked(lambda: self.gateway.verify(grant["access_token"]))
        assert verified.status == 200, verified
        newer = self.asked(lambda: site.refresh(grant["refresh_token"])).granted()
        token = newer["access_token"]
        form = {"token": token, "client_id": "demo"}
        self.asked(lambda: site.post("/revoke", form=form)).granted()
        ended = self.asked(lambda: site.post("/logout", {"refresh_token": newer["refresh_token"]}))
        assert ended.granted()["logged_out"]
        self.revoked += [grant["access_token"], token]

    def settle(self) -> None:
        """All that was acknowledged is refused, at issuer and gateway alike."""
        for token in self.revoked:
            for _ in until(RECOVERED, "a refusal", pause=0.02):
                if self.gateway.verify(token).status == 401:
                    break
            assert self.issuer.site.get("/sessions", token=token).status == 401


@pytest.fixture(scope="module")
def world(redis_server: RedisServer) -> Iterator[World]:
    """Both, in step."""
    redis_server.reset()
    directory = short_directory("gp-flood-")
    database = migrated_sqlite(directory / "issuer.db")
    issuer = ServedIssuer(
        directory, f"sqlite:///{database}", redis_server.unix_url, threads=8, limits=OFF
    )
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        stack.enter_context(issuer)
        issuer.add_account()
        gateway = ForwardAuthService(issuer.url, redis_server.unix_url)
        stack.enter_context(gateway)
        gateway.wait_ready()
        yield World(issuer, gateway)


@pytest.fixture(autouse=True)
def _nothing_is_lost(world: World) -> Iterator[None]:
    """After each flood: the same processes, every revocation, and answers within seconds."""
    before = {name: world.workers_of(name) for name in ("serve", "gateway")}
    world.revoked.clear()
    world.longest = world.refused = 0
    yield
    began = monotonic()
    world.story()
    assert monotonic() - began < RECOVERED
    world.settle()
    assert {name: world.workers_of(name) for name in before} == before


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("name", ["serve", "gateway"])
def test_ten_thousand_idle_connections_make_room(world: World, name: str) -> None:
    """Each honest client is served at once: the longest silent connection makes room for it."""
    for _ in world.floods():
        with Flood(world.port_of(name), TEN_THOUSAND, most=TEN_THOUSAND + 1000) as flood:
            world.story()
            assert flood.opened() >= TEN_THOUSAND
            for _ in range(5):
                world.story()


@pytest.mark.parametrize("name", ["serve", "gateway"])
def test_a_thousand_slow_loris_hold_nothing(world: World, name: str) -> None:
    """Heads that drip in byte by byte take no thread from anybody."""
    for _ in world.floods():
        with Flood(world.port_of(name), 1000, said=HEAD, drip=b"x") as flood:
            flood.opened()
            for _ in range(5):
                world.story()


def test_out_of_descriptors(world: World) -> None:
    """Workers with a dozen descriptors left and hundreds of connections go on: none ends."""
    with few_descriptors(world.workers_of("serve"), 12):
        with Flood(world.issuer.port, 300, most=400) as flood:
            flood.opened()
            for _ in range(3):
                world.story()
        world.story()
    assert world.longest < 10


def test_who_makes_room_may_speak_at_that_moment(world: World) -> None:
    """A connection that is closed in the round in which it became readable ends no worker."""
    workers = world.workers_of("serve")
    parked: list[socket.socket] = []
    with few_descriptors(workers, 12):
        for _ in range(30):
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
            # The listener is the first to be ready, and those that must make room follow.
            newer = [dial(world.issuer.port, b"GET /") for _ in range(7)]
            for sock in parked:
                with suppress(OSError):
                    sock.send(b"x")
            parked += newer
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            assert world.asked(lambda: world.issuer.site.get("/healthz")).status == 200
    for sock in parked:
        sock.close()


AHEAD = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


def test_what_was_read_ahead_holds_no_thread(world: World) -> None:
    """Half a request behind a whole one waits in the poller, however it is pieced together."""
    for _ in world.floods():
        slow = [dial(world.issuer.port, AHEAD + PART + b"X: ") for _ in range(40)]
        for sock in slow:
            for _ in until(5, "the answer to the first"):
                with suppress(BlockingIOError):
                    assert sock.recv(65536).startswith(b"HTTP/1.1 200")
                    break
            sock.send(b"y\r\n\r\n{")
        world.story()
        for sock in slow:
            sock.close()


def test_requests_that_come_in_one_piece_are_answered_in_turn(world: World) -> None:
    """Each of five, and nobody waits for what is there already (RFC 9112 section 9.3.2)."""
    sock = dial(world.issuer.port, AHEAD * 5)
    got = b""
    for _ in until(5, "five answers"):
        with suppress(BlockingIOError):
            got += sock.recv(65536)
        if got.count(b"HTTP/1.1 200") == 5:
            break
    sock.close()


def test_a_gateway_out_of_descriptors(world: World) -> None:
    """It closes what it cannot hold, says yes to nobody for that, and recovers with the end."""
    token = world.asked(world.issuer.login).granted()["access_token"]
    with few_descriptors(world.workers_of("gateway"), 4):
        with Flood(world.gateway.port, 100, most=400) as flood:
            flood.opened()
            for _ in range(20):
                with suppress(OSError):
                    assert world.gateway.verify(token + "A").status == 401
        # Not after some pause: the next request.
        assert world.asked(lambda: world.gateway.verify(token)).status == 200
    assert world.longest < RECOVERED


def test_few_descriptors_from_the_start(world: World, redis_server: RedisServer) -> None:
    """A service that may not have more keeps some for itself, and old connections make room."""
    prlimit = require_binary("prlimit", "util-linux")
    program = (prlimit, "--nofile=180:180", PROGRAM)
    with ForwardAuthService(world.issuer.url, redis_server.unix_url, program=program) as service:
        service.wait_ready()
        token = world.issuer.login().granted()["access_token"]
        with Flood(service.port, 500, most=1000) as flood:
            flood.opened()
            # The last of the flood wait in the listener's queue, and this one behind them.
            for _ in until(SOON, "the flood to be let in"):
                with suppress(OSError, http.client.HTTPException):
                    service.verify(token)
                    break
            for _ in range(20):
                assert service.verify(token).status == 200


def test_who_does_not_close_holds_nothing(world: World) -> None:
    """Clients that have their last answer and keep their side open leave the loop to the others."""
    request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    for _ in world.floods():
        with connections(world.issuer.port, 40, request):
            world.story()


def test_who_takes_no_answer_holds_nothing(world: World) -> None:
    """More slow readers of a long answer than there are threads leave them to the others."""
    request = b"GET /password/rules HTTP/1.1\r\nHost: a\r\n\r\n"
    for _ in world.floods():
        with connections(world.issuer.port, 120, request, buffer=2048):
            world.story()


PART = (
    b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n"
)
SLOW = {
    "half a line": (b"POST /lo", b""),
    "half a head": (PART, b""),
    "a head that drips": (PART + b"X-Slow: ", b"x"),
    "half a body": (PART + b"\r\n{", b""),
    "a body that drips": (PART + b"\r\n{", b" "),
}


def test_slow_requests_are_told_so(world: World) -> None:
    """A request that does not arrive in time is 408, however it drips; a silent connection ends."""
    for _ in world.floods():
        began = monotonic()
        slow = {
            (name, why): dial(world.port_of(name), said)
            for name in ("serve", "gateway")
            for why, (said, _) in SLOW.items()
            # The gateway's service reads no body: it answers as soon as it has the head.
            if name == "serve" or "body" not in why
        }
        silent = dial(world.issuer.port, b"")
        got = dict.fromkeys(slow, b"")
        for _ in until(60, "answers to all", pause=0.4):
            for key, sock in slow.items():
                drip = SLOW[key[1]][1]
                if not got[key]:
                    with suppress(BlockingIOError):
                        got[key] = sock.recv(65536)
                if not got[key] and drip:
                    sock.send(drip)
            if all(got.values()):
                break
            world.story()
        assert {key: answer[:12] for key, answer in got.items()} == dict.fromkeys(
            slow, b"HTTP/1.1 408"
        )
        assert all(b"\r\nconnection: close\r\n" in answer.lower() for answer in got.values())
        if monotonic() - began >= 13:
            world.longest = math.inf  # too late, which the next flood must not be
        silent.settimeout(5)
        assert silent.recv(1) == b""
        for sock in (*slow.values(), silent):
            sock.close()


def dial(port: int, said: bytes, buffer: int = 0) -> socket.socket:
    """A connection on which so much has been sent."""
    sock = socket.socket()
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.connect(("127.0.0.1", port))
    sock.sendall(said)
    sock.setblocking(False)
    return sock


@contextmanager
def connections(port: int, count: int, said: bytes, buffer: int = 0) -> Iterator[None]:
    """So many connections that send this, and read nothing."""
    made = [dial(port, said, buffer) for _ in range(count)]
    try:
        yield
    finally:
        for sock in made:
            sock.close()


@contextmanager
def few_descriptors(pids: list[int], left: int) -> Iterator[None]:
    """Leave each of these processes so many descriptors."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
    try:
        for pid, (_, hard) in before.items():
            used = max(int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir())
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + left, hard))
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
