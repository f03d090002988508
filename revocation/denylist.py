"""What every denylist promises, and how one is opened from its URL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from .entry import Entry, Kind, Probe, Record
from .errors import BadDenylistUrl
from .feed import DenylistState, FeedItem, Position
from .packed_copy import MOST_ENTRIES

CLOCK_TOLERANCE = 6.0
"""Seconds by which the clock of who reckons expiries may differ from the store's."""
FEED_WINDOW = 900
"""Seconds for which an item stays in the feed; a reader away for longer takes a snapshot."""
FEED_CAP = 1_000_000
"""Items at most in the feed, whatever their age: about 100 MB in Redis at one record each."""

VerifyMessage = Callable[[str, str], Mapping[str, Any]]
"""`verify(message, typ)`: the claims of a message that the issuer signed as one of this type.

Raises `DenylistUnavailable` for any other.
"""

MEMORY_SCHEME = "memory"
REDIS_SCHEMES = frozenset(
    {
        "redis",
        "rediss",
        "unix",
        "redis+sentinel",
        "rediss+sentinel",
        "redis+cluster",
        "rediss+cluster",
    }
)
FEED_SCHEMES = frozenset({"https", "http"})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The denylist's contents; the state was read first, so the feed goes on from there."""

    state: DenylistState
    records: Iterable[Record]
    """Once the first has been read, `operator.length_hint` says about how many there are."""


class Denylist(Protocol):
    """A set of revocations with an ordered feed of its changes.

    Every method may be retried; all raise `DenylistUnavailable` where the store does not answer,
    all but `initialise` and `replace` raise `DenylistLost` where it holds no epoch, and
    `DenylistNewer` where a newer program keeps it in a format of its own.
    """

    def initialise(self, watermark: int) -> DenylistState:
        """Set epoch and salt where there are none; returns what is there afterwards.

        Atomic. `watermark` (seconds) counts only if this call made the epoch: tokens issued at or
        before it are refused. A new epoch is not ready: it vouches for nothing until `mark_ready`.
        """

    def replace(self, watermark: int) -> DenylistState:
        """Declare a new, empty epoch whatever there is; otherwise as `initialise`. Atomic.

        The last resort, where neither denylist nor journal can tell what had been revoked.
        """

    def mark_ready(
        self,
        epoch: str | None = None,
        seen: Position | None = None,
        reached: Position | None = None,
    ) -> Position:
        """Say that everything acknowledged earlier has been added again: heartbeats may begin.

        `epoch` is the one that was filled. Raises `DenylistReplaced` where there is another by now.
        The feed goes on above the `seq` of `seen`, so that within an epoch it only ever rises.
        `reached` is where the last of it was added. Raises `DenylistWentBack` where the feed does
        not hold that: part of it went to a server that is gone.
        """

    def state(self) -> DenylistState:
        """Where the denylist stands now."""

    def add(
        self,
        entries: Sequence[Entry],
        known: Position | None = None,
        reached: Position | None = None,
    ) -> Position:
        """Merge entries and append them to the feed in one atomic step.

        Returns only when the store holds them. Idempotent: what is there already, at least as high
        and as long, is neither stored nor announced again.

        `known` is a position that somebody has acknowledged, `reached` one that the caller reached
        by himself. Raises `DenylistWentBack` where the feed does not hold both; nothing was added,
        and the denylist is not ready from then on. Without entries it only checks that.
        Raises `ClocksApart` where the store's clock is too far ahead of the caller's; nothing was
        added. Raises `TooFewConfirmations` where the entries are on too few servers or disks.
        """

    def lookup(self, probe: Probe, known: Position | None = None) -> Kind | None:
        """The kind of entry that refuses the token, or None; a direct question to the store.

        Raises `DenylistNotReady` before `mark_ready`, `DenylistWentBack` where the feed does not
        hold `known`, and `DenylistReplaced` where the probe was made for another epoch, whose salt
        finds nothing here.
        """

    def time(self) -> float:
        """The store's own time, seconds since the epoch."""

    def heartbeat(
        self, interval: float, known: Position | None = None, asked: float | None = None
    ) -> Position:
        """Append a heartbeat unless one was written less than `interval` seconds ago.

        `known` as for `add`; `asked` is the store's time before it was read. Raises `HeartbeatLate`
        where that is longer ago than an interval, or a second: since then more may have been
        acknowledged, and an older copy put in the store's place. Raises `DenylistNotReady` before
        `mark_ready`, so that no replica trusts a torn copy, `ClocksApart` where the store's clock
        is too far ahead of the caller's, and `DenylistWentBack` where it was ahead and
        has been put back: entries have expired too early.
        """

    def snapshot(self) -> Snapshot:
        """The present contents, for a replica to start from.

        Reading the records raises `DenylistWentBack` where a server answers that has not come as
        far as the state that was read first.
        """

    def tail(self, after: Position, block: float) -> list[FeedItem]:
        """Items after a position, waiting up to `block` seconds for the first.

        Raises `FeedGap` where the feed does not continue from `after`, and `DenylistNotReady` while
        nobody vouches for it.
        """

    def close(self) -> None:
        """Release connections."""


def open_denylist(
    url: str,
    *,
    namespace: str = "gatepass",
    replicas: int = 0,
    clock: Callable[[], float] | None = None,
    wall_clock: Callable[[], float] | None = None,
    tolerance: float = CLOCK_TOLERANCE,
    verify: VerifyMessage | None = None,
    most_entries: int = MOST_ENTRIES,
) -> Denylist:
    """Open `redis://`, `rediss://`, `unix://`, `redis+sentinel://`, `redis+cluster://`, `memory://`.

    Or, for reading, an issuer's feed: `https://NAME:SECRET@HOST/revocations`, whose messages
    `verify` checks, and of whose snapshot `most_entries` are read at the most. `replicas` is how
    many replicas of Redis must hold an entry before `add` returns. `clock` replaces the store's own
    time, for tests; `wall_clock` is the one by which the caller reckons expiries, this host's
    unless given, and the store's may be ahead of it by `tolerance` seconds.

    Raises `BadDenylistUrl`.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        raise BadDenylistUrl("a denylist URL that cannot be taken apart") from None
    if scheme == MEMORY_SCHEME:
        from .memory_denylist import MemoryDenylist

        return MemoryDenylist.shared(url, clock=clock or time.time)
    if scheme in REDIS_SCHEMES:
        from .redis_circuit import Circuits
        from .redis_client import connect
        from .redis_denylist import RedisDenylist

        try:
            client = connect(url)
        except ValueError:
            # Without the cause: it quotes parts of the URL, which may hold a password.
            raise BadDenylistUrl(
                f"a broken {scheme}:// URL, or one with an unknown option"
            ) from None
        return RedisDenylist(
            client,
            namespace=namespace,
            replicas=replicas,
            clock=clock,
            wall_clock=wall_clock,
            tolerance=tolerance,
            circuits=Circuits.shared(url),
        )
    if scheme in FEED_SCHEMES:
        from .http_connection import FeedAddress
        from .http_denylist import HttpDenylist

        if verify is None:
            raise BadDenylistUrl("an HTTP feed is read by who can check the issuer's signatures")
        return HttpDenylist(FeedAddress.parse(url), verify, most=most_entries)
    known = ", ".join(
        f"{name}://" for name in sorted({MEMORY_SCHEME, *REDIS_SCHEMES, *FEED_SCHEMES})
    )
    raise BadDenylistUrl(f"a denylist URL starts with one of {known}, not {scheme or 'nothing'!r}")
