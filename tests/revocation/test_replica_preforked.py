"""A replica that was started before a server forked its workers works in each of them."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.denylists import Heart
from harness.feed_server import ISSUER, documents, serving
from harness.processes import Process, free_port, short_directory, until
from harness.redis_server import RedisServer

from revocation import Denylist, Entry, Record, open_denylist
from revocation.packed_copy import PackedCopy

LATE = 1 << 33
WORKERS = 3

_APP = """
import json
import os
from pathlib import Path
from gateway import Verifier
from gateway.fetching import Fetched
from harness.denylists import KID, Token
from revocation import ReplicaStale, TokenRevoked

documents = json.loads(Path(os.environ["DOCUMENTS"]).read_text())
verifier = Verifier(
    issuer=os.environ["ISSUER"],
    audience="api",
    denylist=os.environ["DENYLIST"],
    namespace=os.environ["NAMESPACE"],
    shared=os.environ.get("SHARED"),
    heartbeat_interval=0.1,
    max_staleness=3.0,
    fetch=lambda url: Fetched(documents[url], 300),
)
replica = verifier.replica
verifier.start()
assert replica.wait_in_step(30)

def app(environ, start_response):
    try:
        replica.check(Token(sid=environ["PATH_INFO"][1:]), KID)
        verdict = "passed"
    except TokenRevoked:
        verdict = "revoked"
    except ReplicaStale:
        verdict = "stale"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {verdict}".encode()]
"""


class Server:
    """gunicorn, which imports the application before it forks."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        (directory / "preforked.py").write_text(_APP)
        self.port = free_port()
        support = Path(__file__).parent.parent / "support"
        options = ["--preload", "--workers", str(WORKERS), "--bind", f"127.0.0.1:{self.port}"]
        self.process = Process(
            [sys.executable, "-m", "gunicorn", *options, "preforked:app"],
            cwd=directory,
            env={**environment, "PYTHONPATH": f"{directory}:{support}:{Path.cwd()}"},
        )

    def ask(self, sid: str) -> tuple[int, str]:
        """Which worker says what."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            line.request("GET", f"/{sid}")
            pid, verdict = line.getresponse().read().decode().split()
        finally:
            line.close()
        return int(pid), verdict

    def all_say(self, sid: str, wanted: str) -> set[int]:
        """Ask until as many workers as there are say this; which they are."""
        said = defaultdict[int, str](str)
        for _ in until(60, f"{wanted!r} of each worker, not {dict(said)}"):
            pid, said[pid] = self.ask(sid)
            workers = {pid for pid, verdict in said.items() if verdict == wanted}
            if len(workers) >= WORKERS:
                return workers
        raise AssertionError("unreachable")


@pytest.fixture(params=["Redis", "HTTP"])
def followed(
    request: pytest.FixtureRequest, redis_server: RedisServer, issuer: Denylist
) -> Iterator[str]:
    """Where the workers' denylist is."""
    if request.param == "Redis":
        yield redis_server.tcp_url
        return
    with serving(issuer) as feed:
        yield feed.url


@pytest.fixture(params=["own memory", "shared"])
def server(
    request: pytest.FixtureRequest, followed: str, tmp_path: Path, issuer: Denylist
) -> Iterator[Server]:
    """Running, with a denylist that has one entry."""
    issuer.add([Entry.session("before", LATE)])
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(documents()))
    environment = {
        "ISSUER": ISSUER,
        "DOCUMENTS": str(keys),
        "DENYLIST": followed,
        "NAMESPACE": issuer_namespace(tmp_path),
    }
    directory = short_directory("gp-forked-")
    if request.param == "shared":
        environment["SHARED"] = str(directory / "replica")
    server = Server(tmp_path, environment)
    with server.process:
        server.process.wait_until(lambda: "Booting worker" in server.process.stderr(), "workers")
        yield server
    shutil.rmtree(directory)


def issuer_namespace(directory: Path) -> str:
    return f"forked-{directory.name}"


@pytest.fixture
def issuer(redis_url: str, redis_server: RedisServer, tmp_path: Path) -> Iterator[Denylist]:
    """The denylist as its issuer has it, with a heartbeat."""
    denylist = open_denylist(redis_server.tcp_url, namespace=issuer_namespace(tmp_path))
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    with Heart(denylist, 0.1):
        yield denylist
    denylist.close()


def test_each_worker_follows(server: Server, issuer: Denylist) -> None:
    """All of what came before and after the fork, and a worker that is forked later, too.

    Over HTTP a stream, its connections and its locks were open when they were forked.
    """
    workers = server.all_say("nobody", "passed")
    assert server.process.pid not in workers
    assert server.all_say("before", "revoked") == workers
    for number in range(200):
        issuer.add([Entry.session(f"after-{number}", LATE)])
    for number in (0, 100, 199):
        assert server.all_say(f"after-{number}", "revoked") == workers
    gone = min(workers)
    os.kill(gone, signal.SIGKILL)
    for _ in until(30, "another worker"):
        if not Path(f"/proc/{gone}").exists():
            break
    issuer.add([Entry.session("later", LATE)])
    for sid in ("before", "after-50", "later"):
        assert gone not in server.all_say(sid, "revoked")
    assert gone not in server.all_say("nobody", "passed")
    assert "Traceback" not in server.process.stderr()


def test_what_a_child_merges_its_parent_does_not_see() -> None:
    """Nor the other way round: two that write into one table would lose each other's entries."""
    copy = PackedCopy()
    both, childs, parents = (Record(b"s" + secrets.token_bytes(16), 1, LATE) for _ in range(3))
    copy.merge([both])
    told, tell = os.pipe()
    go, going = os.pipe()
    child = os.fork()
    if not child:
        answer = b"failed"
        try:
            copy.go_on_after_fork()
            copy.merge([childs])
            os.write(tell, b"merged")
            os.read(go, 1)
            levels = [copy.level_of(record.key) for record in (both, childs, parents)]
            answer = repr(levels).encode()
        finally:
            os.write(tell, answer)
            os._exit(0)
    assert os.read(told, 6) == b"merged"
    copy.merge([parents])
    os.write(going, b"!")
    assert os.read(told, 100) == b"[1, 1, 0]"
    os.waitpid(child, 0)
    assert [copy.level_of(record.key) for record in (both, childs, parents)] == [1, 0, 1]
    for descriptor in (told, tell, go, going):
        os.close(descriptor)


_ORDER = """
import os
from unittest.mock import patch
from gateway import Verifier
from gateway.jwks import JwksClient
from revocation import Replica

verifier = Verifier(issuer="https://id.example", audience="api", denylist="memory://forks")
with (
    patch.object(JwksClient, "renew", lambda _: print("keys", flush=True)),
    patch.object(Replica, "go_on_after_fork", lambda _: print("replica", flush=True)),
):
    child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    os._exit(0)
"""


def test_a_child_s_follower_finds_its_keys_in_order() -> None:
    """The locks of the parent's threads, which it may need for a signature, are gone before."""
    done = subprocess.run(
        [sys.executable, "-c", _ORDER], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["keys", "replica"]


def test_a_child_s_table_is_whole_wherever_the_writing_thread_was() -> None:
    """The thread is gone: half an entry, a wrong count and half a move are put right."""
    copy = PackedCopy()
    held = [Record(b"s" + secrets.token_bytes(16), 1, LATE) for _ in range(1_000)]
    copy.merge(held)
    copy._start_anew(4_000)
    copy._move(100)
    stale = PackedCopy()
    copy.level_of, copy.may_hold = stale.level_of, stale.may_hold
    copy.table.words[7] += 5
    copy.table.used -= 3
    changes = copy.changes
    copy.go_on_after_fork()
    assert copy.changes > changes
    assert len(copy) == copy.table.used == 1_000
    assert all(copy.level_of(record.key) == 1 for record in held)
    more = [Record(b"s" + secrets.token_bytes(16), 1, LATE) for _ in range(5_000)]
    copy.merge(more)
    assert all(copy.may_hold((record.key,)) for record in held + more)
