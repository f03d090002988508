"""Anomaly detection within an issuer: the one place that knows its other parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from ..accounts import SqlAccounts
from ..audit.outbox import pend
from ..audit.trail import Audit
from ..limits.opening import Limits
from ..revoker import Revoker
from ..settings import Settings, SettingsError, variable
from .alarm import Alarm
from .opening import NoDatabase, open_detector, open_states
from .responses import Responder
from .states import States


def follow(
    settings: Settings,
    engine: sa.Engine,
    audit: Audit,
    accounts: SqlAccounts,
    limits: Limits,
    revoker: Revoker,
    clock: Callable[[], float],
) -> States:
    """Let the detector follow the log; returns what must be closed. Raises `SettingsError`."""
    states = open_states(settings.redis_url, namespace=settings.namespace)
    responder = Responder(
        settings.anomalies, engine, revoker, limits.passwords, accounts.by_id, pend, clock
    )

    def respond(alarms: Sequence[Alarm]) -> None:
        responder(alarms)
        audit.wake()

    try:
        detector = open_detector(settings.anomalies, states, limits.digests.of, respond)
    except NoDatabase as error:
        name = "anomalies.impossible_travel.database"
        raise SettingsError(f"{variable(name)} ({name}): {error}") from None
    if settings.anomalies.on:
        audit.follow(detector)
    return states
