"""What a demo says, what it leaves on disk, and how it refuses to start."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from harness.gatepass_command import run_program
from harness.issuer_app import claims_of
from harness.processes import until
from harness.running_demo import RunningDemo

PROMISED = {
    "base_url",
    "api_url",
    "username",
    "password",
    "client_id",
    "audience",
    "denylist_url",
}
NEW_PASSWORD = "an unlikely brass kettle 4417"


def test_first_line_is_the_promised_object(demo: RunningDemo) -> None:
    """Standard output is one line, a JSON object with every key that the design names."""
    assert demo.described.keys() >= PROMISED
    assert all(isinstance(demo.described[name], str) for name in PROMISED)
    assert demo.process.stdout().count("\n") == 1


def test_first_line_is_true(demo: RunningDemo) -> None:
    """Account, client, audience, denylist and both URLs are those of the running demo."""
    assert demo.site.get("/readyz").status == 200
    granted = demo.login()
    claims = claims_of(granted["access_token"])
    assert claims["client_id"] == demo.described["client_id"]
    assert claims["aud"] == demo.described["audience"]
    assert claims["iss"] == demo.described["base_url"]
    assert demo.site.api(granted["access_token"]).granted()["sub"] == claims["sub"]
    with contextlib.closing(redis.Redis.from_url(demo.described["denylist_url"])) as client:
        assert client.ping()


def test_introspection_client_may_ask(demo: RunningDemo) -> None:
    """The introspecting client that the first line names gets an answer about a token."""
    token = demo.login()["access_token"]
    name, secret = (demo.described[f"introspection_client_{part}"] for part in ("id", "secret"))
    basic = b64encode(f"{name}:{secret}".encode()).decode()
    answer = demo.site.post(
        "/introspect", form={"token": token}, headers={"Authorization": f"Basic {basic}"}
    )
    assert answer.granted()["active"] is True


def test_example_api_wants_a_token(demo: RunningDemo) -> None:
    """Without a token, and with a broken one, the example API challenges the caller."""
    missing, broken = demo.site.api(None), demo.site.api("of.bad.news")
    missing.refused(401, "invalid_token")
    broken.refused(401, "invalid_token")
    assert missing.headers["www-authenticate"] == "Bearer"
    assert broken.headers["www-authenticate"].startswith('Bearer error="invalid_token"')


def test_state_is_its_owners_alone(demo: RunningDemo) -> None:
    """Every file of the state is 0600, its socket included, and every directory 0700."""
    demo.login()
    modes = {
        path.relative_to(demo.state_dir): stat.S_IMODE(path.lstat().st_mode)
        for path in [demo.state_dir, *demo.state_dir.rglob("*")]
    }
    kinds = {path: 0o700 if (demo.state_dir / path).is_dir() else 0o600 for path in modes}
    assert modes == kinds
    assert len(modes) > 10


def test_logs_hold_no_secret(demo: RunningDemo, make_demo: Callable[..., RunningDemo]) -> None:
    """Nothing that could be used is logged, whether an attempt with it succeeds or fails."""
    other = make_demo().start()
    site = other.site
    granted = site.login(other.username, other.password).granted()
    refreshed = site.refresh(granted["refresh_token"]).granted()
    wrong = "a wrong password that somebody typed"
    site.login(other.username, wrong).refused(400, "invalid_grant")
    site.login(wrong, other.password).refused(400, "invalid_grant")
    site.post("/introspect", form={"token": granted["access_token"]}).refused(401, "invalid_client")
    change = {"current_password": other.password, "new_password": NEW_PASSWORD}
    changed = site.post("/password", change, token=refreshed["access_token"]).granted()
    site.refresh(refreshed["refresh_token"]).refused(400, "invalid_grant")
    site.get(f"/sessions?token={changed['access_token']}").refused(401, "invalid_token")
    site.post("/logout", {"refresh_token": changed["refresh_token"]}).granted()
    assert other.stop() == 0
    secrets = {
        other.password,
        NEW_PASSWORD,
        wrong,
        other.described["introspection_client_secret"],
        *(
            answer[name]
            for answer in (granted, refreshed, changed)
            for name in ("access_token", "refresh_token")
        ),
    }
    logged = other.process.stderr() + (other.state_dir / "redis" / "redis.log").read_text()
    assert "gunicorn" in logged
    assert not [secret for secret in secrets if secret in logged]


def test_second_demo_on_one_state_is_refused(demo: RunningDemo, tmp_path: Path) -> None:
    """Two demos on one state: the second one says so and ends, the first one goes on."""
    state = str(demo.state_dir)
    line = run_program("demo", "--port", "0", "--state-dir", state, directory=tmp_path).refused(2)
    assert "--state-dir: another demo is running" in line
    assert state in line
    demo.login()


def test_port_in_use_is_told(state_dir: Path, tmp_path: Path) -> None:
    """A port that somebody has is one clear line, and no Redis is left behind."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_program(
            "demo", "--port", port, "--state-dir", str(state_dir), directory=tmp_path
        )
    assert f"--port: cannot listen on 127.0.0.1:{port}: Address already in use" in done.refused(2)
    assert not (state_dir / "redis").exists()


def test_state_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    """A state directory below a file is one clear line."""
    (tmp_path / "file").touch()
    place = str(tmp_path / "file" / "state")
    done = run_program("demo", "--port", "0", "--state-dir", place, directory=tmp_path)
    assert f"--state-dir: cannot keep state in {place}" in done.refused(2)


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
def test_stop_leaves_nothing_running(
    make_demo: Callable[..., RunningDemo], stop_signal: signal.Signals
) -> None:
    """SIGTERM and Ctrl-C end the demo with exit code 0, and its Redis with it."""
    demo = make_demo().start()
    pid = demo.redis_pid()
    assert pid is not None
    demo.process.signal(stop_signal)
    assert demo.process.wait() == 0
    assert demo.redis_pid() is None
    assert not (demo.state_dir / "redis" / "redis.sock").exists()
    for _ in until(10, "the end of Redis"):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
