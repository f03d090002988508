"""`issuer.server.run` loses no request on reload, and finishes what it has when it is stopped.

See `harness.steady_load` for what counts as lost. Each request has its own id, which the
application writes down; none may be carried out twice, so that a permitted retry is shown never to
have hidden a request that was done.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness import answering_server
from harness.answering_server import BROKEN, DONE, GATE, PADDING
from harness.processes import Process, free_port, until
from harness.steady_load import Load

RELOADS = 5
WORKERS = 2


@dataclass
class Server:
    """The answering server, and its first workers."""

    process: Process
    port: int
    directory: Path
    workers: Counter[str] = field(default_factory=Counter)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def said(self, line: str) -> int:
        """How often it has said a line."""
        return self.process.stdout().splitlines().count(line)

    def open_gate(self, requests: int) -> None:
        """Let held requests go on."""
        gate = os.open(self.directory / GATE, os.O_WRONLY)
        os.write(gate, b"." * requests)
        os.close(gate)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, both workers up."""
    os.mkfifo(tmp_path / GATE)
    port = free_port()
    program = [sys.executable, "-P", answering_server.__file__, str(port), str(tmp_path)]
    with Process(program, cwd=tmp_path) as process:
        running = Server(process, port, tmp_path)

        def started() -> list[str]:
            return re.findall(r"^worker (\d+)$", process.stdout(), re.MULTILINE)

        process.wait_until(lambda: len(started()) == WORKERS, "two workers")
        running.workers.update(started())
        yield running


@dataclass
class Recorder:
    """A client whose requests each have an id of their own, and who notes what was answered."""

    answered: list[str] = field(default_factory=list)
    _retried: str | None = None

    def ask(self, connection: http.client.HTTPConnection, *, keep_alive: bool) -> tuple[str, bool]:
        """The pid of the worker that answered, and whether the server closes."""
        request_id = self._retried or uuid.uuid4().hex
        self._retried = request_id
        headers = {"Request-Id": request_id, "Content-Type": "application/json"}
        if not keep_alive:
            headers["Connection"] = "close"
        connection.request("POST", "/done", body=b'{"a": 1}', headers=headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200
        self._retried = None
        self.answered.append(request_id)
        return str(answer["pid"]), response.will_close


@pytest.mark.parametrize(("fresh", "kept"), [(6, 0), (0, 6), (3, 3)])
def test_reload_loses_no_request(server: Server, fresh: int, kept: int) -> None:
    """Five reloads under steady load: each request has one whole answer and is done once."""
    load = Load(server.connect)
    clients = [Recorder() for _ in range(fresh + kept)]
    for number, client in enumerate(clients):
        load.start(client, keep_alive=number >= fresh)
    try:
        load.wait_for(bool)
        for _ in range(RELOADS):
            before = load.so_far()
            server.process.signal(signal.SIGHUP)
            # One is enough: the kernel may give all kept connections to the same new worker.
            load.wait_for_another(before)
    finally:
        load.stop()
    assert not load.lost()
    assert len(load.answers) >= RELOADS + 1
    done = Counter((server.directory / DONE).read_text().split())
    assert done == Counter(answer for client in clients for answer in client.answered)


def test_refused_reload_keeps_serving(server: Server) -> None:
    """A reload whose application does not start changes nothing; the next one works."""
    load = Load(server.connect)
    for number in range(4):
        load.start(Recorder(), keep_alive=number >= 2)
    try:
        load.wait_for(bool)
        (server.directory / BROKEN).touch()
        server.process.signal(signal.SIGHUP)
        server.process.wait_for_line("Reload refused", stream="stderr")
        (server.directory / BROKEN).unlink()
        assert load.so_far().keys() <= server.workers.keys()
        server.process.signal(signal.SIGHUP)
        load.wait_for_another(server.workers)
    finally:
        load.stop()
    assert not load.lost()


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
def test_stop_finishes_requests_under_way(server: Server, stop_signal: signal.Signals) -> None:
    """A stop refuses new connections, answers each request under way in full, and exits 0."""
    # Four, the threads of one worker: the kernel may give one worker all of them.
    under_way = [server.connect() for _ in range(4)]
    for connection in under_way:
        connection.request("GET", "/held")
    server.process.wait_until(lambda: server.said("held") == len(under_way), "four held requests")
    server.process.signal(stop_signal)
    for _ in until(20, "the refusal of connections"):
        if refuses(server.port):
            break
    server.open_gate(len(under_way))
    for connection in under_way:
        response = connection.getresponse()
        assert response.status == 200
        assert len(response.read()) > PADDING
        connection.close()
    assert server.process.wait() == 0
    assert server.said("stopped") == WORKERS


def refuses(port: int) -> bool:
    """Whether nobody accepts connections any more."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass  # the listener closed during the handshake: nothing was sent
    return False


def test_half_sent_requests_hold_no_thread(server: Server) -> None:
    """Half-sent requests leave the service to the others; one cut short is not carried out."""
    heads = (b"", b"POST /done HT", b"POST /done HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
    stuck = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    for number, client in enumerate(stuck):
        client.sendall(heads[number % len(heads)])
    other = Recorder()
    try:
        for _ in range(20):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
            with contextlib.closing(connection):
                other.ask(connection, keep_alive=False)
        stuck[1].sendall(b"TP/1.1\r\nHost: a\r\nRequest-Id: z\r\nContent-Length: 2\r\n\r\n{}")
        stuck[1].settimeout(5)
        assert stuck[1].recv(15) == b"HTTP/1.1 200 OK"
        stuck[2].settimeout(5)
        stuck[2].shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):  # or an orderly end
            assert stuck[2].recv(1) == b""
    finally:
        for client in stuck:
            client.close()
    done = (server.directory / DONE).read_text().split()
    assert sorted(done) == sorted([*other.answered, "z"])
