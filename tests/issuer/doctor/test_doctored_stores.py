"""The doctor's judgement of Redis and of the line to the database, by what real ones say."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from harness.doctored import states
from harness.issuer_app import issuer_settings
from harness.processes import until
from harness.redis_server import RedisServer

from issuer.doctor import Deployment
from issuer.doctor.databases import _line
from issuer.doctor.redis_servers import _of
from issuer.settings import Mode
from revocation.redis_condition import condition_of


@pytest.fixture(scope="module")
def info() -> dict[str, Any]:
    """What a real master with one replica says of itself."""
    with RedisServer(tcp=True, config={"repl-diskless-sync-delay": "0"}) as master:
        copying = {"replicaof": f"127.0.0.1 {master.port}", "appendonly": "no"}
        client: Any = master.client()
        with RedisServer(config={**copying, "shutdown-timeout": "0"}):
            for _ in until(20, "the replica"):
                found: dict[str, Any] = client.info()
                if found.get("slave0", {}).get("state") == "online":
                    break
    return found


def judged(info: dict[str, Any], replicas: int = 1) -> dict[str, str]:
    """What the doctor says of it, by check."""
    found = _of("redis_url", condition_of(info, 0.0, "always"), replicas)
    return {each.check.removeprefix("redis_url:"): str(each.state) for each in found}


WELL = {"version": "ok", "eviction": "ok", "durability": "ok", "replicas": "ok"}


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("redis_version", "7.0.0", {}),
        ("redis_version", "6.2.14", {"version": "fail"}),
        ("aof_last_write_status", "err", {"durability": "fail"}),
        ("aof_last_bgrewrite_status", "err", {"durability": "warn"}),
    ],
)
def test_a_server_that_says_one_thing_else(
    info: dict[str, Any], field: str, value: str, expected: dict[str, str]
) -> None:
    """Too old, or with an append-only file that is not whole; alone."""
    assert field in info
    assert judged(info) == WELL
    assert judged({**info, field: value}) == WELL | expected


@pytest.mark.parametrize(
    ("field", "value", "state"),
    [("lag", 9, "ok"), ("lag", 30, "warn"), ("state", "wait_bgsave", "fail")],
)
def test_a_replica_that_is_silent(
    info: dict[str, Any], field: str, value: object, state: str
) -> None:
    """Not heard of for long; one that copies yet is none."""
    link = {**info["slave0"], field: value}
    assert judged({**info, "slave0": link}) == WELL | {"replicas": state}


@pytest.mark.parametrize(("mode", "state"), [(Mode.DEVELOPMENT, "warn"), (Mode.PRODUCTION, "fail")])
def test_a_database_that_can_be_listened_to(
    postgres_url: str, tmp_path: Any, mode: Mode, state: str
) -> None:
    """A real connection without TLS, to what has another machine's name; over TLS all is well."""
    here = sa.make_url(postgres_url)
    away = here.set(host="db.example").update_query_dict({"hostaddr": str(here.host)})
    for url, expected in ((here, None), (away, state)):
        settings = issuer_settings(f"sqlite:///{tmp_path}/none.db", "memory://none", tmp_path)
        given = {"database_url": url.render_as_string(hide_password=False), "mode": mode}
        deployment = Deployment(settings=settings.model_copy(update=given))
        assert states(deployment, "database").get("database:tls") == expected
    found = _line(encrypted=True, in_production=mode is Mode.PRODUCTION)
    assert (found.check, str(found.state)) == ("database:tls", "ok")
