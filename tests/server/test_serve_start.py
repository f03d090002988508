"""What `gatepass serve` refuses to start on, and that it starts in production once all is right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from harness.certificates import make_certificates
from harness.gatepass_command import Completed, Gatepass
from harness.issuer_app import PASSWORD, USERNAME, migrated_sqlite
from harness.redis_server import RedisServer
from harness.served_issuer import SETTINGS_FILE, ServedIssuer

SECRET = "seventeen copper lanterns 904"

Refuses = Callable[..., str]


@pytest.fixture
def issuer(redis_url: str, issuer_directory: Path) -> ServedIssuer:
    """An issuer that would start: on an up-to-date SQLite database."""
    database = migrated_sqlite(issuer_directory / "issuer.db")
    return ServedIssuer(issuer_directory, f"sqlite:///{database}", redis_url)


@pytest.fixture
def serve(issuer: ServedIssuer, gatepass: Gatepass) -> Callable[..., Completed]:
    """Runs `serve` on changed settings, which it must refuse before it begins to serve."""

    def run(**changes: Any) -> Completed:
        issuer.write(**changes)
        env = {"GATEPASS_CONFIG": SETTINGS_FILE}
        return gatepass("serve", env=env, directory=issuer.directory)

    return run


def reasons(done: Completed) -> list[str]:
    """The one line for each reason that a refusal with exit code 2 tells; the log is left out."""
    text = done.failed(2)
    assert "Starting gunicorn" not in text
    return [line for line in text.splitlines() if line.startswith("gatepass: ")]


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"issuer": "ftp://id.example"}, "GATEPASS_ISSUER (issuer)"),
        ({"issuer": "http://id.example/path"}, "GATEPASS_ISSUER (issuer)"),
        ({"mode": "staging"}, "GATEPASS_MODE (mode)"),
        ({"database_url": "mysql://db"}, "GATEPASS_DATABASE_URL (database_url)"),
        ({"redis_url": "http://redis"}, "GATEPASS_REDIS_URL (redis_url)"),
        ({"redis_url": "redis://redis:port/0"}, "GATEPASS_REDIS_URL (redis_url)"),
        ({"redis_url": "redis://redis/0?colour=red"}, "GATEPASS_REDIS_URL (redis_url)"),
        ({"redis_url": "memory://", "workers": 2}, "GATEPASS_WORKERS (workers)"),
        ({"denylist_url": "nowhere"}, "GATEPASS_DENYLIST_URL (denylist_url)"),
        ({"workers": 0}, "GATEPASS_WORKERS (workers)"),
        ({"port": "http"}, "GATEPASS_PORT (port)"),
        ({"leeway": -1}, "GATEPASS_LEEWAY (leeway)"),
        ({"colour": "red"}, "GATEPASS_COLOUR (colour)"),
        ({"algorithms": ["HS256"]}, "GATEPASS_ALGORITHMS (algorithms)"),
        ({"clients": {}}, "GATEPASS_CLIENTS (clients)"),
        ({"issuer": None}, "GATEPASS_ISSUER (issuer)"),
        ({"tls_certificate": "here.pem"}, "GATEPASS_TLS_CERTIFICATE (tls_certificate)"),
        (
            {"tls_certificate": "nowhere.pem", "tls_key": "nowhere.key"},
            "GATEPASS_TLS_CERTIFICATE (tls_certificate)",
        ),
        ({"reset_sender": "no.such:module"}, "GATEPASS_RESET_SENDER (reset_sender)"),
        ({"mode": "production"}, "GATEPASS_KEYS_SECRET (keys_secret)"),
        ({"mode": "production", "keys_secret": "short"}, "GATEPASS_KEYS_SECRET (keys_secret)"),
        ({"mode": "production", "keys_secret": SECRET}, "GATEPASS_ISSUER (issuer)"),
        (
            {"mode": "production", "keys_secret": SECRET, "issuer": "https://id.example"},
            "GATEPASS_TLS_CERTIFICATE (tls_certificate)",
        ),
        (
            {"mode": "production", "redis_url": "memory://", "workers": 1},
            "GATEPASS_REDIS_URL (redis_url)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_setting_is_one_line(
    serve: Callable[..., Completed], changes: dict[str, Any], setting: str
) -> None:
    """A setting that is bad or missing is named in one line, and nothing is served."""
    (line,) = reasons(serve(**changes))
    assert line.startswith(f"gatepass: {setting}")


def test_every_bad_setting_has_a_line(serve: Callable[..., Completed]) -> None:
    """Several bad settings are told at once, one line each, without their values."""
    done = serve(workers=0, port="a secret port", issuer=None, database_url="mysql://u:hidden@db")
    lines = reasons(done)
    named = {line.removeprefix("gatepass: ").partition(" ")[0] for line in lines}
    assert len(lines) == 4
    assert named == {f"GATEPASS_{it}" for it in ("WORKERS", "PORT", "ISSUER", "DATABASE_URL")}
    assert "secret" not in done.err
    assert "hidden" not in done.err


def test_password_in_a_broken_url_is_not_told(serve: Callable[..., Completed]) -> None:
    """A URL that cannot be taken apart is refused without being quoted."""
    done = serve(
        database_url="postgresql+psycopg://gatepass:hidden@db:port/x",
        redis_url="redis://:hidden@redis:port/0",
    )
    assert len(reasons(done)) == 2
    assert "hidden" not in done.err


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_evicting_redis_is_refused(
    serve: Callable[..., Completed], redis_server: RedisServer, policy: str
) -> None:
    """A Redis that may evict keys could forget a revocation: refused, and the mend is named."""
    with redis_server.client() as client:
        client.config_set("maxmemory-policy", policy)
        try:
            (line,) = reasons(serve())
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert line.startswith("gatepass: GATEPASS_REDIS_URL (redis_url)")
    assert policy in line
    assert "noeviction" in line


def test_evicting_redis_of_the_denylist_is_refused(serve: Callable[..., Completed]) -> None:
    """A denylist of its own is held to the same rule."""
    with RedisServer(config={"maxmemory-policy": "allkeys-random"}) as evicting:
        (line,) = reasons(serve(denylist_url=evicting.unix_url))
    assert line.startswith("gatepass: GATEPASS_DENYLIST_URL (denylist_url)")


def test_missing_directory_for_keys_is_told(
    serve: Callable[..., Completed], issuer_directory: Path
) -> None:
    """A key directory that cannot be made is found out before anything is served."""
    place = issuer_directory / "nowhere" / "keys"
    done = serve(keys_dir=str(place))
    assert f"gatepass: {place}: make the directory that holds it first" in done.failed(1)
    assert "Starting gunicorn" not in done.err


def test_unreachable_database_is_told(serve: Callable[..., Completed]) -> None:
    """A database that does not answer is exit code 4: the same command may succeed later."""
    done = serve(database_url="postgresql+psycopg://127.0.0.1:1/gatepass")
    assert "the database does not answer" in done.failed(4)


def test_production_story(issuer_directory: Path, redis_url: str, gatepass: Gatepass) -> None:
    """In production an old schema is refused; migrated, with an account, it serves https.

    Its log is JSON, one object a line, and holds no secret; its keys are encrypted.
    """
    certificates = make_certificates(issuer_directory)
    database = issuer_directory / "issuer.db"
    issuer = ServedIssuer(
        issuer_directory,
        f"sqlite:///{database}",
        redis_url,
        certificates=certificates,
        mode="production",
        keys_secret=SECRET,
    )
    env = {"GATEPASS_CONFIG": SETTINGS_FILE}

    def run(*arguments: str, stdin: str = "") -> Completed:
        return gatepass(*arguments, stdin=stdin, env=env, directory=issuer_directory)

    (line,) = reasons(run("serve"))
    assert "run `gatepass migrate`" in line
    assert "run `gatepass migrate`" in run("users", "list").refused(2)
    run("migrate").done()
    run("users", "add", USERNAME, "--password-stdin", stdin=PASSWORD).done()
    engine = sa.create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        (current,) = connection.execute(sa.text("SELECT version_num FROM schema_version")).one()
        connection.execute(sa.text("UPDATE schema_version SET version_num = '0000'"))
    (line,) = reasons(run("serve"))
    assert "is at 0000" in line
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE formats SET version = 1000, least = 1000"))
    (line,) = reasons(run("serve"))
    assert "belongs to a newer version" in line
    assert "belongs to a newer version" in run("migrate").refused(2)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE formats SET least = 1"))
    run("migrate").done()
    run("users", "list").done()
    with engine.begin() as connection:
        update = sa.text("UPDATE schema_version SET version_num = :current")
        connection.execute(update, {"current": current})
    engine.dispose()
    with issuer:
        granted = issuer.login().granted()
        refreshed = issuer.site.refresh(granted["refresh_token"]).granted()
        assert issuer.process.stop(timeout=30) == 0
    logged = issuer.process.stderr()
    events = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    assert {"session_started", "session_refreshed"} <= {event["event"] for event in events}
    secrets = [PASSWORD, SECRET]
    for answer in (granted, refreshed):
        secrets += [answer["access_token"], answer["refresh_token"]]
    assert not [secret for secret in secrets if secret in logged]
    assert b"private" not in (issuer_directory / "keys" / "keyring.jwe").read_bytes()
    # Without the passphrase nobody opens them.
    issuer.write(keys_secret="another passphrase of some length")
    assert "gatepass: " in run("serve").failed(1)
    shutil.rmtree(issuer_directory / "keys")
