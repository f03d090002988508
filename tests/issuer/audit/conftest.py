"""A log on each database, and events to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from issuer.audit import Event, EventKind
from issuer.audit.addresses import treatment
from issuer.audit.chain import ChainKeys
from issuer.audit.log import AuditLog
from issuer.database import migrate, open_engine

SECRET = "zinc ferry 20 plover anvil"
NOW = 1_800_000_000.0


@pytest.fixture(params=["sqlite", "postgresql"])
def audit_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty database with its tables."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'audit.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    engine = open_engine(url)
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def keys() -> ChainKeys:
    """Those of a secret."""
    return ChainKeys(SECRET)


@pytest.fixture
def log(audit_engine: sa.Engine, keys: ChainKeys) -> AuditLog:
    """A log that keeps all of an address."""
    return AuditLog(audit_engine, keys, treatment("full", keys.current))


@pytest.fixture
def some_events() -> Callable[..., list[Event]]:
    """Makes events, one a second, by turns of two people."""

    def make(number: int, *, kind: EventKind = EventKind.LOGIN, **fields: object) -> list[Event]:
        return [
            Event(
                kind=kind,
                time=NOW + second,
                **{"sub": f"person-{second % 2}", "address": "192.0.2.7", **fields},  # type: ignore[arg-type]
            )
            for second in range(number)
        ]

    return make
