"""Relying parties: their settings, their secrets, and whether they are disabled."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping

import sqlalchemy as sa

from revocation import Entry

from .audit.event import EventKind
from .audit.outbox import happened, pend
from .crash_points import CrashPoint, reach
from .database.engine import insert_if_absent, reading, writing
from .database.tables import disabled_clients
from .journal import Reason, append_row
from .parties import LONGEST_SESSION, Client

_IS_DISABLED = sa.select(sa.exists().where(disabled_clients.c.client_id == sa.bindparam("given")))


class Clients:
    """The configured clients, and in SQL those that an operator has disabled."""

    def __init__(
        self, configured: Mapping[str, Client], engine: sa.Engine, clock: Callable[[], float]
    ) -> None:
        self._configured = configured
        self._engine = engine
        self._clock = clock

    def get(self, client_id: str) -> Client | None:
        return self._configured.get(client_id)

    def authenticate(self, client_id: str, secret: str) -> Client | None:
        """The confidential client of this secret, or None.

        The comparison takes the same time for every client and secret (RFC 6749 section 10.10);
        a client's secret is random, so a plain digest of it is enough.
        """
        client = self._configured.get(client_id)
        expected = ""
        if client is not None and client.secret_sha256 is not None:
            expected = client.secret_sha256.get_secret_value()
        given = hashlib.sha256(secret.encode()).hexdigest()
        fits = hmac.compare_digest(given, expected or "0" * 64)
        return client if fits and expected else None

    def is_disabled(self, client_id: str) -> bool:
        with reading(self._engine) as connection:
            return bool(connection.scalar(_IS_DISABLED, {"given": client_id}))

    def disable(self, client_id: str, *, watermark: int, expires: int) -> int:
        """Refuse a client's logins and refreshes; returns the journal row to be pushed.

        `watermark`: its tokens issued, and its sessions begun, at or before that second are
        refused. Works for an audience too, which has no logins of its own.
        """
        now = int(self._clock())
        with writing(self._engine) as connection:
            insert_if_absent(connection, disabled_clients, client_id=client_id, since=now)
            moment = self._clock()
            pend(connection, happened(EventKind.CLIENT_DISABLED, moment, client_id=client_id))
            entry = Entry.client(client_id, watermark, expires)
            # Kept beyond its denylist entry: a session of before must not refresh, also once the
            # client is enabled again.
            kept_until = now + LONGEST_SESSION
            return append_row(
                connection, entry, reason=Reason.CLIENT, now=moment, kept_until=kept_until
            )

    def enable(self, client_id: str) -> bool:
        """Let a disabled client log people in again; False if it was not disabled."""
        with writing(self._engine) as connection:
            result = connection.execute(
                sa.delete(disabled_clients).where(disabled_clients.c.client_id == client_id)
            )
            if result.rowcount:
                event = happened(EventKind.CLIENT_ENABLED, self._clock(), client_id=client_id)
                pend(connection, event)
        reach(CrashPoint.CLIENT_ENABLED)
        return bool(result.rowcount)
