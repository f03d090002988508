"""The change stream: numbered items, each chained to the one before by a running hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the feed: contiguous `seq`, the running hash there, and its epoch."""

    epoch: str
    seq: int
    chain: str


@dataclass(frozen=True, slots=True)
class DenylistState:
    """What a denylist says of itself; `watermark` in seconds, `salt` keys its digests."""

    position: Position
    watermark: int
    salt: bytes
    ready: bool
    """Whether everything acknowledged has been put into it on the very server that now leads.

    `mark_ready` says so; a failover, a restart or an older copy takes it back.
    """


@dataclass(frozen=True, slots=True)
class FeedItem:
    """One step of the feed: `records` packed as by `entry.pack`, empty for a heartbeat."""

    seq: int
    chain: str
    records: bytes
    sent: int
    """The store's time at which it was written, milliseconds since the epoch."""

    @property
    def is_heartbeat(self) -> bool:
        return not self.records


def next_chain(chain: str, seq: int, records: bytes) -> str:
    """The running hash after an item.

    It tells one history from another of the same length; it is no defence against somebody who
    writes to the store, so SHA-1, which Redis scripts have at hand, serves.
    """
    link = b"%s:%d:%s" % (chain.encode(), seq, records)
    return hashlib.sha1(link, usedforsecurity=False).hexdigest()
