"""What HAProxy starts with after a reload by its agent, and what it never goes by."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness.fed_haproxy import RULES, FedHaproxy, entry, issuer_keys
from harness.processes import until

from gateway.agents.denylist_source import DenylistSource
from gateway.agents.haproxy_agent import HaproxyAgent, Reloading
from gateway.agents.haproxy_files import SAVED, HaproxyFiles
from keys import generate
from revocation import NEVER
from revocation.follower import suspension_aware_clock
from revocation.table_storage import boot_id

LONGEST = RULES.max_staleness - RULES.heartbeat_interval
REVOKED, GOOD = b"r" * 16, b"g" * 16


def saved(setting: FedHaproxy, *, fresh_at: float | None = None) -> None:
    """A copy that refuses one token, in files; it is of now, unless told otherwise."""
    setting.sink.merge([entry(REVOKED, NEVER)])
    setting.sink.vouch(suspension_aware_clock() if fresh_at is None else fresh_at)
    assert setting.sink.save(LONGEST)


def answers(setting: FedHaproxy) -> tuple[int, int]:
    """What a good token gets, and a revoked one."""
    return setting.status(setting.token(GOOD)), setting.status(setting.token(REVOKED))


def test_it_starts_with_what_was_saved(setting: FedHaproxy) -> None:
    """Without a word of the agent it lets pass and refuses as before; the agent then goes on."""
    saved(setting)
    setting.restart()
    assert answers(setting) == (200, 401)
    setting.sink.merge([entry(GOOD, NEVER)])
    setting.sink.tend()
    assert setting.sink.in_step
    assert answers(setting) == (401, 401)
    assert len(setting.held()) == len(setting.sink) == 2


def test_what_was_saved_ages(setting: FedHaproxy) -> None:
    """It is as old as the copy was at that moment, and closes once that is too old.

    One that is too old when it has been written is not saved.
    """
    saved(setting, fresh_at=suspension_aware_clock() - RULES.max_staleness + 2)
    for _ in until(30, "the bound"):
        if suspension_aware_clock() - (setting.sink._fresh_at or 0) > RULES.max_staleness:
            break
    setting.restart()
    assert answers(setting) == (503, 401)
    setting.files.forget_copy()
    assert not setting.sink.save(LONGEST)
    assert Path(setting.files.state_map).read_text() == ""


def empty_a_map(files: HaproxyFiles) -> None:
    Path(files.shard(77)).write_text("")


def mix_two_savings(files: HaproxyFiles) -> None:
    path = Path(files.shard(77))
    path.write_text(f"{SAVED} {'0' * 32}.{'0' * 32}\n")


def let_the_machine_boot(files: HaproxyFiles) -> None:
    boot = boot_id().hex()
    for path in (files.state_map, *map(files.shard, range(256))):
        Path(path).write_text(Path(path).read_text().replace(boot, "0" * 32))


SPOILT = (empty_a_map, mix_two_savings, let_the_machine_boot)


@pytest.mark.parametrize("spoil", SPOILT)
def test_no_other_files_are_gone_by(
    setting: FedHaproxy, spoil: Callable[[HaproxyFiles], None]
) -> None:
    """Files of two savings, or of another boot, whose uptime is another one, vouch for nothing.

    A new agent does not take their word either, until it has its own.
    """
    saved(setting)
    spoil(setting.files)
    setting.restart()
    assert answers(setting)[0] == 503
    setting.sink.close()
    setting.new_sink().tend()
    assert setting.sink.why_reload is None
    assert answers(setting)[0] == 503
    setting.sink.vouch(suspension_aware_clock())
    assert answers(setting)[0] == 200


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_filter_that_goes_by_any_files_is_caught(
    setting: FedHaproxy, spoil: Callable[[HaproxyFiles], None]
) -> None:
    """A mutant that does not ask of which saving they are."""
    program = setting.files.directory / "gatepass.lua"
    original, text = program.read_text(), "or is_whole(saving, tonumber(fresh))"
    assert original.count(text) == 1
    program.write_text(original.replace(text, "or true"))
    try:
        saved(setting)
        spoil(setting.files)
        setting.restart()
        assert answers(setting)[0] == 200
    finally:
        program.write_text(original)


def test_what_was_saved_is_forgotten(setting: FedHaproxy) -> None:
    """A HAProxy that starts later on knows nothing, as ever."""
    saved(setting)
    setting.files.forget_copy()
    setting.restart()
    assert answers(setting) == (503, 503)


def test_nothing_is_saved_that_nobody_vouches_for(setting: FedHaproxy) -> None:
    """A copy that is not in step is no copy to start with."""
    setting.sink.vouch(None)
    assert not setting.sink.save(LONGEST)
    setting.restart()
    assert Path(setting.files.state_map).read_text() == ""
    assert answers(setting) == (503, 503)


def test_nobody_else_reads_what_was_saved(setting: FedHaproxy) -> None:
    """It holds the salts, with which names could be guessed, and identifiers of live tokens."""
    saved(setting)
    for path in (setting.files.state_map, setting.files.shard(77)):
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o640


def test_a_new_agent_keeps_open_what_it_has_found_open(setting: FedHaproxy) -> None:
    """It reloads for a new key before anybody has vouched for its own copy: no more is missing."""
    saved(setting)
    setting.sink.close()
    sink = setting.new_sink()
    sink.tend()
    assert sink.save(LONGEST)
    setting.restart()
    for _ in until(10, "the agent to find it"):
        sink.tend()
        if sink.in_step:
            break
    assert answers(setting) == (200, 401)


@pytest.mark.parametrize("read_afresh", [False, True])
def test_what_goes_while_it_is_saved_may_be_missing(
    setting: FedHaproxy, monkeypatch: pytest.MonkeyPatch, read_afresh: bool
) -> None:
    """The copy says so. Nothing is saved where all that is known again: it may be too late."""
    now = int(time.time())
    passing = entry(b"\xf0" * 16, now + 400)
    setting.sink.merge([passing])
    real = HaproxyFiles.save_shard

    def save_shard(files: HaproxyFiles, number: int, *rest: object) -> None:
        real(files, number, *rest)  # type: ignore[arg-type]
        if number == 0:
            setting.sink.sweep(now + 401)
            setting.sink.tend()
            setting.sink.merge([entry(b"\xff" * 16, NEVER)])
            if read_afresh:
                setting.sink.hold_all_since(now)

    monkeypatch.setattr(HaproxyFiles, "save_shard", save_shard)
    assert setting.sink.save(LONGEST) is not read_afresh
    setting.restart()
    if read_afresh:
        assert setting.status(setting.token(GOOD, lifetime=600)) == 503
        return
    assert setting.status(setting.token(GOOD)) == 503
    assert setting.status(setting.token(GOOD, lifetime=600)) == 200


TORN = {"the state": "its state cannot be read", "an entry": "its map holds what nobody here wrote"}


@pytest.mark.parametrize("torn", TORN)
def test_a_haproxy_with_torn_maps_is_reloaded(setting: FedHaproxy, torn: str) -> None:
    """As after a power failure: its agent cannot go on from what it holds, and says so."""
    saved(setting)
    path = Path(setting.files.state_map if torn == "the state" else setting.files.shard(77))
    path.write_text(path.read_text()[:40] if torn == "the state" else "tAAAA\n")
    setting.restart()
    for _ in until(10, "the agent to find it"):
        setting.sink.tend()
        if setting.sink.why_reload is not None:
            break
    assert setting.sink.why_reload == TORN[torn]
    assert setting.sink.save(LONGEST)
    setting.restart()
    assert answers(setting) == (200, 401)
    for _ in until(10, "the agent to find it"):
        setting.sink.tend()
        if setting.sink.in_step:
            break
    assert setting.sink.why_reload is None


def test_all_of_the_first_requests_are_judged(setting: FedHaproxy) -> None:
    """HAProxy takes up another one in the middle of the look at what it was started with.

    `tune.lua.forced-yield` steps of a program lie between: fewer make that likely.
    """
    config = setting.haproxy.config
    text = config.read_text()
    config.write_text(text.replace("global\n", "global\n    tune.lua.forced-yield 200\n", 1))
    try:
        for _ in range(5):
            saved(setting)
            setting.restart()
            ready = threading.Barrier(16)
            head = f"Host: x\r\nAuthorization: Bearer {setting.token(GOOD)}"

            def first(_: int, ready: threading.Barrier = ready, head: str = head) -> bytes:
                with socket.create_connection(("127.0.0.1", setting.haproxy.port)) as line:
                    ready.wait(30)
                    line.sendall(f"GET / HTTP/1.1\r\n{head}\r\n\r\n".encode())
                    return line.makefile("rb").readline()

            with ThreadPoolExecutor(16) as pool:
                found = set(pool.map(first, range(16)))
            assert {line.split()[1] for line in found} == {b"200"}
    finally:
        config.write_text(text)


def test_no_reload_comes_for_a_key_that_lies_in_no_file(
    setting: FedHaproxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a full disk it would bring nothing; once there is room the key is loaded."""
    reloaded = tmp_path / "reloaded"
    agent = HaproxyAgent(
        setting.files,
        issuer_keys(setting.key, generate("ES256", 0)),
        DenylistSource(url="memory://unused", issuer=RULES.issuer),
        runtime=setting.haproxy.socket,
        reloading=Reloading(command=f"touch {reloaded}"),
        keys_interval=3600.0,
        max_staleness=RULES.max_staleness,
        heartbeat_interval=RULES.heartbeat_interval,
    )
    agent.sink = setting.sink

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(HaproxyFiles, "write_keys", no_room)
        agent._tend_keys()
        assert setting.sink.why_reload is not None
        agent._reload_if_needed()
    assert not reloaded.exists()
    agent._next_keys = 0.0
    agent._tend_keys()
    agent._reload_if_needed()
    assert reloaded.exists()


# --- time namespaces ----------------------------------------------------------------------------

AHEAD = ("unshare", "--time", "--boottime", "100000", "--")
_SAVE = """
import sys
from pathlib import Path
from gateway.agents.haproxy_files import HaproxyFiles
from gateway.agents.haproxy_sink import HaproxySink
from harness.fed_haproxy import RULES, SALT
from revocation.follower import suspension_aware_clock

sink = HaproxySink(HaproxyFiles(Path(sys.argv[1]), RULES), Path(sys.argv[2]))
sink.serve_keys(dict(each.split("=", 1) for each in sys.argv[3:]), trusted=True)
sink.begin(SALT)
sink.vouch(suspension_aware_clock())
sink.tend()
assert sink.in_step, sink._told
assert sink.save(30)
"""


def test_a_container_that_starts_anew_has_another_clock(setting: FedHaproxy) -> None:
    """Guarantee: in the same boot of the machine, what was saved by one counts by that alone.

    By the clock of the next one it would be of a time to come, and never too old.
    """
    process = setting.haproxy.process
    argv = process.argv
    entries = [f"{kid}={entry}" for kid, entry in setting.entries.items()]
    try:
        process.kill()
        process.argv = [*AHEAD, *argv]
        setting.haproxy.start()
        program = [sys.executable, "-c", _SAVE]
        arguments = [str(setting.files.directory), str(setting.haproxy.socket), *entries]
        path = {"PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(
            [*AHEAD, *program, *arguments], check=True, timeout=60, env={**os.environ, **path}
        )
        setting.restart()
        assert setting.status(setting.token(GOOD)) == 200
        process.kill()
        process.argv = argv
        setting.haproxy.start()
        assert setting.status(setting.token(GOOD)) == 503
    finally:
        process.kill()
        process.argv = argv
        setting.haproxy.start()
