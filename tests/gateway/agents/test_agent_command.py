"""`gatepass agent` told wrong things, and what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.gatepass_command import Gatepass
from harness.processes import free_port

COMMON = ("--issuer", "http://127.0.0.1:1", "--audience", "api")
METRICS = ("--directory", "d", "--metrics-port", "1")
DENYLIST = ("--denylist", "redis://127.0.0.1:1/0")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("haproxy", *COMMON, "--directory", "d", "--socket", "s"), "--denylist"),
        (("haproxy", *COMMON, *DENYLIST, "--directory", "d"), "--socket"),
        (("haproxy", *COMMON, "--denylist", "redis://:secret@h/0", "--directory", "d"), "password"),
        (("haproxy", *COMMON, "--denylist", "memory://x", "--directory", "d"), "memory://"),
        (("haproxy", *COMMON, *DENYLIST, "--directory", "a b", "--socket", "s"), "--directory"),
        (("envoy", *COMMON, *DENYLIST), "--directory"),
        (
            ("envoy", "--issuer", "ftp://x", "--audience", "a", *DENYLIST, "--directory", "d"),
            "http",
        ),
        (("envoy", *COMMON, *DENYLIST, *METRICS, "--metrics-host", "0.0.0.0"), "TOKEN_SHA256"),
        (
            ("haproxy", *COMMON, *DENYLIST, *METRICS, "--socket", "s", "--metrics-host", "::"),
            "no loopback address",
        ),
        (("envoy", *COMMON, *DENYLIST, *METRICS, "--metrics-token-sha256", "secret"), "64"),
    ],
)
def test_wrong_usage_is_told(gatepass: Gatepass, arguments: tuple[str, ...], told: str) -> None:
    """Exit code 2 and a word about the option; nothing is written and no password repeated."""
    text = gatepass("agent", *arguments).failed(2)
    assert told in text
    assert "secret" not in text


def test_two_ways_to_reload_exclude_each_other(gatepass: Gatepass, tmp_path: Path) -> None:
    """Which of the two was meant is not for a guess."""
    options = ("--directory", str(tmp_path), "--socket", "s", "--master-socket", "m")
    gatepass("agent", "haproxy", *COMMON, *DENYLIST, *options, "--reload-command", "true").failed(2)


def test_preparing_without_an_issuer_fails(gatepass: Gatepass, tmp_path: Path) -> None:
    """HAProxy must not start on no keys as if that were all of them: exit code 1 and the reason."""
    issuer = ("--issuer", f"http://127.0.0.1:{free_port()}", "--audience", "api")
    options = (*issuer, *DENYLIST, "--directory", str(tmp_path / "gw"), "--prepare")
    assert "does not answer" in gatepass("agent", "haproxy", *options).failed(1)


def test_settings_cannot_become_code(gatepass: Gatepass, tmp_path: Path) -> None:
    """What an operator gives lies in the filter as numbers of bytes, and no password at all."""
    hostile = 'a"]] os.exit() --[['
    options = ("--issuer", "https://id.example", "--audience", hostile)
    url = {"GATEPASS_AGENT_DENYLIST": "redis://:hidden-word@127.0.0.1:1/0"}
    done = gatepass("agent", "envoy", *options, "--directory", str(tmp_path), "--prepare", env=url)
    done.done()
    text = (tmp_path / "gatepass.lua").read_text()
    assert "os.exit" not in text
    assert "hidden-word" not in text
    assert "".join(f"\\{byte:03d}" for byte in hostile.encode()) in text


def test_a_directory_that_others_write_to_is_refused(gatepass: Gatepass, tmp_path: Path) -> None:
    """Whoever can put a file there would decide what is revoked."""
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(0o777)
    failed = gatepass("agent", "envoy", *COMMON, *DENYLIST, "--directory", str(place)).failed(1)
    assert "nobody else" in failed
