"""What a process that holds keys leaves behind and hands on: nothing."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

from harness.processes import require_binary, short_directory
from harness.running_demo import RunningDemo

from issuer.children import environment_of_children
from keys.memory import forbid_dumps

PR_GET_DUMPABLE = 3
REDIS = require_binary("redis-server", "redis-server")
SECRET = "a-secret-for-nobody-else-4471"


def in_fork(act: Callable[[], bool]) -> bool:
    """What a child of ours finds."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            code = int(not act())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def dumpable() -> bool:
    """Whether the kernel would dump this process."""
    return bool(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))


def test_a_process_that_holds_keys_leaves_no_dump() -> None:
    """Neither to a file nor to a program that collects dumps; its forks neither (CWE-528)."""

    def hardened() -> bool:
        forbid_dumps()
        limit, _ = resource.getrlimit(resource.RLIMIT_CORE)
        return limit == 0 and not dumpable() and in_fork(lambda: not dumpable())

    assert dumpable()
    assert in_fork(hardened)


def test_children_inherit_none_of_our_settings() -> None:
    """Whatever their spelling; the rest of the environment is theirs."""
    given = {"GATEPASS_KEYS_SECRET": SECRET, "gatepass_hsm_pin": SECRET, "PATH": "/bin"}
    assert environment_of_children(given) == {"PATH": "/bin"}


def test_the_embedded_redis_inherits_no_secret(tmp_path: Path) -> None:
    """Of a demo whose environment holds one; the demo's own processes have no dump to give."""
    server = tmp_path / "redis-server"
    server.write_text(f'#!/bin/sh\nenv > {tmp_path}/inherited\nexec {REDIS} "$@"\n')
    server.chmod(0o755)
    given = {"GATEPASS_KEYS_SECRET": SECRET, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    directory = short_directory("gp-heirs-")
    with RunningDemo(directory / "state", env=given) as demo:
        inherited = (tmp_path / "inherited").read_text()
        assert f"PATH={tmp_path}" in inherited
        assert "GATEPASS_" not in inherited
        assert SECRET not in inherited
        limits = Path(f"/proc/{demo.process.pid}/limits").read_text()
        (line,) = [line for line in limits.splitlines() if "core file size" in line]
        assert line.split()[4] == "0"
    shutil.rmtree(directory)
