"""The thread that keeps a gateway's keys fresh: ahead of expiry, and nobody waits for it."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from harness.certificates import make_certificates
from harness.local_issuer import ISSUER, LocalIssuer
from harness.processes import monotonic, until

from gateway import KeysUnavailable, jwks
from gateway.fetching import FETCH_TIMEOUT, Fetched, fetch_json, within
from gateway.jwks import MAX_AGE, JwksClient
from tokens import UnknownKid


class SteppedClock:
    """The steady clock, moved on by the test."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return monotonic() + self.ahead


@pytest.fixture
def issuer() -> LocalIssuer:
    return LocalIssuer()


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def client(
    issuer: LocalIssuer, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[JwksClient]:
    """A client whose thread runs, with a short cool-down; its first copy is there."""
    monkeypatch.setattr(jwks, "COOL_DOWN", 0.05)
    made = JwksClient(ISSUER, fetch=issuer.fetch, clock=clock)
    made.start()
    for _ in until(10, "a first copy"):
        if made.ready:
            break
    yield made
    issuer.answers.set()
    made.stop()


def wait_for(what: str, so: Callable[[], bool]) -> None:
    for _ in until(10, what):
        if so():
            return


def quickly(client: JwksClient, kid: str) -> None:
    """Find a key, and not by waiting."""
    begun = monotonic()
    assert client.find(kid).kid == kid
    assert monotonic() - begun < FETCH_TIMEOUT / 2


def test_the_first_copy_comes_before_the_first_request(
    client: JwksClient, issuer: LocalIssuer
) -> None:
    """A gateway that has just started asks nobody when a request arrives."""
    assert issuer.jwks_fetches == 1
    quickly(client, issuer.key.kid)
    assert issuer.jwks_fetches == 1


def test_keys_are_fetched_ahead_of_their_expiry(issuer: LocalIssuer) -> None:
    """The next copy comes between 70 and 90 per cent of the lifetime: no request finds it old."""
    client = JwksClient(ISSUER, fetch=issuer.fetch, clock=lambda: 1000.0)
    for _ in range(50):
        client._next_fetch = 0
        client.load()
        assert 1000 + 0.7 * 300 <= client._refresh_at <= 1000 + 0.9 * 300
        assert client.fresh_until == 1300


def test_the_thread_fetches_by_itself(client: JwksClient, issuer: LocalIssuer) -> None:
    """Without any request the copy is renewed again and again."""
    issuer.max_age = 0
    client._next_fetch = 0
    client.load()
    wait_for("three fetches more", lambda: issuer.jwks_fetches >= 5)


def test_nobody_waits_for_a_key_that_is_known(
    client: JwksClient, issuer: LocalIssuer, clock: SteppedClock
) -> None:
    """With the issuer hanging and the copy past its time, a known key is found at once."""
    issuer.answers.clear()
    clock.ahead += 301
    for _ in range(200):
        quickly(client, issuer.key.kid)
    wait_for("the fetch of the thread", lambda: issuer.jwks_fetches == 2)
    clock.ahead += MAX_AGE - 400
    quickly(client, issuer.key.kid)
    issuer.answers.set()


def test_a_key_that_left_is_refused_soon_after_without_anybody_waiting(
    client: JwksClient, issuer: LocalIssuer, clock: SteppedClock
) -> None:
    """The thread notices by itself, and the next request is refused."""
    kid = issuer.key.kid
    issuer.jwks = {"keys": []}
    clock.ahead += 301

    def refused() -> bool:
        try:
            quickly(client, kid)
        except UnknownKid:
            return True
        return False

    wait_for("a refusal", refused)


def test_an_issuer_that_hangs_costs_a_request_with_an_unknown_kid_its_time_limit(
    issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole of a fetch is bounded, whoever does it and whatever it hangs in."""
    monkeypatch.setattr(jwks, "TOTAL_TIMEOUT", 0.2)
    client = JwksClient(ISSUER, fetch=issuer.fetch)
    issuer.answers.clear()
    begun = monotonic()
    with pytest.raises(KeysUnavailable):
        client.find("unknown")
    assert monotonic() - begun < 5
    issuer.answers.set()


def test_a_time_limit_holds_whatever_is_waited_for() -> None:
    """`within` gives up on time, hands on what was returned, and raises what was raised."""
    never = threading.Event()

    def hang() -> Fetched:
        never.wait(30)
        raise AssertionError

    def fail() -> Fetched:
        raise KeysUnavailable("no")

    with pytest.raises(KeysUnavailable, match="within"):
        within(0.05, hang)
    never.set()
    with pytest.raises(KeysUnavailable, match="no"):
        within(5, fail)
    assert within(5, lambda: Fetched(1, 2)) == Fetched(1, 2)


class Dripping:
    """A server that sends a byte every so often, without end."""

    def __init__(self, first: bytes, then: bytes, context: ssl.SSLContext | None = None) -> None:
        self._first, self._then, self._context = first, then, context
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True)
        with closing(connection), suppress(OSError):
            connection.recv(65536)
            connection.sendall(self._first)
            while not self._stopping.wait(0.02):
                connection.sendall(self._then)
        self.ended.set()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join(10)
        self._listener.close()


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"HTTP/1.1 200 O", b"K"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n{", b" "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=["status line", "header", "body", "measured body", "chunks"],
)
def test_an_answer_that_drips_in_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: bytes, then: bytes, tls: bool
) -> None:
    """A byte at a time never makes a read time out; the whole has one limit, and the line ends."""
    monkeypatch.setattr("gateway.fetching.FETCH_TIMEOUT", 0.3)
    certificates = make_certificates(tmp_path)
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.certificate, certificates.key)
    server = Dripping(first, then, context)
    begun = monotonic()
    with pytest.raises(KeysUnavailable):
        fetch_json(
            f"{'https' if tls else 'http'}://127.0.0.1:{server.port}/x",
            cafile=str(certificates.authority) if tls else None,
        )
    assert monotonic() - begun < 5
    assert server.ended.wait(10)
    server.close()


def test_a_client_that_was_started_before_a_fork_works_in_the_child(
    client: JwksClient, issuer: LocalIssuer, clock: SteppedClock
) -> None:
    """Threads and locks do not survive a fork; the child fetches with its own."""
    kid = issuer.key.kid
    client._lock.acquire()  # as if the parent's thread were in the middle of a fetch
    child = os.fork()
    if not child:
        code = 1
        try:
            clock.ahead += 301
            issuer.jwks = {"keys": []}
            end = time.monotonic() + 10
            while time.monotonic() < end:
                try:
                    client.find(kid)
                except UnknownKid:
                    code = 0
                    break
                time.sleep(0.01)
        finally:
            os._exit(code)
    client._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    quickly(client, kid)


def test_a_stopped_client_fetches_no_more(client: JwksClient, issuer: LocalIssuer) -> None:
    """Its thread ends; what is cached stays."""
    issuer.max_age = 0
    client._next_fetch = 0
    client.load()
    thread = client._thread
    assert thread is not None
    assert thread.is_alive()
    client.stop()
    assert not thread.is_alive()
    assert client.ready


def test_a_gateway_without_any_copy_tries_again_soon(
    issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An issuer that starts later than its gateways is found, and what was logged says so."""
    monkeypatch.setattr(jwks, "_FIRST_PAUSE", 0.01)
    issuer.down = True
    client = JwksClient(ISSUER, fetch=issuer.fetch)
    client.start()
    wait_for("attempts", lambda: len(issuer.fetches) > 2)
    issuer.down = False
    wait_for("a copy", lambda: client.ready)
    client.stop()
    assert "no keys yet: down" in caplog.text
    assert "keeping" not in caplog.text
