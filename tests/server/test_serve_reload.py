"""The real `gatepass serve`: reloading and stopping under load."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg
from harness.certificates import Certificates, make_certificates
from harness.issuer_app import PASSWORD, USERNAME, migrated_sqlite
from harness.postgres_server import PostgresServer
from harness.processes import until
from harness.served_issuer import SETTINGS_FILE, ServedIssuer
from harness.steady_load import Load
from harness.web import connect, read

CLIENTS = 3


@dataclass
class Refresher:
    """A logged-in client that does nothing but refresh, each time with what it got last."""

    token: str

    def ask(self, connection: http.client.HTTPConnection, *, keep_alive: bool) -> tuple[str, bool]:
        """The access token's lifetime, and whether the server closes."""
        body = json.dumps({"refresh_token": self.token}).encode()
        headers = {"Content-Type": "application/json"}
        if not keep_alive:
            headers["Connection"] = "close"
        connection.request("POST", "/refresh", body=body, headers=headers)
        response = connection.getresponse()
        granted = json.loads(response.read())
        assert response.status == 200, granted
        self.token = granted["refresh_token"]
        return f"expires in {granted['expires_in']}", response.will_close


@dataclass
class Watcher:
    """A load balancer that asks whether the issuer is alive."""

    def ask(self, connection: http.client.HTTPConnection, *, keep_alive: bool) -> tuple[str, bool]:
        """The status that was told, and whether the server closes."""
        connection.request("GET", "/healthz", headers={} if keep_alive else {"Connection": "close"})
        response = connection.getresponse()
        told = json.loads(response.read())
        assert response.status == 200, told
        return str(told["status"]), response.will_close


def lifetime(seconds: int) -> dict[str, dict[str, object]]:
    """The clients' setting under which access tokens live for this long."""
    return {"demo": {"audience": "api", "access_lifetime": seconds}}


def test_reload_under_load_takes_new_settings(redis_url: str, issuer_directory: Path) -> None:
    """SIGHUP under steady refreshes and health checks loses none, and changes what is issued.

    A file that does not work is told in the log and changes nothing.
    """
    database = migrated_sqlite(issuer_directory / "issuer.db")
    # More refreshes of a session than any person makes.
    unlimited = {"refreshes_session": ""}
    issuer = ServedIssuer(issuer_directory, f"sqlite:///{database}", redis_url, limits=unlimited)
    issuer.add_account()
    load = Load(partial(connect, issuer.url))
    with issuer:
        clients = [Refresher(issuer.login().granted()["refresh_token"]) for _ in range(CLIENTS)]
        for number, client in enumerate(clients):
            load.start(client, keep_alive=number > 0)
        load.start(Watcher(), keep_alive=False)
        try:
            load.wait_for(lambda answers: answers.keys() == {"expires in 300", "ok"})
            issuer.write(clients=lifetime(120))
            issuer.reload()
            load.wait_for(lambda answers: answers["expires in 120"] > 20)
            (issuer_directory / SETTINGS_FILE).write_text("issuer = nonsense")
            issuer.reload()
            issuer.process.wait_for_line("Reload refused", stream="stderr")
            issuer.write(clients=lifetime(0))
            issuer.reload()
            line = r"GATEPASS_CLIENTS__DEMO__ACCESS_LIFETIME"
            issuer.process.wait_for_line(line, stream="stderr")
            before = load.so_far()
            load.wait_for(lambda answers: answers["expires in 120"] > before["expires in 120"] + 20)
            issuer.write(clients=lifetime(60))
            issuer.reload()
            load.wait_for(lambda answers: answers["expires in 60"] > 20)
        finally:
            load.stop()
    assert not load.lost()
    assert load.answers.keys() == {"ok", *(f"expires in {seconds}" for seconds in (300, 120, 60))}
    assert PASSWORD not in issuer.process.stderr()


def test_a_worker_that_cannot_start_does_not_end_the_others(
    redis_url: str, issuer_directory: Path
) -> None:
    """One that dies while the certificate is being renewed is replaced once both halves fit."""
    database = migrated_sqlite(issuer_directory / "issuer.db")
    made, other = issuer_directory / "made", issuer_directory / "other"
    made.mkdir()
    other.mkdir()
    certificates, wrong = make_certificates(made), make_certificates(other)
    right = certificates.key.read_bytes()
    issuer = ServedIssuer(
        issuer_directory, f"sqlite:///{database}", redis_url, certificates=certificates
    )
    with issuer:
        issuer.add_account()
        for _ in until(30, "two workers that have read the certificate"):
            before = workers(issuer)
            if len(before) == 2 and all(map(has_threads, before)):
                break
        certificates.key.write_bytes(wrong.key.read_bytes())
        os.kill(min(before), signal.SIGKILL)
        issuer.process.wait_for_line("A worker does not start", stream="stderr")
        assert issuer.login().granted()
        certificates.key.write_bytes(right)
        for _ in until(30, "another worker"):
            if len(workers(issuer) - before) == 1 and issuer.started_workers() > 2:
                break
        assert issuer.login().granted()
        assert issuer.process.stop() == 0


def has_threads(pid: int) -> bool:
    """Whether a worker has come as far as its background work, which begins last."""
    return len(list(Path(f"/proc/{pid}/task").iterdir())) > 2


def workers(issuer: ServedIssuer) -> set[int]:
    """The processes of a server but for its supervisor."""
    return set(issuer.process.members()) - {issuer.process.pid}


def test_stop_finishes_a_login_under_way(
    postgres_server: PostgresServer, postgres_url: str, redis_url: str, issuer_directory: Path
) -> None:
    """SIGTERM while a login waits for the database: it is answered, and the exit code is 0."""
    issuer = ServedIssuer(issuer_directory, postgres_url, redis_url)
    with issuer:
        issuer.add_account()
        issuer.login().granted()
        database = postgres_url.rpartition("/")[2]
        with postgres_server.connect(database) as connection:
            lock = psycopg.connect(connection.info.dsn, password=connection.info.password)
            with lock:
                lock.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
                under_way = connect(issuer.url)
                body = {"username": USERNAME, "password": PASSWORD, "transport": "body"}
                headers = {"Content-Type": "application/json"}
                under_way.request("POST", "/login", json.dumps(body).encode(), headers)
                wait_for_waiting_query(connection)
                issuer.process.signal(signal.SIGTERM)
                issuer.process.wait_for_line("Handling signal: term", stream="stderr")
            lock.close()
        assert read(under_way).granted()["access_token"]
        under_way.close()
        assert issuer.process.wait() == 0


def wait_for_waiting_query(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Until some query of this database waits for a lock."""
    for _ in until(30, "a query that waits"):
        waiting = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'accounts'::regclass"
        ).fetchone()
        if waiting != (0,):
            return


def served_certificate(port: int, authority: Path) -> bytes:
    """The certificate that a TLS client is shown, verified against an authority."""
    context = ssl.create_default_context(cafile=str(authority))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        return connection.getpeercert(binary_form=True) or b""


def test_reload_takes_a_new_certificate(redis_url: str, issuer_directory: Path) -> None:
    """SIGHUP serves a renewed certificate; one that does not fit its key is refused, and told."""
    database = migrated_sqlite(issuer_directory / "issuer.db")
    old, new, live = (issuer_directory / name for name in ("old", "new", "live"))
    old.mkdir()
    new.mkdir()
    first, second = make_certificates(old), make_certificates(new)
    shutil.copytree(old, live)
    issuer = ServedIssuer(
        issuer_directory,
        f"sqlite:///{database}",
        redis_url,
        certificates=Certificates(
            first.authority, live / first.certificate.name, live / first.key.name
        ),
        workers=1,  # another might still be starting when the certificate changes
    )
    with issuer:
        before = served_certificate(issuer.port, first.authority)
        shutil.copy(second.certificate, live)
        issuer.reload()
        issuer.process.wait_for_line("Reload refused", stream="stderr")
        assert served_certificate(issuer.port, first.authority) == before
        shutil.copy(second.key, live)
        issuer.reload()
        for _ in until(30, "the new certificate"):
            try:
                after = served_certificate(issuer.port, second.authority)
            except ssl.SSLCertVerificationError:
                continue
            break
    assert after != before
