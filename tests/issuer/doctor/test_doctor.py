"""The doctor finds what is wrong with settings, clocks, TLS, keys and databases, on real ones."""

from __future__ import annotations

import datetime
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from harness import stacks
from harness.certificates import make_certificates
from harness.doctored import found, stand_in, states
from harness.issuer_app import IssuerApp, issuer_settings
from harness.redis_server import RedisServer

from issuer.database import open_engine
from issuer.database.tables import audit_log, journal
from issuer.doctor import Deployment, examine
from issuer.doctor.databases import _sqlite
from issuer.settings import Mode, Settings

SECRET = "at-least-22-random-characters"
DAY = 86_400


@pytest.fixture
def sqlite_settings(_sqlite_template: Path, tmp_path: Path) -> Settings:
    """Settings with a database of the test's own, and nothing else running."""
    shutil.copy(_sqlite_template, tmp_path / "issuer.db")
    (tmp_path / "issuer.db").chmod(0o600)
    return issuer_settings(f"sqlite:///{tmp_path}/issuer.db", "memory://doctor", tmp_path)


def changed(settings: Settings, **changes: Any) -> Settings:
    """The same settings but for these."""
    return settings.model_copy(update=changes)


# --- settings -----------------------------------------------------------------------------------


def test_settings_that_weaken_are_told(sqlite_settings: Settings) -> None:
    """Development mode, addresses that nobody knows, metrics that nobody may fetch."""
    assert states(Deployment(settings=sqlite_settings), "settings") == {"mode": "warn"}
    weak = changed(sqlite_settings, behind_tls_proxy=True, metrics_token_sha256=None)
    assert states(Deployment(settings=weak), "settings") == {
        "mode": "warn",
        "addresses": "warn",
        "metrics": "warn",
    }


@pytest.mark.parametrize(
    ("mode", "state"), [(0o600, "ok"), (0o640, "ok"), (0o644, "warn"), (0o660, "fail")]
)
def test_a_settings_file_that_others_reach(
    sqlite_settings: Settings, tmp_path: Path, mode: int, state: str
) -> None:
    """Reading shows secrets, writing chooses them."""
    path = tmp_path / "gatepass.toml"
    path.touch()
    path.chmod(mode)
    deployment = Deployment(settings=sqlite_settings, files=(path,))
    assert states(deployment, "files") == {"settings-file": state}


# --- clocks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ahead", "state"), [(0, "ok"), (-4, "warn"), (30, "fail")])
def test_an_issuer_whose_clock_is_wrong(
    sqlite_settings: Settings, ahead: float, state: str
) -> None:
    """By its `Date`: beyond `issuer_skew` entries expire before what they are for."""
    with stand_in(ahead=ahead) as url:
        deployment = Deployment(settings=sqlite_settings, issuer_url=url)
        finding = found(deployment, "clocks")["clocks"]
    assert str(finding.state) == state, finding
    assert "the issuer" in finding.what


def test_a_host_whose_clock_is_wrong(
    sqlite_settings: Settings, redis_url: str, postgres_url: str
) -> None:
    """Against Redis' and PostgreSQL's own, each by itself."""
    on_redis = changed(sqlite_settings, redis_url=redis_url)
    on_both = changed(on_redis, database_url=postgres_url)
    nobody = "http://127.0.0.1:1"
    for settings, name in ((on_redis, "the Redis of redis_url"), (on_both, "the database")):
        right = Deployment(settings=settings, issuer_url=nobody)
        assert states(right, "clocks") == {"clocks": "ok"}
        wrong = Deployment(settings=settings, issuer_url=nobody, clock=lambda: time.time() + 20)
        finding = found(wrong, "clocks")["clocks"]
        assert str(finding.state) == "fail"
        assert f"{name} -20.0 s" in finding.what or f"{name} -19.9 s" in finding.what
    alone = Deployment(settings=sqlite_settings, issuer_url=nobody)
    assert states(alone, "clocks") == {"clocks": "unknown"}


# --- the issuer and its certificate -------------------------------------------------------------


def test_an_issuer_that_is_not_ready(sqlite_settings: Settings) -> None:
    """What it says of itself is told; one that does not answer is unknown, not wrong."""
    with stand_in(ready=503) as url:
        finding = found(Deployment(settings=sqlite_settings, issuer_url=url), "tls")["issuer"]
    assert str(finding.state) == "fail"
    assert '"database": "failing"' in finding.what
    away = Deployment(settings=sqlite_settings, issuer_url="http://127.0.0.1:1")
    assert states(away, "tls") == {"issuer": "unknown"}


@pytest.mark.parametrize(("days", "state"), [(90, "ok"), (14, "warn"), (3, "fail"), (-1, "fail")])
def test_a_certificate_that_is_nearly_over(
    sqlite_settings: Settings, tmp_path: Path, days: int, state: str
) -> None:
    """As it is served, and as it lies in the file for the next reload."""
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days, hours=1)
    made = make_certificates(tmp_path, end)
    settings = changed(sqlite_settings, tls_certificate=made.certificate, tls_key=made.key)
    with stand_in(certificates=made) as url:
        deployment = Deployment(settings=settings, issuer_url=url, cafile=made.authority)
        assert states(deployment, "tls")["certificate"] == state
        assert states(deployment, "tls-files") == {"tls-files": state}
        stranger = Deployment(settings=settings, issuer_url=url)
        assert states(stranger, "tls") == {"certificate": "fail"}
    made.key.chmod(0o644)
    assert states(deployment, "tls-files")["tls-key"] == "fail"
    made.certificate.write_text("half of it")
    assert states(deployment, "tls-files") == {"tls-files": "fail"}


# --- keys ---------------------------------------------------------------------------------------


@stacks.anywhere
def test_a_ring_is_judged(issuer: IssuerApp) -> None:
    """In the clear, with steps that nobody takes, open to others, empty, unreadable."""
    settings = issuer.services.settings
    assert settings.keys_dir is not None
    deployment = Deployment(settings=settings)
    assert states(deployment, "keys") == {"ring-protection": "warn", "ring": "ok", "rotation": "ok"}
    later = Deployment(settings=settings, clock=lambda: time.time() + 40 * DAY)
    assert states(later, "keys")["rotation"] == "fail"
    settings.keys_dir.chmod(0o755)
    assert states(deployment, "keys") == {"ring-protection": "fail"}
    settings.keys_dir.chmod(0o700)
    (settings.keys_dir / "keyring.jwe").write_text("nonsense")
    assert states(deployment, "keys") == {"ring": "fail"}
    (settings.keys_dir / "keyring.jwe").unlink()
    assert states(deployment, "keys")["ring"] == "fail"


# --- the database -------------------------------------------------------------------------------


def test_a_database_that_is_not_there(sqlite_settings: Settings, tmp_path: Path) -> None:
    """It is told, and not made."""
    missing = tmp_path / "elsewhere.db"
    settings = changed(sqlite_settings, database_url=f"sqlite:///{missing}")
    deployment = Deployment(settings=settings)
    assert states(deployment, "schema", "database", "journal") == {
        "database": "unknown",
        "journal": "unknown",
    } | {"database": "fail"}
    assert not missing.exists()
    away = changed(settings, database_url="postgresql+psycopg://nobody@127.0.0.1:1/none")
    assert states(Deployment(settings=away), "schema") == {"database": "fail"}


def test_a_schema_of_another_time(sqlite_settings: Settings, tmp_path: Path) -> None:
    """An empty database needs `gatepass migrate`."""
    assert states(Deployment(settings=sqlite_settings), "schema") == {"schema": "ok"}
    (tmp_path / "empty.db").touch()
    empty = changed(sqlite_settings, database_url=f"sqlite:///{tmp_path}/empty.db")
    finding = found(Deployment(settings=empty), "schema")["schema"]
    assert (str(finding.state), finding.todo) == ("fail", "gatepass migrate")


def test_a_sqlite_file_for_everybody(sqlite_settings: Settings, tmp_path: Path) -> None:
    """Its password hashes are for the issuer alone."""
    deployment = Deployment(settings=sqlite_settings)
    tmp_path.chmod(0o755)
    assert states(deployment, "database-file", "database") == {
        "database-file": "ok",
        "durability": "ok",
    }
    (tmp_path / "issuer.db").chmod(0o644)
    assert states(deployment, "database-file") == {"database-file": "fail"}
    assert str(_sqlite("delete", 2).state) == str(_sqlite("wal", 1).state) == "fail"


def test_a_postgresql_that_forgets(sqlite_settings: Settings, postgres_url: str) -> None:
    """Commits that are acknowledged before they are on disk, for this database or for all."""
    deployment = Deployment(settings=changed(sqlite_settings, database_url=postgres_url))
    finding = found(deployment, "database")["durability"]
    # The tests' own server spares the disk.
    assert (str(finding.state), finding.what) == ("fail", "fsync is off")
    name = sa.make_url(postgres_url).database
    plain = postgres_url.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off'.encode())
    finding = found(deployment, "database")["durability"]
    assert "synchronous_commit is off" in finding.what
    assert "ALTER SYSTEM SET synchronous_commit = on" in finding.todo


def test_revocations_that_wait_are_told(sqlite_settings: Settings) -> None:
    """What is younger than a minute is under way."""
    deployment = Deployment(settings=sqlite_settings)
    assert states(deployment, "journal") == {"journal": "ok"}
    now = int(time.time())
    row = {"kind": "session", "value": "x", "level": 0, "reason": "logout", "done": False}
    row |= {"expires": now + 300, "kept_until": now + 300}
    engine = open_engine(sqlite_settings.database_url)
    for age, state in ((10, "ok"), (90, "fail")):
        with engine.begin() as connection:
            connection.execute(sa.insert(journal).values(**row, created=now - age))
        assert states(deployment, "journal") == {"journal": state}
    engine.dispose()


def test_an_audit_log_that_was_changed_is_told(
    make_issuer: Callable[..., IssuerApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole chain is gone over, where it is not too long; one without a key proves little."""
    issuer = make_issuer(audit={"secret": SECRET})
    issuer.grant()
    issuer.services.audit.flush()
    deployment = Deployment(settings=issuer.services.settings)
    assert states(deployment, "audit-log") == {"audit-log": "ok"}
    with monkeypatch.context() as patch:
        patch.setattr("issuer.doctor.audit_log.MOST", 1)
        assert states(deployment, "audit-log") == {"audit-log": "unknown"}
    with issuer.services.engine.begin() as connection:
        body = sa.func.replace(audit_log.c.body, "success", "failure")
        connection.execute(sa.update(audit_log).values(body=body))
    told = found(deployment, "audit-log")["audit-log"]
    assert str(told.state) == "fail"
    assert "was altered" in told.what


@pytest.mark.parametrize(("mode", "state"), [(Mode.DEVELOPMENT, "warn"), (Mode.PRODUCTION, "fail")])
def test_an_audit_log_without_a_key(sqlite_settings: Settings, mode: Mode, state: str) -> None:
    """Whoever writes to the database can make one like it."""
    deployment = Deployment(settings=changed(sqlite_settings, mode=mode))
    assert states(deployment, "audit-log") == {"audit-log": state}


# --- Redis --------------------------------------------------------------------------------------


def on(settings: Settings, url: str, **changes: Any) -> Deployment:
    """A deployment on this Redis."""
    return Deployment(settings=changed(settings, redis_url=url, **changes))


def test_a_redis_that_keeps_what_it_takes(sqlite_settings: Settings, redis_url: str) -> None:
    """All is well with the one that the documentation asks for."""
    assert states(on(sqlite_settings, redis_url), "redis", "redis-line") == {
        "redis_url:version": "ok",
        "redis_url:eviction": "ok",
        "redis_url:durability": "ok",
    }


@pytest.mark.parametrize(
    ("name", "value", "check", "state"),
    [
        ("maxmemory-policy", "allkeys-lru", "eviction", "fail"),
        ("appendonly", "no", "durability", "fail"),
        ("appendfsync", "everysec", "durability", "warn"),
        ("maxmemory", "1200000", "memory", "warn"),
    ],
)
def test_a_redis_with_one_thing_wrong(
    sqlite_settings: Settings,
    ill_redis: RedisServer,
    name: str,
    value: str,
    check: str,
    state: str,
) -> None:
    """Each of them is found, alone."""
    client = ill_redis.client()
    before = client.config_get(name)[name]
    try:
        client.config_set(name, value)
        told = states(on(sqlite_settings, ill_redis.unix_url), "redis")
    finally:
        client.config_set(name, before)
    assert told.pop(f"redis_url:{check}") == state
    assert set(told.values()) == {"ok"}


@pytest.fixture(scope="module")
def ill_redis() -> Any:
    """A Redis whose configuration tests change and put back."""
    with RedisServer(tcp=True) as server:
        yield server


def test_what_an_account_may_not_see_is_unknown(
    sqlite_settings: Settings, ill_redis: RedisServer
) -> None:
    """An issuer's own account may not read the configuration, and passwords stay unsaid."""
    password = "word-not-to-be-seen"
    acl = f">{password} -@all +info +time"
    ill_redis.client().execute_command("ACL", "SETUSER", "least", "on", *acl.split())
    url = ill_redis.tcp_url.replace("//", f"//least:{password}@")
    told = found(on(sqlite_settings, url), "redis")
    assert str(told["redis_url:durability"].state) == "unknown"
    away = on(sqlite_settings, f"redis://x:{password}@127.0.0.1:1/0")
    told |= found(away, "redis")
    assert str(told["redis_url"].state) == "fail"
    assert password not in str(told)


def test_replicas_that_are_missing(sqlite_settings: Settings, ill_redis: RedisServer) -> None:
    """No revocation is acknowledged without them."""
    told = states(on(sqlite_settings, ill_redis.unix_url, redis_replicas=1), "redis")
    assert told["redis_url:replicas"] == "fail"


@pytest.mark.parametrize(
    ("url", "states_of"),
    [
        ("redis://redis.example:6379/0", {"redis_url:tls": "warn"}),
        ("rediss://redis.example:6379/0", {"redis_url:tls": "ok"}),
        ("redis+sentinel://u:p@127.0.0.1:1,redis.example:1/m", {"redis_url:tls": "warn"}),
        ("redis://127.0.0.1:6379/0", {}),
        ("redis://[::1]:6379/0", {}),
        ("unix:///run/redis.sock", {}),
    ],
)
def test_a_line_that_can_be_listened_to(
    sqlite_settings: Settings, url: str, states_of: dict[str, str]
) -> None:
    """Beyond this machine without TLS; in production that has failed."""
    assert states(on(sqlite_settings, url), "redis-line") == states_of
    strict = on(sqlite_settings, url, mode=Mode.PRODUCTION)
    expected = {name: "fail" if state == "warn" else state for name, state in states_of.items()}
    assert states(strict, "redis-line") == expected


# --- the examination itself ---------------------------------------------------------------------


def test_a_check_that_breaks_hides_no_other(sqlite_settings: Settings) -> None:
    """It is told as unknown, without the error's text."""

    def broken(_deployment: Deployment) -> Any:
        raise RuntimeError(SECRET)

    checks: tuple[tuple[str, Callable[[Deployment], Any]], ...] = (
        ("broken", broken),
        ("files", lambda _: ()),
    )
    (finding,) = examine(Deployment(settings=sqlite_settings), checks)
    assert (finding.check, str(finding.state)) == ("broken", "unknown")
    assert SECRET not in str(finding)
