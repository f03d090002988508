"""Starting again, after whatever end: nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from harness.gatepass_command import Gatepass
from harness.processes import until
from harness.running_demo import RunningDemo
from harness.web import Answer


def wait_for(ask: Callable[[], Answer], status: int, what: str) -> Answer:
    """The first answer of this status."""
    for _ in until(30, what, pause=0.05):
        answer = ask()
        if answer.status == status:
            return answer
    raise AssertionError("unreachable")


def wait_for_refusal(demo: RunningDemo, revoked: str) -> None:
    """Until its copy is in step again the API may answer 503, and never anything else."""
    for _ in until(30, "the API's refusal", pause=0.05):
        answer = demo.site.api(revoked)
        if answer.status != 503:
            answer.refused(401, "invalid_token")
            return


def acknowledged(demo: RunningDemo) -> tuple[str, str]:
    """A refresh token that is good, and an access token that has been refused."""
    kept = demo.login()["refresh_token"]
    ended = demo.login()
    demo.site.post("/logout", {"refresh_token": ended["refresh_token"]}).granted()
    revoked = ended["access_token"]
    wait_for(lambda: demo.site.api(revoked), 401, "the API's refusal")
    return kept, revoked


def hold(demo: RunningDemo, kept: str, revoked: str) -> None:
    """The session goes on, and what was revoked stays so."""
    refreshed = demo.site.refresh(kept).granted()
    assert demo.site.api(refreshed["access_token"]).status == 200
    demo.site.api(revoked).refused(401, "invalid_token")


def end_in_order(demo: RunningDemo) -> None:
    assert demo.stop() == 0
    assert demo.redis_pid() is None


def kill_everything(demo: RunningDemo) -> None:
    """The demo, its worker and its Redis at once, as a power cut would."""
    pid = demo.redis_pid()
    assert pid is not None
    # In this order: a demo that saw its Redis die would start another.
    demo.process.kill()
    os.kill(pid, signal.SIGKILL)
    for _ in until(10, "the end of Redis"):
        if demo.redis_pid() is None:
            return


@pytest.mark.parametrize("end", [end_in_order, kill_everything])
def test_restart_keeps_account_sessions_and_revocations(
    make_demo: Callable[..., RunningDemo], end: Callable[[RunningDemo], None]
) -> None:
    """The next start has the same URL and password; a session goes on, a revocation stays."""
    demo = make_demo().start()
    first = demo.described
    kept, revoked = acknowledged(demo)
    end(demo)
    demo.start()
    assert demo.described == first
    hold(demo, kept, revoked)


def test_orphaned_redis_is_taken_over(make_demo: Callable[..., RunningDemo]) -> None:
    """A demo killed with SIGKILL leaves its Redis running, and the next one goes on with it."""
    demo = make_demo().start()
    kept, revoked = acknowledged(demo)
    pid = demo.redis_pid()
    demo.process.kill()
    assert demo.redis_pid() == pid is not None
    demo.start()
    assert demo.redis_pid() == pid
    hold(demo, kept, revoked)
    assert demo.stop() == 0
    assert demo.redis_pid() is None


def test_orphaned_worker_is_waited_for(
    make_demo: Callable[..., RunningDemo], state_dir: Path
) -> None:
    """Where only the supervisor was killed, the next start waits until its worker has ended."""
    demo = make_demo().start()
    kept, revoked = acknowledged(demo)
    demo.process.signal(signal.SIGKILL)
    for _ in until(10, "the supervisor's end"):
        if not demo.process.running:
            break
    again = make_demo()
    again.start()
    assert again.described == demo.described
    hold(again, kept, revoked)


def test_redis_killed_again_and_again_comes_back(make_demo: Callable[..., RunningDemo]) -> None:
    """SIGKILL of the embedded Redis, twice: the API recovers by itself and nothing is lost."""
    demo = make_demo().start()
    kept, revoked = acknowledged(demo)
    pid = demo.redis_pid()
    for _ in range(2):
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        pid = demo.wait_for_redis(other_than=pid)
        answer = wait_for(partial(demo.site.refresh, kept), 200, "a refresh that works")
        token = answer.json["access_token"]
        kept = answer.json["refresh_token"]
        wait_for(partial(demo.site.api, token), 200, "the API's recovery")
        wait_for_refusal(demo, revoked)
    assert demo.stop() == 0
    assert demo.redis_pid() is None


def test_killed_worker_is_replaced(make_demo: Callable[..., RunningDemo]) -> None:
    """SIGKILL of the serving process: another one takes over and prints nothing a second time."""
    demo = make_demo().start()
    kept, revoked = acknowledged(demo)
    (worker,) = {
        int(pid)
        for pid in Path(f"/proc/{demo.process.pid}/task/{demo.process.pid}/children")
        .read_text()
        .split()
    } - {demo.redis_pid()}
    os.kill(worker, signal.SIGKILL)

    def refresh() -> Answer:
        try:
            return demo.site.refresh(kept)
        except OSError:  # nobody accepts just now, or the answer was cut
            return Answer(0, {}, b"")

    wait_for(refresh, 200, "another worker")
    wait_for_refusal(demo, revoked)
    assert demo.process.stdout().count("\n") == 1


def test_strangers_process_number_does_not_stop_the_start(
    make_demo: Callable[..., RunningDemo],
) -> None:
    """A Redis that was killed left its number behind, and by now another process has it."""
    demo = make_demo().start()
    kept, revoked = acknowledged(demo)
    kill_everything(demo)
    (demo.state_dir / "redis" / "redis.pid").write_text(str(os.getpid()))
    demo.start()
    hold(demo, kept, revoked)


def test_command_line_needs_the_demo_running(
    make_demo: Callable[..., RunningDemo], gatepass: Gatepass
) -> None:
    """Once a demo has ended, a command that needs its Redis says so with exit code 4."""
    demo = make_demo().start()
    state = ("--state-dir", str(demo.state_dir))
    gatepass("denylist", "stats", *state).done()
    end_in_order(demo)
    gatepass("denylist", "stats", *state).refused(4)
    gatepass("users", "list", *state).done()
