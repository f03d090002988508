"""The denylist, its feed, and the replica that a verifier carries."""

from .copy import Sink
from .denylist import CLOCK_TOLERANCE, Denylist, Snapshot, open_denylist
from .entry import NEVER, NOT_IDENTIFIED, Candidate, Entry, Kind, Probe, Record, Revocable
from .errors import (
    BadDenylistUrl,
    ClockPutBack,
    ClocksApart,
    DenylistLost,
    DenylistNewer,
    DenylistNotReady,
    DenylistReadOnly,
    DenylistReplaced,
    DenylistUnavailable,
    DenylistWentBack,
    FeedGap,
    HeartbeatLate,
    ReplicaFull,
    ReplicaStale,
    RevocationError,
    SnapshotTooLarge,
    TokenRevoked,
    TooFewConfirmations,
)
from .feed import DenylistState, FeedItem, Position
from .follower import (
    DEFAULT_HEARTBEAT_INTERVAL,
    DEFAULT_MAX_STALENESS,
    Follower,
    suspension_aware_clock,
)
from .packed_copy import MOST_ENTRIES
from .replica import Replica, StalePolicy

__all__ = [
    "CLOCK_TOLERANCE",
    "DEFAULT_HEARTBEAT_INTERVAL",
    "DEFAULT_MAX_STALENESS",
    "MOST_ENTRIES",
    "NEVER",
    "NOT_IDENTIFIED",
    "BadDenylistUrl",
    "Candidate",
    "ClockPutBack",
    "ClocksApart",
    "Denylist",
    "DenylistLost",
    "DenylistNewer",
    "DenylistNotReady",
    "DenylistReadOnly",
    "DenylistReplaced",
    "DenylistState",
    "DenylistUnavailable",
    "DenylistWentBack",
    "Entry",
    "FeedGap",
    "FeedItem",
    "Follower",
    "HeartbeatLate",
    "Kind",
    "Position",
    "Probe",
    "Record",
    "Replica",
    "ReplicaFull",
    "ReplicaStale",
    "Revocable",
    "RevocationError",
    "Sink",
    "Snapshot",
    "SnapshotTooLarge",
    "StalePolicy",
    "TokenRevoked",
    "TooFewConfirmations",
    "open_denylist",
    "suspension_aware_clock",
]
