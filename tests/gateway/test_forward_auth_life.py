"""`gatepass gateway` as a process: how it starts, waits, stops, and shares its work."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import threading
from pathlib import Path

import pytest
from harness.forward_auth import ForwardAuthService, Line, children, command_of
from harness.processes import monotonic, until
from harness.redis_server import RedisServer
from harness.token_source import TokenSource
from harness.web import Answer, ask

POLLING = {"7", "271", "73"}
"""poll and ppoll of x86-64, and ppoll of arm64."""

SECRET = "pass-not-to-be-seen"


# --- waiting ----------------------------------------------------------------------------------


def test_nothing_that_waits_holds_up_the_others(
    source_redis: RedisServer, source: TokenSource, service: ForwardAuthService
) -> None:
    """While the issuer hangs and Redis is frozen, whoever need not wait is answered at once.

    Who is held up is so every time, by a busy machine only now and then.
    """
    turns = []
    for _ in range(3):
        with ForwardAuthService(source.url, source.denylist_url, "--max-staleness", "2") as asked:
            turns.append(longest_turn(source_redis, source, asked.wait_ready()))
        if turns[-1] < 1.9:  # less than any wait for the issuer
            break
    assert turns[-1] < 1.9, turns
    service.wait_ready()


def longest_turn(
    source_redis: RedisServer, source: TokenSource, service: ForwardAuthService
) -> float:
    """Seconds of the slowest of fifty turns of three questions, beside eight that wait."""
    good, strangers = source.token(), TokenSource(source_redis.unix_url)
    strange = strangers.token(iss=source.url)
    for _ in until(30, "a copy in step"):
        if service.verify(good).status == 200:
            break
    source.answers.clear()
    source_redis.pause()
    waiting = [
        threading.Thread(target=service.verify, args=(token, path))
        for token, path in [(strange, "/verify"), (good, "/verify/policy=ask")] * 4
    ]
    longest = 0.0
    try:
        for _ in until(15, "an old copy"):
            if service.verify(good).status == 503:
                break
        for thread in waiting:
            thread.start()
        for _ in range(50):
            began = monotonic()
            stale = service.verify(good)
            assert (stale.status, stale.headers["retry-after"]) == (503, "1")
            assert ask("GET", f"{service.url}/healthz").status == 200
            assert service.verify(good, "/verify/policy=open").status == 200
            longest = max(longest, monotonic() - began)
        assert ask("GET", f"{service.url}/readyz").json["replica"] == "not ready"
    finally:
        source_redis.resume()
        source.answers.set()
        for thread in waiting:
            if thread.ident is not None:
                thread.join(30)
    for _ in until(30, "a copy in step"):
        if service.verify(good).status == 200:
            break
    return longest


def test_it_starts_before_its_issuer(source_redis: RedisServer) -> None:
    """Alive and not ready while the issuer is away; it goes on trying, and then it is."""
    with (
        TokenSource(source_redis.unix_url) as late,
        ForwardAuthService(late.url, source_redis.unix_url) as early,
    ):
        assert ask("GET", f"{early.url}/healthz").status == 200
        ready = ask("GET", f"{early.url}/readyz")
        assert (ready.status, ready.json["keys"]) == (503, "not ready")
        answer = early.verify(late.token())
        answer.refused(503, "temporarily_unavailable")
        assert answer.headers["retry-after"] == "1"
        late.serve()
        early.wait_ready()
        assert early.verify(late.token()).status == 200


def test_a_password_is_in_no_log_and_no_list_of_processes(source: TokenSource) -> None:
    """A denylist that does not answer is told of without its password."""
    url = f"redis://user:{SECRET}@127.0.0.1:1/0"
    with ForwardAuthService(source.url, url) as running:
        running.process.wait_for_line("(?i)denylist|replica|redis", stream="stderr")
        assert ask("GET", f"{running.url}/readyz").json["replica"] == "not ready"
        command_line = Path(f"/proc/{running.process.pid}/cmdline").read_text()
    assert SECRET not in command_line
    assert SECRET not in running.process.stderr() + running.process.stdout()


# --- stopping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_what_it_has(source: TokenSource, number: signal.Signals) -> None:
    """The request that waits for the issuer gets its answer; then it ends with 0."""
    answers: list[Answer] = []
    source.answers.clear()
    try:
        with (
            ForwardAuthService(source.url, source.denylist_url) as running,
            Line(running.port) as line,
        ):
            url, token = f"http://127.0.0.1:{line.port}/verify", source.token()
            running.process.wait_for_url(f"{running.url}/healthz")
            thread = threading.Thread(target=lambda: answers.append(ask("GET", url, token=token)))
            thread.start()
            for _ in until(10, "a request under way"):
                if line.sent:
                    break
            assert ask("GET", f"{running.url}/healthz").status == 200
            running.process.signal(number)
            for _ in until(10, "a closed door"):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", running.port)):
                        break
            source.answers.set()
            thread.join(30)
            assert running.process.wait() == 0
    finally:
        source.answers.set()
    [answer] = answers
    assert answer.status in {200, 503}


# --- several processes ------------------------------------------------------------------------


def test_workers_share_a_replica_and_end_with_their_supervisor(source: TokenSource) -> None:
    """Whichever is killed, what was revoked stays refused; a stop ends all of them with 0."""
    running = ForwardAuthService(source.url, source.denylist_url, "--workers", "2")
    ended = source.claims()
    good, revoked = source.token(), source.token(sid=ended.sid)
    with running:
        running.wait_ready()
        for _ in until(30, "two workers"):
            if len(workers := children(running.process.pid)) == 2:
                break
        [private] = maps_of(workers)
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        source.revoke(ended)
        for _ in until(30, "the refusal by all"):
            if [running.verify(revoked).status for _ in range(20)] == [401] * 20:
                break
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
            for _ in until(30, "another worker"):
                now = children(running.process.pid)
                if len(now) == 2 and worker not in now:
                    break
            for _ in until(30, "an answer"):
                with contextlib.suppress(OSError):
                    assert running.verify(revoked).status != 200
                    if running.verify(good).status == 200:
                        break
        assert running.process.stop(timeout=30) == 0
        assert not private.exists()


def test_a_worker_that_dies_while_it_is_asked_is_replaced_at_once(source: TokenSource) -> None:
    """The supervisor waits 30 seconds for one that hangs, and not for one that is gone."""
    running = ForwardAuthService(source.url, source.denylist_url, "--workers", "2")
    with running:
        running.wait_ready()
        for _ in until(30, "two workers"):
            if len(workers := children(running.process.pid)) == 2:
                break
        victim = workers[0]
        os.kill(victim, signal.SIGSTOP)
        # A question that is answered takes no tenth of a second.
        waits = 0
        for _ in until(30, "a supervisor that waits for an answer", pause=0.02):
            waits = waits + 1 if is_polling(running.process.pid) else 0
            if waits == 10:
                break
        os.kill(victim, signal.SIGKILL)
        for _ in until(10, "another worker"):
            now = children(running.process.pid)
            if len(now) == 2 and victim not in now:
                break


def test_workers_end_with_a_supervisor_that_is_killed(source: TokenSource) -> None:
    """No process, and no copy of the denylist, is left."""
    running = ForwardAuthService(source.url, source.denylist_url, "--workers", "2")
    with running:
        running.wait_ready()
        workers = children(running.process.pid)
        [private] = maps_of(workers)
        os.kill(running.process.pid, signal.SIGKILL)
        for _ in until(30, "the workers' end"):
            if not any(map(command_of, workers)):
                break
    assert not private.exists()


def maps_of(pids: list[int]) -> set[Path]:
    """The directories of the replicas that processes map."""
    lines = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in pids)
    return {Path(found).parent for found in re.findall(r"/\S+/replica", lines)}


def is_polling(pid: int) -> bool:
    """Whether a process's first thread is in poll(2), where it waits for a worker's answer."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in POLLING
