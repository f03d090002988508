"""Changes of the key ring, found by comparing it with what the log knows of it.

So whoever changed it, a scheduler, a command or a hand that put back an old file, and whenever a
process died: the next look finds the difference.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from keys import KeyRing

from ..database.engine import reading, writing
from ..database.tables import audit_keys
from .event import EventKind
from .outbox import happened, pend

GONE = "gone"
_ALL = sa.select(audit_keys)


class KeyChanges:
    """Tells the log of the ring's changes."""

    def __init__(
        self, engine: sa.Engine, ring: Callable[[], KeyRing], clock: Callable[[], float]
    ) -> None:
        self._engine = engine
        self._ring = ring
        self._clock = clock

    def note(self) -> int:
        """Write down what has changed; returns how many keys. Raises `DatabaseUnavailable`."""
        now = {key.kid: (key.alg, key.state.value) for key in self._ring().keys}
        with reading(self._engine) as connection:
            if _known(connection) == now:
                return 0
        with writing(self._engine) as connection:
            known = _known(connection)
            changed = [kid for kid in {**known, **now} if known.get(kid) != now.get(kid)]
            for kid in changed:
                _, before = known.get(kid, ("", ""))
                alg, state = now.get(kid, (known.get(kid, ("", ""))[0], GONE))
                details = {"kid": kid, "alg": alg, "from": before or None, "to": state}
                event = happened(EventKind.KEY_CHANGED, self._clock(), why=state, details=details)
                pend(connection, event)
                connection.execute(sa.delete(audit_keys).where(audit_keys.c.kid == kid))
                if kid in now:
                    connection.execute(sa.insert(audit_keys).values(kid=kid, alg=alg, state=state))
            return len(changed)


def _known(connection: sa.Connection) -> dict[str, tuple[str, str]]:
    rows = connection.execute(_ALL)
    return {row.kid: (row.alg, row.state) for row in rows}
