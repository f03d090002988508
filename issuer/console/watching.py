"""Keeps what the console draws over time: the denylist's size, and readings of replicas.

One row a minute, and one for each gateway twice a minute, by whichever issuer comes first; while
somebody looks at the gateways, they are read every other second. Nothing that decides waits for it.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa
import structlog

from revocation.deadline import beside

from ..database import DatabaseUnavailable
from ..database.engine import insert_if_absent, reading, writing
from ..database.tables import denylist_sizes, journal, replica_readings
from ..replica_reading import NotReached, Reading
from .gateway_metrics import fetch_reading
from .settings import ConsoleSettings

log = structlog.get_logger("gatepass.issuer")

INTERVAL = 30.0
"""Seconds between two readings while nobody looks."""
LIVE_INTERVAL = 2.0
"""And while somebody does."""
KEEP_READINGS = 3600
KEEP_SIZES = 7 * 86_400
PATIENCE = 2.0
"""Seconds for which a page waits for all gateways together."""

Read = Callable[[], Reading]
"""Raises `NotReached`."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A reading and when it was made, seconds since the epoch; None where nobody answered."""

    at: float
    reading: Reading | None


class Watch:
    """Reads gateways and the denylist's size, and remembers both in SQL."""

    def __init__(
        self, settings: ConsoleSettings, engine: sa.Engine, clock: Callable[[], float]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._readers: dict[str, Read] = {
            name: partial(fetch_reading, gateway) for name, gateway in settings.gateways.items()
        }
        self._late: dict[str, Future[Reading | None]] = {}
        self._looking = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, name: str, read: Read) -> None:
        """Watch a replica of this process, too."""
        self._readers[name] = read

    @property
    def names(self) -> list[str]:
        return sorted(self._readers)

    # --- in the background -------------------------------------------------------------------

    def start(self) -> None:
        """Note from a background thread. Threads do not survive a fork: start in the worker."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="gatepass-console", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None

    def _run(self) -> None:
        failing = False
        while not self._stopping.is_set():
            try:
                self.note()
                failing = False
            except DatabaseUnavailable as error:
                if not failing:
                    log.warning("console_failing", error=str(error))
                failing = True
            except Exception:
                log.exception("console_failed")
            self._stopping.wait(INTERVAL)

    def note(self) -> None:
        """Note what is due, and drop what is too old. Raises `DatabaseUnavailable`."""
        self._note_size()
        self.look(INTERVAL)
        now = self._clock()
        with writing(self._engine) as connection:
            connection.execute(
                sa.delete(denylist_sizes).where(denylist_sizes.c.minute < now - KEEP_SIZES)
            )
            connection.execute(
                sa.delete(replica_readings).where(
                    replica_readings.c.at < (now - KEEP_READINGS) * 1000
                )
            )

    def _note_size(self) -> None:
        now = int(self._clock())
        minute = now - now % 60
        with reading(self._engine) as connection:
            known = sa.exists().where(denylist_sizes.c.minute == minute)
            if connection.scalar(sa.select(known)):
                return
            in_force = sa.select(sa.func.count()).where(journal.c.expires > now)
            entries = connection.scalar(in_force) or 0
        with writing(self._engine) as connection:
            insert_if_absent(connection, denylist_sizes, minute=minute, entries=entries)

    def look(self, interval: float = LIVE_INTERVAL) -> None:
        """Read every gateway, unless somebody has less than so many seconds ago."""
        with self._looking:
            now = self._clock()
            latest = sa.select(sa.func.max(replica_readings.c.at))
            with reading(self._engine) as connection:
                at = connection.scalar(latest)
            # Whoever comes at the same pace must not find it a moment too early each time.
            if not self._readers or (at is not None and 0 <= now - at / 1000 < interval * 0.75):
                return
            found = self._read_all()
            with writing(self._engine) as connection:
                for name, made in found.items():
                    insert_if_absent(
                        connection,
                        replica_readings,
                        name=name,
                        at=int(now * 1000),
                        reading=None if made is None else made.to_json(),
                    )

    def _read_all(self) -> dict[str, Reading | None]:
        """Of each gateway; None where it does not answer, or not in time."""
        # Looking up a name can take as long as it likes: who is late is not asked a second time.
        asked = {
            name: self._ask(name)
            for name in self.names
            if name not in self._late or self._late[name].done()
        }
        wait(asked.values(), PATIENCE)
        for name, future in asked.items():
            if not future.done():
                log.info("gateway_not_read", gateway=name, error="it does not answer in time")
        self._late = {
            name: future for name, future in {**self._late, **asked}.items() if not future.done()
        }
        return {
            name: asked[name].result() if name in asked and name not in self._late else None
            for name in self.names
        }

    def _ask(self, name: str) -> Future[Reading | None]:
        return beside(partial(self._read, name), f"gatepass-console-{name}")

    def _read(self, name: str) -> Reading | None:
        try:
            return self._readers[name]()
        except NotReached as error:
            log.info("gateway_not_read", gateway=name, error=str(error))
            return None

    # --- what is known -----------------------------------------------------------------------

    def readings(self, since: float) -> Mapping[str, list[Noted]]:
        """By gateway, oldest first; none that a clock dates later than now, which is set right."""
        query = (
            sa.select(replica_readings)
            .where(replica_readings.c.at.between(int(since * 1000), int(self._clock() * 1000)))
            .order_by(replica_readings.c.at)
        )
        found: dict[str, list[Noted]] = defaultdict(list)
        with reading(self._engine) as connection:
            for row in connection.execute(query):
                made = None if row.reading is None else Reading.from_json(row.reading)
                found[row.name].append(Noted(row.at / 1000, made))
        return found

    def sizes(self, since: float) -> list[tuple[int, int]]:
        """Minute and size of the denylist, oldest first; likewise."""
        query = (
            sa.select(denylist_sizes)
            .where(denylist_sizes.c.minute.between(int(since), int(self._clock())))
            .order_by(denylist_sizes.c.minute)
        )
        with reading(self._engine) as connection:
            return [(row.minute, row.entries) for row in connection.execute(query)]
