"""The settings of `gatepass gateway`: addresses, TLS, keys, and what is refused at the start."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
from harness.certificates import make_certificates
from harness.forward_auth import ForwardAuthService
from harness.gatepass_command import Gatepass
from harness.processes import short_directory, until
from harness.token_source import TokenSource
from joserfc.jwk import ECKey

from gateway.cli.gateway_command import gateway
from revocation import open_denylist
from tokens import Recipient, seal

SECRET = "pass-not-to-be-seen"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    made = short_directory("gp-fwd-")
    yield made
    shutil.rmtree(made)


# --- addresses --------------------------------------------------------------------------------


def test_a_unix_socket(gatepass: Gatepass, source: TokenSource, directory: Path) -> None:
    """For its user and group alone; a dead one is replaced, a live one and a file are not."""
    path = directory / "gateway.sock"
    options = ["--socket", str(path)]
    running = ForwardAuthService(source.url, source.denylist_url, *options)
    with running:
        assert running.described["url"] == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert asked_through(path, "/healthz") == 200
        failed = start_in_vain(gatepass, source, *options)
        assert (failed[0], "another service listens there" in failed[1]) == (1, True)
        running.process.kill()
        assert path.exists()
    with running:
        assert asked_through(path, "/healthz") == 200
    assert not path.exists()
    path.write_text("precious")
    failed = start_in_vain(gatepass, source, *options)
    assert (failed[0], "is no socket" in failed[1]) == (1, True)
    assert path.read_text() == "precious"


def asked_through(path: Path, target: str) -> int:
    """The status of an answer over a unix socket."""
    with closing(http.client.HTTPConnection("gatepass", timeout=30)) as client:
        client.sock = socket.socket(socket.AF_UNIX)
        client.sock.connect(str(path))
        client.request("GET", target)
        return client.getresponse().status


def start_in_vain(gatepass: Gatepass, source: TokenSource, *options: str) -> tuple[int, str]:
    """Exit code and standard error of a service that does not come up."""
    arguments = ["--issuer", source.url, "--audience", "api", "--denylist", source.denylist_url]
    done = gatepass("gateway", *arguments, *options)
    assert done.out == ""
    assert "Traceback" not in done.err
    return done.code, done.err


def test_tls(source: TokenSource, directory: Path) -> None:
    """With a certificate it speaks TLS 1.2 or newer, and says so in its address."""
    made = make_certificates(directory)
    context = ssl.create_default_context(cafile=str(made.authority))
    options = ["--tls-certificate", str(made.certificate), "--tls-key", str(made.key)]
    with ForwardAuthService(source.url, source.denylist_url, *options) as running:
        assert running.url.startswith("https://127.0.0.1:")
        running.process.wait_for_url(f"{running.url}/readyz", context=context)
        assert running.verify(source.token(), context=context).status == 200


def test_a_sealed_token_needs_its_key(source: TokenSource, directory: Path) -> None:
    """`--recipients` names the private keys that open sealed tokens."""
    private = ECKey.generate_key("P-256", {"kid": "api-1"}).as_dict(private=True)
    path = directory / "recipients.json"
    path.write_text(json.dumps({"keys": [private]}))
    sealed = seal(source.token(sub="hidden"), Recipient.from_jwk(private))
    options = ["--recipients", str(path)]
    with ForwardAuthService(source.url, source.denylist_url, *options) as running:
        answer = running.wait_ready().verify(sealed)
        assert (answer.status, answer.headers["x-gatepass-subject"]) == (200, "hidden")


def test_a_busy_port_is_told_in_one_line(
    gatepass: Gatepass, source: TokenSource, service: ForwardAuthService
) -> None:
    """Exit code 1, and which address it was."""
    code, text = start_in_vain(gatepass, source, "--port", str(service.port))
    assert code == 1
    assert f"127.0.0.1 port {service.port}: Address already in use" in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--issuer", "id.example"], "--issuer"),
        (["--issuer", "https://id.example/"], "--issuer"),
        (["--issuer", "http://id.example"], "--plain-issuer"),
        (["--issuer", "https://me:pw@id.example"], "--issuer"),
        (["--audience", ""], "--audience"),
        (["--denylist", "nonsense"], "--denylist"),
        (["--denylist", "memory://"], "--denylist"),
        (["--denylist", f"redis://:{SECRET}@localhost/0"], "GATEPASS_GATEWAY_DENYLIST"),
        (["--denylist", f"redis+sentinel://h/m?sentinel_password={SECRET}"], "password"),
        (["--denylist", f"redis://:{SECRET}@[::1/0"], "--denylist"),
        (["--policy", "ajar"], "--policy"),
        (["--workers", "0"], "--workers"),
        (["--max-staleness", "0"], "--max-staleness"),
        (["--max-staleness", "1"], "--max-staleness"),
        (["--max-staleness", "1.9"], "--max-staleness"),
        (["--heartbeat-interval", "2.6"], "--max-staleness"),
        (["--most-entries", "0"], "--most-entries"),
        (["--leeway", "61"], "--leeway"),
        (["--port", "http"], "--port"),
        (["--tls-key", "/etc/hostname"], "--tls-key"),
        (["--recipients", "/etc/hostname"], "--recipients"),
        (["--replica-file", "/tmp/replica"], "--replica-file"),
        (["--replica-file", "/nowhere/at/all/replica"], "--replica-file"),
        (["--issuer-ca", "/etc/hostname"], "--issuer-ca"),
        (["surplus"], "surplus"),
    ],
    ids=lambda value: "-".join(value)[:30] if isinstance(value, list) else "",
)
def test_a_setting_that_cannot_be_used_is_named(
    gatepass: Gatepass, options: list[str], named: str
) -> None:
    """Exit code 2 before anything listens, without repeating a password."""
    given = [
        "--issuer",
        "https://id.example",
        "--audience",
        "api",
        "--denylist",
        "redis://localhost",
    ]
    text = gatepass("gateway", *given, *options).failed(2)
    assert named in text
    assert SECRET not in text


def test_every_option_is_a_documented_variable(project_root: Path) -> None:
    """docs/settings.md has a row for each, with the name of its variable and its default."""
    page = (project_root / "docs" / "settings.md").read_text("utf-8")
    rows = {
        row[1]: row
        for row in re.findall(r"^\| `(\w+)` \| `--([\w-]+)` \| (.*?) \|", page, re.M)
        if row[0].startswith("GATEPASS_GATEWAY_")
    }
    options = [each for each in gateway.params if isinstance(each, click.Option)]
    assert set(rows) == {option.opts[0][2:] for option in options}
    for option in options:
        variable, _, default = rows[option.opts[0][2:]]
        assert option.envvar == variable
        if isinstance(option.default, str | int | float) and not option.is_flag:
            written = str(option.default)
            assert default.strip("`") == written.removesuffix(".0")


@pytest.mark.parametrize(("mode", "taken"), [(0o600, True), (0o640, True), (0o644, False)])
def test_a_password_that_others_can_read_is_refused(
    gatepass: Gatepass, directory: Path, mode: int, *, taken: bool
) -> None:
    """A file of mode 0640 at the most may hold one; it is not repeated."""
    given = ["--issuer", "http://id.example", "--audience", "api"]
    path = directory / "denylist"
    path.write_text(f"redis://:{SECRET}@localhost/0\n")
    path.chmod(mode)
    text = gatepass("gateway", "--denylist-file", str(path), *given).failed(2)
    assert ("--plain-issuer" in text, "0640" in text) == (taken, not taken)
    assert SECRET not in text


@pytest.mark.parametrize(("mode", "taken"), [(0o644, True), (0o664, False), (0o646, False)])
def test_a_denylist_file_that_others_can_write_is_refused(
    gatepass: Gatepass, directory: Path, mode: int, *, taken: bool
) -> None:
    """Without a password too: whoever writes it chooses what the gateway believes."""
    given = ["--issuer", "http://id.example", "--audience", "api"]
    path = directory / "denylist"
    path.write_text("redis://localhost/0\n")
    path.chmod(mode)
    text = gatepass("gateway", "--denylist-file", str(path), *given).failed(2)
    assert ("--plain-issuer" in text, "0644" in text) == (taken, not taken)


def test_a_denylist_file_that_is_no_text_is_told(gatepass: Gatepass, directory: Path) -> None:
    """In one sentence that names it."""
    path = directory / "denylist"
    path.write_bytes(b"\xff\xfe\xff")
    given = ["--issuer", "https://id.example", "--audience", "api"]
    assert f"{path} is no text" in gatepass("gateway", "--denylist-file", str(path), *given).failed(
        2
    ).replace("\n", " ")


def test_settings_are_variables_too(
    gatepass: Gatepass, source: TokenSource, service: ForwardAuthService, directory: Path
) -> None:
    """Nothing on the command line is needed; the denylist may stand in a file; one is missing.

    What the numbers mean shows in what passes: 60 seconds after `exp`, a life that is too long, and
    no token at all once there are more entries than may be held.
    """
    (directory / "denylist").write_text(f"{source.denylist_url}\n")
    env = {
        "GATEPASS_GATEWAY_ISSUER": source.url,
        "GATEPASS_GATEWAY_AUDIENCE": "api",
        "GATEPASS_GATEWAY_DENYLIST": "",
        "GATEPASS_GATEWAY_LEEWAY": "60",
        "GATEPASS_GATEWAY_MAX_LIFETIME": "950",
        "GATEPASS_GATEWAY_MAX_STALENESS": "2",
    }
    missing = gatepass("gateway", env=env).failed(2)
    assert "GATEPASS_GATEWAY_DENYLIST" in missing
    env["GATEPASS_GATEWAY_DENYLIST_FILE"] = str(directory / "denylist")
    with closing(open_denylist(source.denylist_url)) as denylist:
        held = sum(1 for _ in denylist.snapshot().records)
    env["GATEPASS_GATEWAY_MOST_ENTRIES"] = str(held + 1)
    now = int(time.time())
    good, old = source.token(), source.token(iat=now - 100, exp=now - 30)
    with ForwardAuthService(source.url, "", env=env) as running:
        assert running.wait_ready().verify(good).status == 200
        assert running.verify(old).status == 200
        service.verify(old).refused(401, "invalid_token")
        running.verify(source.token(iat=now - 900, exp=now - 65)).refused(401, "invalid_token")
        running.verify(source.token(exp=now + 960)).refused(401, "invalid_token")
        source.revoke(source.claims())
        assert running.verify(good).status == 200
        source.revoke(source.claims())
        for _ in until(20, "a copy that is full, and ages"):
            if running.verify(good).status == 503:
                break
        assert f"holds {held + 1} entries" in running.process.stderr()
