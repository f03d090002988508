"""Why a token is refused as revoked, or why that cannot be told."""

from __future__ import annotations

from math import inf, isfinite
from typing import ClassVar


class RevocationError(Exception):
    """The root of this package's errors; `code` is stable."""

    code: ClassVar[str] = "revocation_error"


class TokenRevoked(RevocationError):
    """A denylist entry hits the token; `kind` is the entry's kind."""

    code = "revoked"

    def __init__(self, kind: str) -> None:
        super().__init__(f"revoked by a {kind} entry")
        self.kind = kind


class ReplicaStale(RevocationError):
    """The replica cannot vouch for its copy, and its policy is to fail closed."""

    code = "replica_stale"

    def __init__(self, staleness: float, limit: float) -> None:
        age = (
            f"is {staleness:.1f} s old; the limit is {limit:.1f} s"
            if isfinite(staleness)
            else "has no copy yet that an issuer vouches for"
        )
        super().__init__(f"the replica {age}")
        self.staleness = staleness
        self.limit = limit


class ClockPutBack(ReplicaStale):
    """An entry of the token may be over and gone: this host's clock was put back since."""

    def __init__(self) -> None:
        RevocationError.__init__(
            self, "this host's clock was put back to before what the replica has let go"
        )
        self.staleness = self.limit = inf


class ReplicaFull(RevocationError):
    """More entries came than a replica was made for; it keeps all that it has, and ages."""

    code = "replica_full"

    def __init__(self, count: int) -> None:
        super().__init__(f"the replica holds {count} entries, and takes no more")
        self.count = count


class SnapshotTooLarge(ReplicaFull):
    """A snapshot is longer than a replica takes in; it was not read to its end."""

    code = "snapshot_too_large"

    def __init__(self, most: int) -> None:
        RevocationError.__init__(self, f"the denylist's snapshot holds more than {most} entries")
        self.count = most


class DenylistUnavailable(RevocationError):
    """The denylist does not answer; nothing may be assumed about what it holds."""

    code = "denylist_unavailable"


class DenylistLost(RevocationError):
    """The denylist answers but holds no epoch: it is new, or everything in it was lost."""

    code = "denylist_lost"

    def __init__(self) -> None:
        super().__init__("the denylist has no epoch; it is new, or its contents were lost")


class DenylistNotReady(DenylistUnavailable):
    """The denylist is being filled from the journal; until then it vouches for nothing."""

    code = "denylist_not_ready"

    def __init__(self) -> None:
        super().__init__("the denylist is being filled from the journal")


class DenylistReplaced(DenylistUnavailable):
    """The denylist has another epoch than the one that the caller has just read: ask again."""

    code = "denylist_replaced"

    def __init__(self) -> None:
        super().__init__("the denylist was replaced by a new one meanwhile")


class DenylistWentBack(DenylistNotReady):
    """The store lacks what had been written to it: an older copy took its place."""

    code = "denylist_went_back"

    def __init__(self) -> None:
        RevocationError.__init__(self, "the denylist lacks what had been written to it")


class ClocksApart(DenylistUnavailable):
    """The store's clock and the caller's are further apart than they may be: one is wrong.

    Where the store's is ahead, what is reckoned by the caller's would be over too early.
    """

    code = "clocks_apart"

    def __init__(self) -> None:
        super().__init__("the clocks of this host and of the denylist are too far apart")


class HeartbeatLate(DenylistUnavailable):
    """The caller stood still on his way to a heartbeat; nothing was written. He begins again."""

    code = "heartbeat_late"

    def __init__(self) -> None:
        super().__init__("the heartbeat came too long after the position that it goes by was read")


class DenylistNewer(DenylistUnavailable):
    """The denylist is kept in a format that this version does not know; a newer program does."""

    code = "denylist_newer"

    def __init__(self) -> None:
        super().__init__("the denylist has a newer format than this version knows")


class TooFewConfirmations(DenylistUnavailable):
    """The entry is stored, but on fewer servers or disks than were asked for; retrying is safe."""

    code = "too_few_confirmations"

    def __init__(self, found: int, wanted: int, what: str) -> None:
        super().__init__(f"{found} of {wanted} {what} confirmed the revocation in time")
        self.found = found
        self.wanted = wanted


class DenylistReadOnly(RevocationError):
    """This denylist is a feed, which is read only; issuers write to the denylist itself."""

    code = "denylist_read_only"

    def __init__(self) -> None:
        super().__init__("the HTTP feed is for reading; an issuer writes to the denylist itself")


class FeedGap(RevocationError):
    """The feed does not continue where the reader stood; a new snapshot is needed."""

    code = "feed_gap"


class BadDenylistUrl(RevocationError):
    """A denylist URL of an unknown kind."""

    code = "bad_denylist_url"
