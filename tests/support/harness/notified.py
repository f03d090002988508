"""Short ways to make an issuer in process tell others of an event."""

from __future__ import annotations

from itertools import count
from typing import Any

from harness.issuer_app import IssuerApp

from issuer.audit import Event, EventKind, Recorded

PATIENT, BRIEF = 10.0, 1.0
"""Seconds that an attempt may take: longer than any stall of the machine, or worth waiting for."""
_seq = count(1)


def event(issuer: IssuerApp, kind: EventKind, **fields: Any) -> Event:
    """Something that happened to the issuer's person now."""
    fields.setdefault("sub", issuer.account.id)
    return Event(kind=kind, time=issuer.clock(), **fields)


def tell(issuer: IssuerApp, *events: Event) -> None:
    """Give events to the consumer, as the audit log does."""
    batch = [Recorded(next(_seq), each) for each in events]
    issuer.services.notifications.consumer.consume(batch)


def deliver(issuer: IssuerApp) -> None:
    """One attempt at all that is due, in this thread."""
    worker = issuer.services.notifications.worker
    for target in issuer.services.notifications.queue.due():
        if target in worker._senders:
            worker._rests_until.clear()
            worker.work_off(target)


def states(issuer: IssuerApp) -> list[tuple[str, str, int, str]]:
    """Of each delivery, the oldest first: target, state, attempts, error."""
    rows = issuer.rows("deliveries")
    return [(row["target"], row["state"], row["attempts"], row["error"]) for row in rows]
