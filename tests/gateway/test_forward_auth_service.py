"""`gatepass gateway` as a process: how it starts, answers, waits, fails and stops."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
from harness.certificates import make_certificates
from harness.forward_auth import ForwardAuthService, Line
from harness.gatepass_command import Gatepass
from harness.processes import monotonic, short_directory, until
from harness.redis_server import RedisServer
from harness.token_source import TokenSource
from harness.web import Answer, ask
from joserfc.jwk import ECKey

from gateway.cli.gateway_command import gateway
from tokens import Recipient, seal

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "pass-not-to-be-seen"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A redis-server of this module's own."""
    with RedisServer(tcp=True) as server:
        yield server


@pytest.fixture(scope="module")
def source(redis: RedisServer) -> Iterator[TokenSource]:
    """Where tokens come from."""
    with TokenSource(redis.unix_url) as running:
        yield running.serve()


@pytest.fixture(scope="module")
def service(source: TokenSource) -> Iterator[ForwardAuthService]:
    """One service, in step, which nobody stops."""
    options = ["--max-staleness", "2", "--log-requests", "all"]
    with ForwardAuthService(source.url, source.denylist_url, *options) as running:
        yield running.wait_ready()


@pytest.fixture(scope="module")
def gatepass() -> Iterator[Gatepass]:
    """Runs commands that end by themselves, quickly."""
    with Gatepass() as running:
        yield running


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    made = short_directory("gp-fwd-")
    yield made
    shutil.rmtree(made)


# --- answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "REPORT"])
def test_every_method_is_answered_alike(
    service: ForwardAuthService, source: TokenSource, method: str
) -> None:
    """Whatever method a gateway asks with, it is the token that counts."""
    url = f"{service.url}/verify"
    passed = ask(method, url, token=source.token(sub="me"))
    assert (passed.status, passed.content) == (200, b"")
    assert passed.headers["x-gatepass-subject"] == "me"
    assert passed.headers["cache-control"] == "no-store"
    refused = ask(method, url)
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")


def test_the_query_is_not_read(service: ForwardAuthService, source: TokenSource) -> None:
    """Neither it nor headers that tell of the original request decide anything."""
    token = source.token()
    headers = {"X-Original-URI": "/verify/any", "X-Forwarded-Uri": "/verify/any"}
    path = "/verify/scope=orders:write"
    for appended in ("", "?scope=read", "?policy=open", "/x?scope=read#any", "/../any"):
        assert service.verify(token, path + appended, headers=headers).status == 403
    assert service.verify(token, "/verify?scope=orders:write").status == 200


def test_scopes_and_roles_are_all_needed(service: ForwardAuthService, source: TokenSource) -> None:
    """One that is missing refuses, and the challenge names the scopes (RFC 6750 section 3.1)."""
    token = source.token(scope="a b", roles=("x", "y"))
    assert service.verify(token, "/verify/scope=a&scope=b&role=x&role=y").status == 200
    for path in ("/verify/scope=a&scope=c", "/verify/scope=a&role=z", "/verify/role=x,y"):
        assert service.verify(token, path).refused(403, "insufficient_scope")
    challenge = service.verify(token, "/verify/scope=d&scope=c").headers["www-authenticate"]
    assert challenge.endswith('scope="c d"')
    assert "scope" not in service.verify(token, "/verify/role=z").headers["www-authenticate"][40:]


@pytest.mark.parametrize("path", ["/", "/verify/", "/verify/orders", "/metrics", "/verify/policy="])
def test_a_path_that_asks_for_nothing_known_refuses(
    service: ForwardAuthService, source: TokenSource, path: str
) -> None:
    """404 makes every gateway refuse, also for a good token."""
    service.verify(source.token(), path).refused(404, "unknown_path")


def test_identity_cannot_break_out_of_its_header(
    service: ForwardAuthService, source: TokenSource
) -> None:
    """A subject with line breaks is one value, percent-encoded."""
    answer = service.verify(source.token(sub="a\r\nX-Gatepass-Roles: root", roles=("é", "a,b")))
    assert answer.status == 200
    assert answer.headers["x-gatepass-subject"] == "a%0D%0AX-Gatepass-Roles:%20root"
    assert answer.headers["x-gatepass-roles"] == "%C3%A9,a%2Cb"


def test_a_revoked_session_is_refused(service: ForwardAuthService, source: TokenSource) -> None:
    """Within the bound after the entry was added."""
    claims = source.claims()
    token = source.token(sid=claims.sid)
    assert service.verify(token).status == 200
    source.revoke(claims)
    for _ in until(2, "the refusal"):
        answer = service.verify(token)
        if answer.status != 200:
            break
    answer.refused(401, "invalid_token")
    assert "revoked" in answer.headers["www-authenticate"]


def test_a_body_ends_the_connection(service: ForwardAuthService, source: TokenSource) -> None:
    """What follows a body that nobody has read is no request; without one it is kept alive."""
    bearer = f"Authorization: Bearer {source.token()}"
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)) as client:
        for _ in range(3):
            client.request("GET", "/verify", headers={"Authorization": bearer[15:]})
            kept = client.getresponse()
            assert (kept.status, kept.getheader("Connection"), kept.read()) == (200, None, b"")
            used = client.sock
        assert client.sock is used
    smuggled = b"GET /verify/any HTTP/1.1\r\nHost: a\r\n\r\n"
    for framing in (f"Content-Length: {len(smuggled)}", "Transfer-Encoding: chunked"):
        lines = ["GET /verify HTTP/1.1", "Host: a", bearer, framing, "", ""]
        with closing(socket.create_connection(("127.0.0.1", service.port), timeout=30)) as line:
            line.sendall("\r\n".join(lines).encode() + smuggled)
            answers = b""
            while received := line.recv(65536):
                answers += received
        assert answers.count(b"HTTP/1.1 ") == 1, answers


def test_both_framings_at_once_are_refused(service: ForwardAuthService) -> None:
    """Content-Length beside Transfer-Encoding is no request (RFC 9112 section 6.1)."""
    framing = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", service.port), timeout=30)) as line:
        line.sendall(b"GET /verify HTTP/1.1\r\nHost: a\r\n" + framing + b"0\r\n\r\n")
        assert line.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_trailer_is_no_header(service: ForwardAuthService, source: TokenSource) -> None:
    """A token behind a body is none (RFC 9110 section 6.5.1)."""
    head = b"POST /verify HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    trailer = f"0\r\nAuthorization: Bearer {source.token()}\r\n\r\n".encode()
    with closing(socket.create_connection(("127.0.0.1", service.port), timeout=30)) as line:
        line.sendall(head + trailer)
        assert line.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_another_protocol_ends_the_connection(
    service: ForwardAuthService, source: TokenSource
) -> None:
    """A gateway that passes a WebSocket's handshake on gets the decision, and no other protocol."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "a" * 24}
    for token, status in ((source.token(), 200), (None, 401)):
        answer = service.verify(token, headers=upgrade)
        assert (answer.status, answer.headers["connection"]) == (status, "close")


def test_a_head_has_bounds(service: ForwardAuthService, source: TokenSource) -> None:
    """60 KB of headers are read; a head without an end is not, in however many headers it comes."""
    padding = {f"X-{number}": "x" * 6000 for number in range(10)}
    assert service.verify(source.token(), headers=padding).status == 200
    for chunk in (b"x" * 9000, b"X-A: 1\r\n" * 1000):
        with closing(socket.create_connection(("127.0.0.1", service.port), timeout=30)) as line:
            line.sendall(b"GET /verify HTTP/1.1\r\nX-A: a")
            with contextlib.suppress(OSError):
                for _ in range(100):
                    line.sendall(chunk)
            with contextlib.suppress(ConnectionResetError):
                assert line.recv(65536).startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert service.verify(source.token()).status == 200


def test_the_log_holds_the_trace_and_no_token(
    service: ForwardAuthService, source: TokenSource
) -> None:
    """A well-formed `traceparent` is logged; anything else, and every token, is not."""
    token, bad = source.token(), "bad.token.in-no-log"
    trace = TRACEPARENT.replace("b7ad6b", f"{os.getpid() % 0xFFFFFF:06x}")
    service.verify(token, headers={"traceparent": trace})
    service.verify(bad, headers={"traceparent": "forged event=allowed"})
    found = [line for line in service.logged() if line.get("traceparent") == trace]
    assert [(line["event"], line["status"]) for line in found] == [("allowed", 200)]
    text = service.process.stderr()
    assert token.rpartition(".")[2] not in text
    assert bad not in text
    assert "forged" not in text


# --- waiting ----------------------------------------------------------------------------------


def test_nothing_that_waits_holds_up_the_others(
    redis: RedisServer, source: TokenSource, service: ForwardAuthService
) -> None:
    """While the issuer hangs and Redis is frozen, whoever need not wait is answered at once."""
    good, strangers = source.token(), TokenSource(redis.unix_url)
    strange = strangers.token(iss=source.url)
    assert service.verify(good).status == 200
    source.answers.clear()
    redis.pause()
    waiting = [
        threading.Thread(target=service.verify, args=(token, path))
        for token, path in [(strange, "/verify"), (good, "/verify/policy=ask")] * 4
    ]
    try:
        for _ in until(15, "an old copy"):
            if service.verify(good).status == 503:
                break
        for thread in waiting:
            thread.start()
        for _ in range(50):
            began = monotonic()
            stale = service.verify(good)
            assert (stale.status, stale.headers["retry-after"]) == (503, "1")
            assert ask("GET", f"{service.url}/healthz").status == 200
            assert service.verify(good, "/verify/policy=open").status == 200
            assert monotonic() - began < 1.9  # less than any wait for the issuer
        assert ask("GET", f"{service.url}/readyz").json["replica"] == "not ready"
    finally:
        redis.resume()
        source.answers.set()
        for thread in waiting:
            thread.join(30)
    for _ in until(30, "a copy in step"):
        if service.verify(good).status == 200:
            return


def test_it_starts_before_its_issuer(redis: RedisServer) -> None:
    """Alive and not ready while the issuer is away; it goes on trying, and then it is."""
    with (
        TokenSource(redis.unix_url) as late,
        ForwardAuthService(late.url, redis.unix_url) as early,
    ):
        assert ask("GET", f"{early.url}/healthz").status == 200
        ready = ask("GET", f"{early.url}/readyz")
        assert (ready.status, ready.json["keys"]) == (503, "not ready")
        answer = early.verify(late.token())
        answer.refused(503, "temporarily_unavailable")
        assert answer.headers["retry-after"] == "1"
        late.serve()
        early.wait_ready()
        assert early.verify(late.token()).status == 200


def test_a_password_is_in_no_log_and_no_list_of_processes(source: TokenSource) -> None:
    """A denylist that does not answer is told of without its password."""
    url = f"redis://user:{SECRET}@127.0.0.1:1/0"
    with ForwardAuthService(source.url, url) as running:
        running.process.wait_for_line("(?i)denylist|replica|redis", stream="stderr")
        assert ask("GET", f"{running.url}/readyz").json["replica"] == "not ready"
        command_line = Path(f"/proc/{running.process.pid}/cmdline").read_text()
    assert SECRET not in command_line
    assert SECRET not in running.process.stderr() + running.process.stdout()


# --- stopping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_what_it_has(source: TokenSource, number: signal.Signals) -> None:
    """The request that waits for the issuer gets its answer; then it ends with 0."""
    answers: list[Answer] = []
    source.answers.clear()
    try:
        with (
            ForwardAuthService(source.url, source.denylist_url) as running,
            Line(running.port) as line,
        ):
            url, token = f"http://127.0.0.1:{line.port}/verify", source.token()
            running.process.wait_for_url(f"{running.url}/healthz")
            thread = threading.Thread(target=lambda: answers.append(ask("GET", url, token=token)))
            thread.start()
            for _ in until(10, "a request under way"):
                if line.sent:
                    break
            assert ask("GET", f"{running.url}/healthz").status == 200
            running.process.signal(number)
            for _ in until(10, "a closed door"):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", running.port)):
                        break
            source.answers.set()
            thread.join(30)
            assert running.process.wait() == 0
    finally:
        source.answers.set()
    [answer] = answers
    assert answer.status in {200, 503}


# --- several processes ------------------------------------------------------------------------


def test_workers_share_a_replica_and_end_with_their_supervisor(source: TokenSource) -> None:
    """Whichever is killed, what was revoked stays refused; a stop ends all of them with 0."""
    running = ForwardAuthService(source.url, source.denylist_url, "--workers", "2")
    ended = source.claims()
    good, revoked = source.token(), source.token(sid=ended.sid)
    with running:
        running.wait_ready()
        for _ in until(30, "two workers"):
            if len(workers := children(running.process.pid)) == 2:
                break
        [private] = maps_of(workers)
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        source.revoke(ended)
        for _ in until(30, "the refusal by all"):
            if [running.verify(revoked).status for _ in range(20)] == [401] * 20:
                break
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
            for _ in until(30, "another worker"):
                now = children(running.process.pid)
                if len(now) == 2 and worker not in now:
                    break
            for _ in until(30, "an answer"):
                with contextlib.suppress(OSError):
                    assert running.verify(revoked).status != 200
                    if running.verify(good).status == 200:
                        break
        assert running.process.stop(timeout=30) == 0
        assert not private.exists()


def test_workers_end_with_a_supervisor_that_is_killed(source: TokenSource) -> None:
    """No process, and no copy of the denylist, is left."""
    running = ForwardAuthService(source.url, source.denylist_url, "--workers", "2")
    with running:
        running.wait_ready()
        workers = children(running.process.pid)
        [private] = maps_of(workers)
        os.kill(running.process.pid, signal.SIGKILL)
        for _ in until(30, "the workers' end"):
            if not any(map(command_of, workers)):
                break
    assert not private.exists()


def maps_of(pids: list[int]) -> set[Path]:
    """The directories of the replicas that processes map."""
    lines = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in pids)
    return {Path(found).parent for found in re.findall(r"/\S+/replica", lines)}


def children(pid: int) -> list[int]:
    """A process's children that are servers, not multiprocessing's helper."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in found if "spawn_main" in command_of(int(each))]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


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
        (["--policy", "ajar"], "--policy"),
        (["--workers", "0"], "--workers"),
        (["--max-staleness", "0"], "--max-staleness"),
        (["--max-staleness", "1"], "--max-staleness"),
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


def test_settings_are_variables_too(
    gatepass: Gatepass, source: TokenSource, directory: Path
) -> None:
    """Nothing on the command line is needed; the denylist may stand in a file; one is missing."""
    (directory / "denylist").write_text(f"{source.denylist_url}\n")
    env = {
        "GATEPASS_GATEWAY_ISSUER": source.url,
        "GATEPASS_GATEWAY_AUDIENCE": "api",
        "GATEPASS_GATEWAY_DENYLIST": "",
    }
    missing = gatepass("gateway", env=env).failed(2)
    assert "GATEPASS_GATEWAY_DENYLIST" in missing
    env["GATEPASS_GATEWAY_DENYLIST_FILE"] = str(directory / "denylist")
    with ForwardAuthService(source.url, "", env=env) as running:
        assert running.wait_ready().verify(source.token()).status == 200
