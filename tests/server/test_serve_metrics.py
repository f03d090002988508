"""`gatepass serve` counts in all its workers together, through reloads and killed workers."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

from harness.issuer_app import METRICS_TOKEN, migrated_sqlite
from harness.processes import until
from harness.redis_server import RedisServer
from harness.served_issuer import ServedIssuer
from prometheus_client.parser import text_string_to_metric_families

LOGINS = 24
WORKERS = 2


def logins(issuer: ServedIssuer) -> float:
    """How many logins were granted, as any worker tells it."""
    answer = issuer.site.get("/metrics", token=METRICS_TOKEN)
    assert answer.status == 200, answer
    return sum(
        sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
        if sample.name == "gatepass_logins_total" and sample.labels == {"outcome": "granted"}
    )


def workers(issuer: ServedIssuer) -> set[int]:
    return set(issuer.process.members()) - {issuer.process.pid}


def test_workers_count_together(redis_server: RedisServer, issuer_directory: Path) -> None:
    """Whoever is asked tells of all; neither a reload nor a killed worker loses a count."""
    redis_server.reset()
    database = migrated_sqlite(issuer_directory / "issuer.db")
    digest = hashlib.sha256(METRICS_TOKEN.encode()).hexdigest()
    issuer = ServedIssuer(
        issuer_directory,
        f"sqlite:///{database}",
        redis_server.unix_url,
        metrics_token_sha256=digest,
    )
    with issuer:
        issuer.add_account()
        for _ in range(LOGINS):
            issuer.login().granted()
        assert [logins(issuer) for _ in range(8)] == [LOGINS] * 8
        issuer.reload()
        assert [logins(issuer) for _ in range(8)] == [LOGINS] * 8
        for _ in until(20, "the end of the workers from before"):
            if len(before := workers(issuer)) == WORKERS:
                break
        os.kill(min(before), signal.SIGKILL)
        for _ in until(20, "a new worker"):
            if workers(issuer) - before:
                break
        issuer.login().granted()
        for _ in until(10, "all counts"):
            if [logins(issuer) for _ in range(8)] == [LOGINS + 1] * 8:
                break
