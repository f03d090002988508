"""What is done about an alarm. All of it may be done again.

An alarm goes into the audit log last, when what it tells of has been done; the log takes an event
of one id once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import sqlalchemy as sa
import structlog

from ..audit import Event, Origin, coming_from
from ..database.engine import insert_if_absent, writing
from ..database.tables import reauthentications
from ..journal import Reason
from ..limits.guard import Guard
from ..parties import LONGEST_SESSION
from ..revoker import Revoker
from .alarm import ACTOR, Alarm
from .rules import Scope
from .settings import AnomalySettings, Response

log = structlog.get_logger("gatepass.issuer")


class _Account(Protocol):
    @property
    def username(self) -> str: ...


class Responder:
    """Responds as the settings say."""

    def __init__(
        self,
        settings: AnomalySettings,
        engine: sa.Engine,
        revoker: Revoker,
        guard: Guard,
        account_of: Callable[[str], _Account | None],
        record: Callable[[sa.Connection, Event], None],
        clock: Callable[[], float],
    ) -> None:
        """`record` writes an event down within a transaction."""
        self._settings = settings
        self._engine = engine
        self._revoker = revoker
        self._guard = guard
        self._account_of = account_of
        self._record = record
        self._clock = clock

    def __call__(self, alarms: Sequence[Alarm]) -> None:
        """Raises `DatabaseUnavailable`, `DenylistUnavailable`, `FamilyUnavailable`."""
        with coming_from(Origin(actor=ACTOR)):
            for alarm in alarms:
                self._respond(alarm, self._settings.of(alarm.rule).respond)

    def _respond(self, alarm: Alarm, responses: tuple[Response, ...]) -> None:
        cause, sid = alarm.cause, alarm.sid
        if Response.END_SESSION in responses and sid is not None:
            self._revoker.end_session(cause.sub, sid, reason=Reason.ANOMALY)
        if Response.BLOCK in responses:
            self._block(alarm)
        with writing(self._engine) as connection:
            if Response.REAUTHENTICATE in responses and sid is not None:
                self._demand(connection, alarm, sid)
            self._record(connection, alarm.event(responses))
        log.warning("anomaly", rule=alarm.rule, sub=cause.sub, sid=sid, seq=alarm.seq)

    def _demand(self, connection: sa.Connection, alarm: Alarm, sid: str) -> None:
        now = int(self._clock())
        connection.execute(
            sa.delete(reauthentications).where(reauthentications.c.kept_until <= now)
        )
        insert_if_absent(
            connection,
            reauthentications,
            sid=sid,
            sub=alarm.cause.sub or "",
            rule=alarm.rule,
            since=now,
            kept_until=now + LONGEST_SESSION,
        )

    def _block(self, alarm: Alarm) -> None:
        """An account for strangers; the network where it is about many accounts.

        Where the log keeps no addresses nothing is blocked.
        """
        if alarm.about_accounts:
            # What comes from everywhere has no network that is to blame.
            if alarm.scope is Scope.NETWORK:
                self._guard.block_network(alarm.cause.address.partition("/")[0])
            return
        account = self._account_of(alarm.cause.sub) if alarm.cause.sub else None
        if account is not None:
            self._guard.block_account(account.username)
