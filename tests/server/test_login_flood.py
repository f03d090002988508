"""A flood of logins to `gatepass serve`: it delays its own network, and nobody else."""

from __future__ import annotations

import errno
import json
import selectors
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from harness.issuer_app import PASSWORD, USERNAME, migrated_sqlite
from harness.limits import OFF
from harness.processes import until
from harness.redis_server import RedisServer
from harness.served_issuer import ServedIssuer

FLOODING = "127.0.1.{}"
"""One network of the loopback, and another; each may be a client's."""
HONEST = "127.0.2.1"
AT_ONCE = 220
"""Requests of the flood under way; the server has 48 threads."""
ROUNDS = 3
"""Of an honest refresh and an honest login."""
HASHING = {"time_cost": 2, "memory_cost": 6144, "parallelism": 1, "concurrency": 2, "waiting": 16}
SOON = 10.0


@pytest.fixture(scope="module")
def issuer(redis_server: RedisServer, module_directory: Path) -> Iterator[ServedIssuer]:
    """Two workers behind one proxy; who comes without it has its own address."""
    redis_server.reset()
    database = migrated_sqlite(module_directory / "issuer.db")
    running = ServedIssuer(
        module_directory,
        f"sqlite:///{database}",
        redis_server.unix_url,
        threads=8,
        hashing=HASHING,
        trusted_proxies=1,
        limits=OFF,  # a flood is to reach the queue
    )
    with running:
        running.add_account()
        yield running


def post(path: str, body: dict[str, str], *lines: str) -> bytes:
    """A request on a connection of its own."""
    content = json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", "Host: a", "Content-Type: application/json", *lines]
    head += [f"Content-Length: {len(content)}", "Connection: close", "", ""]
    return "\r\n".join(head).encode() + content


LOGIN = {"username": USERNAME, "password": PASSWORD, "transport": "body"}
GUESS = post("/login", {**LOGIN, "password": "a guess of the flood"})


def ask(port: int, request: bytes, source: str = HONEST) -> tuple[int, dict[str, str], bytes]:
    """One honest request: status, headers and body."""
    with socket.create_connection(
        ("127.0.0.1", port), timeout=20, source_address=(source, 0)
    ) as it:
        it.sendall(request)
        received = b""
        while part := it.recv(65536):
            received += part
    return parsed(received)


def parsed(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, body


class LoginFlood:
    """Guesses from one network, so many at a time, each on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.statuses: Counter[int] = Counter()
        self.without_retry_after = 0
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._stopping = threading.Event()
        self._got: dict[socket.socket, bytes] = {}
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def going(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self._thread.join(30)

    def _run(self) -> None:
        begun = 0
        while not self._stopping.is_set():
            while len(self._got) < AT_ONCE:
                self._begin(FLOODING.format(begun % 250 + 1))
                begun += 1
            for key, events in self._selector.select(0.1):
                self._go_on(key.fileobj, events)  # type: ignore[arg-type]
        for sock in self._got:
            sock.close()

    def _begin(self, source: str) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((source, 0))
        assert sock.connect_ex(("127.0.0.1", self._port)) in {0, errno.EINPROGRESS}
        self._got[sock] = b""
        self._selector.register(sock, selectors.EVENT_WRITE)

    def _go_on(self, sock: socket.socket, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            sock.send(GUESS)
            self._selector.modify(sock, selectors.EVENT_READ)
            return
        part = b""
        with suppress(ConnectionError):
            part = sock.recv(65536)
        if part:
            self._got[sock] += part
            return
        status, headers, _ = parsed(self._got.pop(sock) or b"x 0")
        self.statuses[status] += 1
        if status == 503 and int(headers.get("retry-after", 0)) < 1:
            self.without_retry_after += 1
        self._selector.unregister(sock)
        sock.close()


def test_a_flood_from_one_network_delays_itself_alone(issuer: ServedIssuer) -> None:
    """Another network logs in and refreshes; the flood's rest is told when to come back."""
    status, _, body = ask(issuer.port, post("/login", LOGIN))
    assert status == 200
    token = json.loads(body)["refresh_token"]
    flood = LoginFlood(issuer.port)
    with flood.going():
        for _ in until(60, "the flood is at its height"):
            if flood.statuses[503] > AT_ONCE:
                break
        for _ in range(ROUNDS):
            for request in (post("/refresh", {"refresh_token": token}), post("/login", LOGIN)):
                before = flood.statuses.total()
                status, _, body = ask(issuer.port, request)
                assert status == 200, body
                token = json.loads(body)["refresh_token"]
                # What came before it is all that it waited for.
                assert flood.statuses.total() - before < 4 * AT_ONCE
    # Guesses are answered as ever, or not at all: nothing else happens to them.
    assert set(flood.statuses) <= {400, 503}, flood.statuses
    assert flood.statuses[400] > 0
    assert flood.without_retry_after == 0
    # It is over when it is over, for its own network too.
    for _ in until(SOON, "the end of it", pause=0.1):
        if ask(issuer.port, post("/login", LOGIN), FLOODING.format(7))[0] == 200:
            break
    # The address is the one that the proxy appended, in whichever line, and however it is spelled.
    several = ("X-Forwarded-For: 198.51.100.9", "X-Forwarded-For: 203.0.113.7:5555")
    swallowed = ('X-Forwarded-For: "198.51.100.9, 203.0.113.7',)
    spelled = ("Forwarded: for=198.51.100.9", "X-Forwarded-For: [::ffff:203.0.113.7]:80")
    for lines in (several, swallowed, spelled):
        assert ask(issuer.port, post("/login", LOGIN, *lines))[0] == 200
    _, _, body = ask(issuer.port, post("/login", LOGIN, *several))
    found = issuer.site.get("/sessions", token=json.loads(body)["access_token"]).granted()
    seen = Counter(session["address"] for session in found["sessions"])
    assert set(seen) <= {"203.0.113.7", HONEST, FLOODING.format(7)}
    assert seen["203.0.113.7"] == 4
