"""A day as the console shows it: events, sizes of the denylist and readings of replicas."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from issuer.audit import Event, EventKind, Outcome
from issuer.audit.chain import ChainKeys
from issuer.audit.log import AuditLog
from issuer.database.tables import accounts, audit_sessions, denylist_sizes, replica_readings
from issuer.replica_reading import Reading
from keys import KeyRing, KeyState, KeyStore, generate
from revocation.latency import Latencies

HOUR = 3600
DAY = 24 * HOUR
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def put_events(engine: sa.Engine, events: list[Event]) -> None:
    """Append events to the log, as an issuer without a secret does."""
    AuditLog(engine, ChainKeys(None, []), lambda event: event).append(
        sorted(events, key=lambda event: event.time)
    )


def put_session(engine: sa.Engine, sub: str, sid: str, now: float, **changes: Any) -> None:
    """Write a session that the log says goes on."""
    values = {
        "sid": sid,
        "sub": sub,
        "client_id": "demo",
        "credential_version": 1,
        "started": int(now) - 2 * HOUR,
        "last_seen": int(now) - 60,
        "ends": int(now) + HOUR,
        "absolute": int(now) + 10 * HOUR,
        "address": "198.51.100.7",
        "user_agent": BROWSER,
        **changes,
    }
    with engine.begin() as connection:
        connection.execute(sa.insert(audit_sessions).values(values))


def put_people(engine: sa.Engine, now: float) -> None:
    """Write accounts that nobody can log in to, and a session of each."""
    names = ("ada", "alan", "amara", "anouk", "arun", "astrid")
    with engine.begin() as connection:
        rows = [
            {
                "id": f"id-of-{name}",
                "username": f"{name}@example.org",
                "password_hash": "",
                "credential_version": 1,
                "sub_ver": 1,
                "enabled": True,
                "roles": [],
                "created": int(now),
            }
            for name in names
        ]
        connection.execute(sa.insert(accounts), rows)
    for number, name in enumerate(names):
        put_session(
            engine,
            f"id-of-{name}",
            f"{name:-<22}",
            now,
            started=int(now) - number * HOUR - 600,
            last_seen=int(now) - number * 90 - 4,
            address=f"198.51.100.{number + 10}",
        )


def a_day(sub: str, now: float, seed: int = 7) -> Iterator[Event]:
    """Events of the last day: quiet, with an attack some hours ago."""
    chance = random.Random(seed)
    for minutes in range(24 * 60):
        at = now - minutes * 60 - 5
        attack = 300 <= minutes < 360
        if attack or chance.random() < 0.03:
            address = f"203.0.113.{chance.randrange(200)}"
            yield Event(
                kind=EventKind.LOGIN,
                outcome=Outcome.FAILURE,
                why="wrong_password",
                time=at,
                address=address,
                request_id=f"request-{minutes}",
                client_id="demo",
            )
            if attack and chance.random() < 0.4:
                yield Event(
                    kind=EventKind.LOGIN_LIMITED, outcome=Outcome.FAILURE, time=at, address=address
                )
        if minutes in {303, 350, 777}:
            details = {"rule": "guessing"}
            yield Event(kind=EventKind.ANOMALY, time=at, sub=sub, actor="issuer", details=details)
        if minutes % 240 == 30:
            yield Event(
                kind=EventKind.LOGIN,
                time=at,
                sub=sub,
                sid=f"{minutes:022}",
                client_id="demo",
                address="198.51.100.7",
                request_id=f"request-of-{minutes}",
            )
            yield Event(
                kind=EventKind.SESSION_STARTED,
                time=at,
                sub=sub,
                sid=f"{minutes:022}",
                client_id="demo",
                address="198.51.100.7",
            )


def put_sizes(engine: sa.Engine, now: float, size: Callable[[float], int]) -> None:
    """Write the denylist's size for each fifth minute of a day; `size` of the hours that passed."""
    first = int(now) - int(now) % 60
    rows = [
        {"minute": first - 60 * minutes, "entries": size(minutes / 60)}
        for minutes in range(2, 24 * 60, 2)  # the present ones are the issuer's
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(denylist_sizes), rows)


def put_readings(engine: sa.Engine, name: str, now: float, seed: int = 3) -> None:
    """Write what a gateway said every four seconds of the last minutes."""
    chance = random.Random(seed)
    latencies, rows = Latencies(), []
    for at in range(int(now) - 330, int(now) - 6, 6):
        for _ in range(chance.randrange(4)):
            latencies.note(0.0015 * 2 ** chance.uniform(0, 4))
        buckets = tuple(
            (None if b == float("inf") else b, count) for b, count in latencies.buckets()
        )
        reading = Reading(chance.uniform(0.3, 0.9), True, 180 + chance.randrange(9), buckets)
        rows.append({"name": name, "at": at * 1000, "reading": reading.to_json()})
    with engine.begin() as connection:
        connection.execute(sa.insert(replica_readings), rows)


def put_keys(store: KeyStore, now: float) -> int:
    """Give a ring a past, and a successor; returns how many keys a JWK set has then."""
    at = int(now)
    signed = replace(
        generate("ES256", at - 30 * DAY - 400),
        state=KeyState.RETIRING,
        activated=at - 30 * DAY,
        demoted=at - 300,
        gone_at=at + HOUR,
        private=None,
    )
    sealed = replace(
        generate("A256GCM", at - 30 * HOUR),
        state=KeyState.RETIRING,
        activated=at - 30 * HOUR,
        demoted=at - 6 * HOUR,
        gone_at=at + 6 * HOUR,
    )
    next_one = generate("ES256", at - 60)
    ring = store.update(lambda ring: KeyRing((signed, sealed, *ring.keys, next_one)))
    return len(ring.jwks()["keys"])
