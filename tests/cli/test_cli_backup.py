"""`gatepass backup` and `restore` as an operator uses them, on a demo."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.gatepass_command import PROGRAM, clean_environment
from harness.processes import until
from harness.running_demo import SOURCES, Run, RunningDemo, settings_environment

from issuer.cli.backup_commands import _without_secrets


def test_there_and_back(
    own_demo: RunningDemo, run_on: Callable[[RunningDemo], Run], tmp_path: Path
) -> None:
    """What was handed out is refused, and a new login is good at once."""
    run = run_on(own_demo)
    path = str(tmp_path / "backup")
    before = own_demo.login()
    made = int(time.time())
    told = run("backup", path, "--json").done().json
    assert told["file"] == path
    assert made <= told["created"] <= time.time()
    assert told["rows"]["accounts"] == 2
    later = own_demo.login()
    assert "is not empty; --replace" in run("restore", path, "--yes").refused(1)
    report = run("restore", path, "--replace", "--yes", "--json").done().json
    assert report == {
        "restored": True,
        "made": told["created"],
        "accounts": 2,
        "changed": [],
        "missing": [],
        "clients": [],
        "watermark": report["watermark"],
        "completed": True,
    }
    assert made <= report["watermark"] < time.time()
    for granted in (before, later):
        own_demo.refuses(granted["access_token"])
        own_demo.site.refresh(granted["refresh_token"]).refused(400, "invalid_grant")
    good = own_demo.login()
    for _ in until(10, "the API in step with the new epoch", pause=0.02):
        answer = own_demo.site.api(good["access_token"])
        assert answer.status in {200, 503}, answer
        if answer.status == 200:
            break
    own_demo.refuses(before["access_token"])
    assert own_demo.site.refresh(good["refresh_token"]).status == 200


def test_in_words(
    own_demo: RunningDemo, run_on: Callable[[RunningDemo], Run], tmp_path: Path
) -> None:
    """Without `--json` each result is a sentence; what went back with the rows has its own line."""
    run = run_on(own_demo)
    path = str(tmp_path / "backup")
    name = own_demo.username
    told = run("backup", path).done().out
    assert re.fullmatch(r"wrote \d\d+ rows \(2 accounts\) to (.+)\n", told)[1] == path  # type: ignore[index]
    assert "is there already; --force replaces it" in run("backup", path).refused(1)
    run("backup", path, "--force").done()
    run("users", "add", "bob", "--generate").done()
    run("users", "passwd", name, "--generate").done()
    done = run("restore", path, "--replace", "--yes", "--without-redis").done()
    first, changed, missing, left = done.out.splitlines()
    assert first.startswith("restored the backup of 20")
    assert first.endswith("Z: 2 accounts")
    assert changed.startswith("changed since, so that the old password, roles or state are back: ")
    assert f": {name}. " in changed
    assert missing == "not in the backup, and gone: bob"
    assert left == "the next issuer that starts ends the tokens and sessions of before"
    done = run("restore", "--in-place", "--yes").done()
    assert done.out.splitlines()[0] == "made the database safe: 2 accounts"
    assert done.out.splitlines()[-1].startswith("every token issued until 20")
    assert done.err == "", "no terminal, no progress"


@pytest.mark.parametrize("run", SOURCES[:1], indirect=True)  # no matter of settings
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("restore", "--yes"), "give either FILE or --in-place"),
        (("restore", "file", "--in-place", "--yes"), "give either FILE or --in-place"),
        (("restore", "--in-place", "--replace", "--yes"), "--replace is for a FILE"),
        (("restore", "--in-place"), "no terminal to ask at: give --yes"),
    ],
    ids=["neither", "both", "replace", "unasked"],
)
def test_usage(run: Run, arguments: tuple[str, ...], words: str) -> None:
    """What does not say what it wants, or that it wants it, is exit code 2."""
    assert words in run(*arguments).failed(2)


@pytest.mark.parametrize("run", SOURCES[:1], indirect=True)  # no matter of settings
def test_a_file_that_is_not_there(run: Run, tmp_path: Path) -> None:
    """Told in one line, as is a place where nothing can be written."""
    assert "is not there" in run("restore", str(tmp_path / "nothing"), "--yes").refused(1)
    assert "cannot be written" in run("backup", str(tmp_path / "no" / "where")).refused(1)


def test_redis_that_is_down(own_demo: RunningDemo, run_on: Callable[[RunningDemo], Run]) -> None:
    """Exit code 4, and nothing is changed: the same password and the same session go on after."""
    run = run_on(own_demo)
    granted = own_demo.login()
    assert own_demo.stop() == 0
    line = run("restore", "--in-place", "--yes").refused(4)
    assert "nothing was changed; --without-redis" in line
    own_demo.start()
    assert own_demo.site.refresh(granted["refresh_token"]).status == 200
    assert own_demo.stop() == 0
    run("restore", "--in-place", "--yes", "--without-redis").done()
    own_demo.start()
    own_demo.site.refresh(granted["refresh_token"]).refused(400, "invalid_grant")
    own_demo.refuses(granted["access_token"])


def at_terminal(
    answer: bytes, *arguments: str, env: dict[str, str], directory: Path
) -> tuple[int, str]:
    """Run a command at a terminal and type an answer; its exit code and all that it showed."""
    ours, its = pty.openpty()
    with subprocess.Popen(
        [PROGRAM, *arguments],
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=directory,
        env=clean_environment(env),
    ) as process:
        os.close(its)
        os.write(ours, answer)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # how Linux says that nobody has the other end any more
                break
            shown += part
            if not part:
                break
        code = process.wait(60)
    os.close(ours)
    return code, shown.decode()


def test_at_a_terminal(own_demo: RunningDemo, tmp_path: Path) -> None:
    """It asks first, and tells of its work; a no changes nothing."""
    env = settings_environment(own_demo.state_dir)
    path = str(tmp_path / "backup")
    granted = own_demo.login()
    code, shown = at_terminal(b"", "backup", path, env=env, directory=tmp_path)
    assert code == 0
    assert "backup: accounts: 2 rows" in shown
    code, shown = at_terminal(b"n\n", "restore", path, "--replace", env=env, directory=tmp_path)
    assert code == 1
    assert "Replace every row with the backup of 20" in shown
    assert "Aborted!" in shown
    own_demo.site.refresh(granted["refresh_token"]).granted()
    code, shown = at_terminal(b"y\n", "restore", "--in-place", env=env, directory=tmp_path)
    assert code == 0
    assert "Make this database safe, and end every session there?" in shown
    assert f"database: sqlite:///{own_demo.state_dir}/gatepass.sqlite" in shown
    assert "Redis:    unix:///" in shown
    own_demo.site.refresh(granted["refresh_token"]).refused(400, "invalid_grant")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "postgresql+psycopg://u:p%40s@db:5432/gatepass?x=y",
            "postgresql+psycopg://db:5432/gatepass",
        ),
        (
            "rediss+sentinel://u:p@one:1,two:2/main?ssl_keyfile=k",
            "rediss+sentinel://one:1,two:2/main",
        ),
        ("redis://:p/s@host", "redis://host"),
        ("sqlite:////var/a@b/gatepass.db", "sqlite:////var/a@b/gatepass.db"),
    ],
)
def test_what_will_be_changed_is_named_without_secrets(url: str, shown: str) -> None:
    """An address is told, and never who logs in there or with what."""
    assert _without_secrets(url) == shown
