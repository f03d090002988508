"""The five `curl` lines of the banner, run by `sh` as somebody would who pastes them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.gatepass_command import Gatepass
from harness.issuer_app import claims_of
from harness.processes import require_binary
from harness.running_demo import RunningDemo

MARK = "--- next line ---"


def five_lines(demo: RunningDemo) -> list[str]:
    """The banner's lines for a shell."""
    lines = demo.process.stdout().splitlines()
    (start,) = [number for number, line in enumerate(lines) if line.startswith("LOGIN=")]
    return [line for line in lines[start:] if line]


def paste(lines: list[str], directory: Path) -> list[str]:
    """What each line prints in one shell; nothing may be printed as an error."""
    require_binary("curl", "curl")
    script = f"\necho; echo '{MARK}'\n".join(lines)
    done = subprocess.run(
        ["sh"], input=script, capture_output=True, text=True, cwd=directory, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [part.strip() for part in done.stdout.split(MARK)]


def walk(demo: RunningDemo, directory: Path) -> dict[str, Any]:
    """Run the five lines and hold each against its promise; the answer to the change."""
    lines = five_lines(demo)
    assert len(lines) == 5
    login, call, refresh, change, *ends = paste(lines, directory)
    logged_in, called, refreshed, changed = map(json.loads, (login, call, refresh, change))
    sub = claims_of(logged_in["access_token"])["sub"]
    assert called["sub"] == sub
    assert refreshed["session"]["sid"] == logged_in["session"]["sid"]
    assert refreshed["refresh_token"] != logged_in["refresh_token"]
    assert changed["session"]["sid"] != logged_in["session"]["sid"]
    # The last line is two calls: both are refused.
    old_access, old_refresh = map(json.loads, ends[0].splitlines())
    assert old_access["error"] == "invalid_token"
    assert "revoked" in old_access["error_description"]
    assert old_refresh["error"] == "invalid_grant"
    return dict(changed)


def test_the_walk_keeps_its_promises(
    make_demo: Callable[..., RunningDemo], gatepass: Gatepass, tmp_path: Path
) -> None:
    """The five lines do what the banner says, and do it again after a restart.

    They change the password, so that the next banner has to offer another one. Once somebody has
    chosen a password of their own, the banner says so and shows none.
    """
    demo = make_demo(as_json=False).start()
    first = five_lines(demo)
    granted = walk(demo, tmp_path)
    assert demo.stop() == 0
    demo.start()
    assert five_lines(demo) != first
    assert (
        claims_of(walk(demo, tmp_path)["access_token"])["sub"]
        == (claims_of(granted["access_token"])["sub"])
    )
    state = ("--state-dir", str(demo.state_dir))
    own = "seven violet otters juggle 91"
    gatepass("users", "passwd", "demo", "--password-stdin", *state, stdin=own + "\n").done()
    assert demo.stop() == 0
    demo.start()
    assert "Account: demo, with the password that you have set" in demo.process.stdout()
    lines = [line.replace("YOUR-PASSWORD", own) for line in five_lines(demo)]
    assert json.loads(paste(lines, tmp_path)[3])["access_token"]


def test_the_walk_works_with_tls(make_demo: Callable[..., RunningDemo], state_dir: Path) -> None:
    """With `--tls` the lines name the certificate, in a directory that a shell must have quoted."""
    directory = state_dir.parent / "it's an odd %41 näme"
    walk(make_demo("--tls", directory=directory, as_json=False).start(), state_dir.parent)
