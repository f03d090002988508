"""Keeps a copy of the denylist in step with it, and knows how old the copy is."""

from __future__ import annotations

import logging
import operator
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain as chained
from itertools import islice

from .copy import Sink
from .denylist import Denylist
from .entry import Kind, Record, unpack
from .errors import DenylistLost, DenylistNotReady, FeedGap, ReplicaFull, RevocationError
from .feed import FeedItem, Position, next_chain
from .jitter import jittered
from .latency import Latencies

log = logging.getLogger("gatepass.revocation")

DEFAULT_MAX_STALENESS = 5.0
DEFAULT_HEARTBEAT_INTERVAL = 1.0
_SWEEP_INTERVAL = 30.0
_SWEEP_PAUSE = 0.05
"""Seconds for which the feed is waited for while a sweep is not at its end."""
_PUT_BACK = 5.0
"""Seconds by which the store's clock may go back, as from one server to another, unnoticed."""
BETWEEN_READS = 0.004
"""Seconds from one read of the feed to the next, at the least: of hundreds of revocations a second
several are read at once, which costs a host of many gateways half as much."""
_FIRST_BACKOFF = 0.05
_MAX_BACKOFF = 2.0
_FULL_BACKOFF = 10.0
"""Reading all of it again is no small thing, and room comes with time alone."""


suspension_aware_clock: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Seconds on a clock that nobody sets and that goes on while the machine is suspended."""


def require_two_heartbeats(max_staleness: float, heartbeat_interval: float) -> None:
    """Raises `ValueError` where ordinary jitter would make a copy too old, or nothing would."""
    if not 0 < 2 * heartbeat_interval <= max_staleness < float("inf"):
        raise ValueError("max_staleness is two heartbeat intervals at the least, and finite")


class Follower:
    """Follows a denylist: its snapshot first, then its feed, into a sink."""

    def __init__(
        self,
        denylist: Denylist,
        sink: Sink,
        *,
        max_staleness: float = DEFAULT_MAX_STALENESS,
        heartbeat_interval: float = DEFAULT_HEARTBEAT_INTERVAL,
        between_reads: float = BETWEEN_READS,
        clock: Callable[[], float] = suspension_aware_clock,
        wall_clock: Callable[[], float] = time.time,
        resume: Position | None = None,
        swept: float = 0.0,
        reach: Callable[[Position], None] | None = None,
    ) -> None:
        """`max_staleness` and `heartbeat_interval` in seconds; the latter is the issuer's.

        `between_reads`, in seconds, is a pause for a sink to which each merge is a long way.
        `clock` measures staleness, `wall_clock` tells which entries have expired. Where the sink
        holds all up to `resume` already, no snapshot is needed; `swept` is up to when it has let go
        of what was over. `reach` is told, now and then, of a
        position up to which all has been merged. Raises `ValueError` where `max_staleness` is less
        than two heartbeat intervals.
        """
        require_two_heartbeats(max_staleness, heartbeat_interval)
        self._denylist = denylist
        self._sink = sink
        self._max_staleness = max_staleness
        self._heartbeat_interval = heartbeat_interval
        self._between_reads = between_reads
        self._clock = clock
        self._wall_clock = wall_clock
        self._fresh_at: float | None = None
        self._position: Position | None = resume
        self._furthest: Position | None = resume
        self._reach = reach
        self._marks: list[tuple[float, int]] = []
        """When the end of the feed was asked for, and what it was: the last, and the one before."""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._store_time = 0.0
        self._next_sweep = 0.0
        self._swept = swept
        self._is_sweeping = False
        self._has_loaded = False
        """Whether nobody has vouched yet for the snapshot that was read last."""
        self.latencies = Latencies()
        """From the store, by its clock, to the sink, by this host's."""

    @property
    def position(self) -> Position | None:
        """How far it has come in the feed; None while it needs a snapshot."""
        return self._position

    @property
    def furthest(self) -> Position | None:
        """The last place of the feed that was vouched for."""
        return self._furthest

    def staleness(self) -> float:
        """Seconds by which this copy may lag behind the denylist, at most; infinite if unknown."""
        fresh_at = self._fresh_at
        if fresh_at is None:
            return float("inf")
        return self._clock() - fresh_at + self._heartbeat_interval

    def start(self) -> None:
        """Follow the denylist from a background thread of this process."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="gatepass-replica", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following; the copy stays and ages."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None

    def forget(self) -> None:
        """In a child after a fork: the thread is the parent's, and may have been anywhere.

        What it has put into its sink stays, as old as it is; a snapshot is read anew.
        """
        self._thread = None
        self._position = None
        self._marks = []

    def _follow(self) -> None:
        backoff = _FIRST_BACKOFF
        # What went wrong since it last followed: each is told once, however long it lasts.
        told = set[str]()
        while not self._stopping.is_set():
            begun = self._clock()
            try:
                self.step(block=self._heartbeat_interval)
                backoff = _FIRST_BACKOFF
                if told:
                    log.info("the replica follows again")
                    told.clear()
                left = begun + self._between_reads - self._clock()
                if left > 0:
                    self._stopping.wait(min(left, self._between_reads))
            except RevocationError as error:
                why = (
                    "the denylist has no epoch; waiting for an issuer, unless this is not the"
                    " Redis, the DB or the namespace that it uses"
                    if isinstance(error, DenylistLost)
                    else f"the replica cannot follow: {error}"
                )
                if why not in told:
                    log.warning("%s", why)
                told.add(why)
                backoff = self._pause(
                    backoff, _FULL_BACKOFF if isinstance(error, ReplicaFull) else 0
                )
            except Exception:
                # The thread must outlive every surprise; staleness shows that it is not in step.
                log.exception("the replica failed; it starts again from a snapshot")
                self._position = None
                backoff = self._pause(backoff)

    def _pause(self, backoff: float, least: float = 0.0) -> float:
        # Jitter keeps a thousand gateways from coming back in one moment.
        self._stopping.wait(jittered(max(backoff, least)))
        return min(backoff * 2, _MAX_BACKOFF)

    def step(self, block: float) -> None:
        """Take a snapshot if one is needed, else one batch of the feed.

        Waits up to `block` seconds for news. Raises `RevocationError`.
        """
        if self._position is None:
            self._load()
            return
        begun = self._clock()
        self._set_mark(self._position)
        try:
            items = self._denylist.tail(
                self._position, min(block, _SWEEP_PAUSE) if self._is_sweeping else block
            )
            answered = self._clock()
            self._apply(items)
        except FeedGap as gap:
            log.warning("reading the denylist afresh: %s", gap)
            self._position = None
            return
        except ReplicaFull:
            self._make_room(items, block)
            raise
        except DenylistNotReady:
            # Another primary, or a copy from the past: nobody vouches for it until the journal has
            # been replayed into it.
            self._distrust()
            raise
        if answered - begun > 2 * max(block, self._heartbeat_interval):
            # This process was stopped in the middle of the read. What had come by then holds by the
            # bound, but would have a copy believed again for a moment, before the rest is read.
            self._marks = []
        if items and self._store_time < self._swept - _PUT_BACK:
            # Both clocks were ahead when it let go of what was over: not all of it was.
            log.warning("the denylist's clock was put back; it is read afresh")
            self._position, self._swept = None, 0.0
            self._next_sweep, self._is_sweeping = 0.0, False
            return
        self._note_heartbeats(items)
        self._sweep()

    def _set_mark(self, reached: Position) -> None:
        # A heartbeat that lay in the feed already may be the last word of a dead issuer, and one
        # in a long backlog has more behind it. One that came after all that was there at the mark
        # says that somebody wrote since then, and that this copy holds all from before.
        if self._marks:
            asked_at, last_then = self._marks[-1]
            waited = self._clock() - asked_at
            if waited <= self._heartbeat_interval or reached.seq < last_then:
                return
        asked_at = self._clock()
        # A heartbeat that came just before this mark, and has not been read yet, answers the mark
        # before: in step with the heartbeats, each would come too late for the next.
        self._marks = [*self._marks[-1:], (asked_at, self._denylist.state().position.seq)]

    def _note_heartbeats(self, items: list[FeedItem]) -> None:
        last = max((item.seq for item in items if item.is_heartbeat), default=-1)
        answered = [mark for mark in self._marks if mark[1] < last]
        if answered:
            self._marks = self._marks[len(answered) :]
            if self._has_loaded:
                self._has_loaded = False
                self._sink.hold_all_since(int(self._store_time))
                self._swept = max(self._swept, self._store_time)
            self._vouch(answered[-1][0])

    def _distrust(self) -> None:
        # Until a heartbeat comes through the feed again, nothing says that it is alive.
        self._vouch(None)
        self._marks = []

    def _vouch(self, fresh_at: float | None) -> None:
        if self._reach is not None and fresh_at is not None and self._position is not None:
            self._reach(self._position)
        self._fresh_at = fresh_at
        self._sink.vouch(fresh_at)

    def _load(self) -> None:
        self._distrust()
        asked_at = self._clock()
        snapshot = self._denylist.snapshot()
        log.info("the replica reads a snapshot as of feed item %d", snapshot.state.position.seq)
        self._sink.begin(snapshot.state.salt)
        # Nothing held is dropped: a snapshot from a store that went back in time lacks entries.
        self._sink.raise_watermark(snapshot.state.watermark)
        try:
            self._sink.merge(_Telling(snapshot.records))
        except ReplicaFull:
            self._make_room([], self._heartbeat_interval)
            raise
        self._position = snapshot.state.position
        if snapshot.state.ready:
            self._furthest = self._position
        self._marks = [(asked_at, self._position.seq)]
        self._has_loaded = True
        log.info("the replica has read the snapshot in %.1f s", self._clock() - asked_at)

    def _apply(self, items: list[FeedItem]) -> None:
        """Merge what they hold, all at once: a sink may have a way to go for each merge.

        Raises `FeedGap` with all before the gap merged.
        """
        position, gap = self._position, None
        records: list[Record] = []
        for item in items:
            try:
                position = _after(position, item)
            except FeedGap as error:
                gap = error
                break
            records.extend(unpack(item.records))
            self._store_time = item.sent / 1000
        # First, since it needs no room: a sink that is full refuses what it can.
        for record in records:
            if record.kind is Kind.EPOCH:
                self._sink.raise_watermark(record.level)
        if records:
            self._sink.merge(record for record in records if record.kind is not Kind.EPOCH)
        if position is not self._position:
            self._position = self._furthest = position
            self._note_latencies(items)
        if gap is not None:
            raise gap

    def _note_latencies(self, items: list[FeedItem]) -> None:
        now = self._wall_clock()
        for item in items:
            if not item.is_heartbeat:
                self.latencies.note(now - item.sent / 1000)

    def _sweep(self) -> None:
        # The earlier of two clocks: a local one that jumps ahead and back must not lose entries.
        now = min(self._store_time, self._wall_clock())
        if now < self._next_sweep:
            return
        self._swept = max(self._swept, now)
        self._is_sweeping = bool(self._sink.sweep(now))
        if not self._is_sweeping:
            self._next_sweep = now + _SWEEP_INTERVAL

    def _make_room(self, items: list[FeedItem], block: float) -> None:
        # What has expired by the store's present time: the feed stands where it is full.
        news = self._denylist.tail(self._denylist.state().position, 2 * block) or items
        if news:
            self._store_time = news[-1].sent / 1000
        self._next_sweep = 0.0
        self._sweep()
        while self._is_sweeping:
            self._sweep()


def _after(position: Position | None, item: FeedItem) -> Position:
    """The place of an item that follows on another. Raises `FeedGap`."""
    if position is None or item.seq != position.seq + 1:
        raise FeedGap("an item is missing")
    chain = next_chain(position.chain, item.seq, item.records)
    if chain != item.chain:
        raise FeedGap("the feed has another history")
    return Position(position.epoch, item.seq, chain)


class _Telling:
    """The same records; a long read is told of once a second."""

    def __init__(self, records: Iterable[Record]) -> None:
        rest = iter(records)
        # With the first one read, a store can tell about how many there are.
        first = list(islice(rest, 1))
        self._about = operator.length_hint(records)
        self._records = chained(first, rest)

    def __length_hint__(self) -> int:
        return self._about

    def __iter__(self) -> Iterator[Record]:
        told = time.monotonic()
        for number, record in enumerate(self._records):
            if number % 4096 == 0 and time.monotonic() - told > 1:
                told = time.monotonic()
                if self._about > number:
                    log.info("the replica has read %d of about %d entries", number, self._about)
                else:
                    log.info("the replica has read %d entries", number)
            yield record
