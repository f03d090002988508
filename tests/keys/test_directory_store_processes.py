"""The directory store among processes: killed in the middle, racing, waiting for each other."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import keystore_child

from keys import DirectoryStore, StoreBusy

SECRET = keystore_child.SECRET


@contextmanager
def child(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process of `keystore_child`, gone at the end whatever happened."""
    process = subprocess.Popen(
        [sys.executable, keystore_child.__file__, str(directory), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def stored(directory: Path) -> list[str]:
    return [key.kid for key in DirectoryStore(directory, SECRET).load().keys]


@pytest.mark.parametrize(
    ("point", "new"),
    [
        ("before-write", False),
        ("temporary-made", False),
        ("before-rename", False),
        ("after-rename", True),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["first ring", "later ring"])
def test_sigkill_leaves_the_old_ring_or_the_new(
    tmp_path: Path, point: str, new: bool, first: bool
) -> None:
    """A process killed at the point leaves a whole ring, and the next update goes through."""
    directory = tmp_path / "keys"
    if not first:
        DirectoryStore(directory, SECRET).update(keystore_child.add_key)
    old = stored(directory)
    with child(directory, "crash", point) as process:
        added = line(process)
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert stored(directory) == ([*old, added] if new else old)
    after = DirectoryStore(directory, SECRET, lock_timeout=0).update(keystore_child.add_key)
    assert stored(directory) == [key.kid for key in after.keys]
    assert len(after.keys) == len(old) + new + 1
    assert sorted(path.name for path in directory.iterdir()) == ["keyring.jwe", "keyring.lock"]


def test_every_point_is_passed_once(tmp_path: Path) -> None:
    """The points named above are all there are, in this order."""
    seen: list[str] = []
    DirectoryStore(tmp_path / "keys", SECRET, crash_point=seen.append).update(
        keystore_child.add_key
    )
    assert seen == ["before-write", "temporary-made", "before-rename", "after-rename"]


def test_processes_that_update_at_once_lose_nothing(tmp_path: Path) -> None:
    """Four processes add fifteen keys each, and all sixty are there."""
    directory = tmp_path / "keys"
    with (
        child(directory, "race", "15") as a,
        child(directory, "race", "15") as b,
        child(directory, "race", "15") as c,
        child(directory, "race", "15") as d,
    ):
        racers = [a, b, c, d]
        assert [line(process) for process in racers] == ["ready"] * 4
        for process in racers:
            go_on(process)
        added = [process.communicate(timeout=60)[0].split() for process in racers]
        assert [process.returncode for process in racers] == [0] * 4
    assert sorted(stored(directory)) == sorted(kid for kids in added for kid in kids)
    assert len(stored(directory)) == 60


def test_an_update_waits_for_the_one_before_it(tmp_path: Path) -> None:
    """While another process is between reading and renaming, nobody else updates; all may read."""
    directory = tmp_path / "keys"
    DirectoryStore(directory, SECRET).update(keystore_child.add_key)
    old = stored(directory)
    with child(directory, "hold", "before-rename") as process:
        added = line(process)
        assert line(process) == "held"
        with pytest.raises(StoreBusy, match="try again") as busy:
            DirectoryStore(directory, SECRET, lock_timeout=0).update(keystore_child.add_key)
        assert busy.value.code == "key_store_busy"
        assert stored(directory) == old
        go_on(process)
        DirectoryStore(directory, SECRET, lock_timeout=60).update(keystore_child.add_key)
        assert process.wait(timeout=60) == 0
    assert stored(directory)[: len(old) + 1] == [*old, added]
    assert len(stored(directory)) == len(old) + 2


def test_threads_with_one_store_lose_nothing(tmp_path: Path) -> None:
    """Eight threads on one store object add five keys each, and all forty are there."""
    store = DirectoryStore(tmp_path / "keys", SECRET, lock_timeout=60)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                store.update(keystore_child.add_key)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(stored(tmp_path / "keys")) == 40
