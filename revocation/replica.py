"""A local copy of the denylist that knows how old it is.

The guarantee is `max_staleness`: past it the policy applies. Milliseconds are what is typical.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
import weakref
from collections.abc import Callable
from enum import StrEnum
from functools import cache, partial
from pathlib import Path

from .copy import Copy
from .denylist import Denylist
from .entry import Candidate, Kind, Probe, Revocable, refusal
from .errors import ClockPutBack, ReplicaStale, TokenRevoked
from .feed import Position
from .follower import (
    DEFAULT_HEARTBEAT_INTERVAL,
    DEFAULT_MAX_STALENESS,
    Follower,
    require_two_heartbeats,
    suspension_aware_clock,
)
from .latency import Latencies
from .packed_copy import MOST_ENTRIES, PackedCopy
from .shared_follower import SharedFollower
from .shared_reader import SharedReader
from .table_storage import SharedFile

log = logging.getLogger("gatepass.revocation")

_CREDENTIALS = re.compile(r"(?<=//)[^/?#]*@|[?&](?:sentinel_)?(?:username|password)=[^&]*")
_MOST_PARTIES = 1024
OUTLIVED_BY = 60
"""Seconds by which an entry outlives its tokens, and the most that a verifier forgives a clock."""
_LOOK = 0.01
"""Seconds between two looks of who waits for a copy to be in step."""


class StalePolicy(StrEnum):
    """What to do with a token while the replica cannot vouch for its copy."""

    CLOSED = "closed"
    """Refuse with 503: the default."""
    ASK = "ask"
    """Ask the denylist itself, once for each token."""
    OPEN = "open"
    """Go by the last copy."""


class Replica:
    """Follows a denylist and answers from memory, without a lock or a round trip."""

    def __init__(
        self,
        denylist: Denylist,
        *,
        max_staleness: float = DEFAULT_MAX_STALENESS,
        heartbeat_interval: float = DEFAULT_HEARTBEAT_INTERVAL,
        policy: StalePolicy = StalePolicy.CLOSED,
        shared: Path | None = None,
        owner: str = "",
        most: int = MOST_ENTRIES,
        clock: Callable[[], float] = suspension_aware_clock,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """As for `Follower`; `policy` says what happens past `max_staleness`.

        `shared` is a file that all processes of this host map, of which one follows; `owner` names
        the denylist, so that no two share it. `most` entries are held at the most: with more the
        copy ages. Raises `PermissionError` where others may write to the file's directory.
        """
        require_two_heartbeats(max_staleness, heartbeat_interval)
        self._denylist = denylist
        self._max_staleness = max_staleness
        self._heartbeat_interval = heartbeat_interval
        self._allowed_age = max_staleness - heartbeat_interval
        self._policy = policy
        self._clock = clock
        self._started = False
        self._start_is_known = self._clock_is_known = False
        self._parties_passed_at: dict[tuple[bytes, ...], int] = {}
        self._copy: Copy
        self._follower: Follower | SharedFollower
        follow = partial(
            Follower,
            denylist,
            max_staleness=max_staleness,
            heartbeat_interval=heartbeat_interval,
            clock=clock,
            wall_clock=wall_clock,
        )
        if shared is None:
            copy = PackedCopy(most=most)
            self._copy, self._follower = copy, follow(copy)
        else:
            # All processes of a host share it, also while one of them has an older password.
            named = _CREDENTIALS.sub("", owner)
            digest = hashlib.blake2b(named.encode(), digest_size=16).digest()
            file = SharedFile(shared, digest)
            self._copy = reader = SharedReader(file)
            self._follower = SharedFollower(
                file,
                reader,
                lambda copy: follow(copy, resume=copy.position, swept=copy.swept, reach=copy.reach),
                most=most,
            )
        _replicas.add(self)
        _go_on_after_forks()

    # The check: what every request pays.

    def check(self, claims: Revocable, kid: str, policy: StalePolicy | None = None) -> None:
        """Pass if no entry refuses the token.

        Raises `TokenRevoked`; `ReplicaStale` where the copy is too old and the policy (the
        replica's own unless given) is `closed`, or where there is no copy yet; `ClockPutBack`, a
        `ReplicaStale` under any policy; `DenylistUnavailable` under `ask`.
        """
        self.check_candidate(Candidate(claims, kid), policy)

    def check_candidate(self, candidate: Candidate, policy: StalePolicy | None = None) -> None:
        """As `check`, and cheaper for a candidate that was checked before."""
        copy = self._copy
        # First: it also opens a shared copy's new file, and brings salts and watermark up to date.
        # A number of the old one would say that nothing has changed since, whatever the new holds.
        fresh_at = copy.fresh_at
        # Before all that is looked at, so that what comes in meanwhile has another number.
        changes = copy.changes
        stale = fresh_at is None or self._clock() - fresh_at > self._allowed_age
        # What the copy did not refuse needs no second look until something changes.
        passed = candidate.passed_at == changes and candidate.passed_by is copy
        if passed and not stale:
            return
        salt = copy.salt
        if stale:
            policy = policy or self._policy
            if policy is StalePolicy.CLOSED or not salt:
                self._tell_if_never_started()
                raise ReplicaStale(self.staleness(), self._max_staleness)
        identified = candidate.identified
        if identified[0] != salt:
            identified, passed = candidate.identify(salt), False
        # What the copy refuses is refused, however old the copy.
        kind: Kind | None = None
        if not passed:
            # Before and after the look-up: what is gone by then was let go before it is read the
            # second time, and may be known again, and not looked up, since the first.
            swept = copy.swept
            _, ids, parties = identified
            if (
                candidate.claims.iat <= copy.watermark
                or copy.may_hold_ids(ids)
                or (
                    self._parties_passed_at.get(parties) != changes
                    and self._may_hold_parties(parties, changes)
                )
            ):
                kind = refusal(candidate.probe(identified), copy.level_of, copy.watermark)
            if kind is None and copy.older_salts:
                kind = self._refusal_of_older_epochs(candidate)
            if kind is None and candidate.claims.exp + OUTLIVED_BY <= max(swept, copy.swept):
                self._tell_of_its_clock()
                raise ClockPutBack
            if kind is None and copy.changes == changes:
                candidate.passed_by, candidate.passed_at = copy, changes
        if kind is None and stale and policy is StalePolicy.ASK:
            kind = self._denylist.lookup(candidate.probe(identified), self._furthest)
        if kind is not None:
            raise TokenRevoked(kind)

    def _may_hold_parties(self, parties: tuple[bytes, ...], changes: int) -> bool:
        """Whether the copy may hold one of these; what it did not needs no second look, as above.

        Few tokens have parties of their own, so for most this saves half of what is looked up.
        """
        if self._copy.may_hold(parties):
            return True
        if len(self._parties_passed_at) >= _MOST_PARTIES:
            self._parties_passed_at = {}
        if self._copy.changes == changes:
            self._parties_passed_at[parties] = changes
        return False

    def _tell_if_never_started(self) -> None:
        """Say it once: from outside it looks like an outage, and it lasts."""
        if not self._start_is_known:
            self._start_is_known = True
            log.warning(
                "the verifier was not started, so it refuses every token: call start() on it"
            )

    def _tell_of_its_clock(self) -> None:
        """Say it once: whoever is asked about an older token refuses it, as if it were revoked."""
        if not self._clock_is_known:
            self._clock_is_known = True
            log.warning("this host's clock was put back; tokens that were over before are refused")

    def _refusal_of_older_epochs(self, candidate: Candidate) -> Kind | None:
        copy = self._copy
        # Entries of an epoch that is gone are kept, and only its own salt finds them.
        for salt in copy.older_salts:
            probe = Probe.of(candidate.claims, candidate.kid, salt)
            kind = refusal(probe, copy.level_of, copy.watermark)
            if kind is not None:
                return kind
        return None

    def staleness(self) -> float:
        """Seconds by which this copy may lag behind the denylist, at most; infinite if unknown."""
        fresh_at = self._copy.fresh_at
        if fresh_at is None:
            return float("inf")
        return self._clock() - fresh_at + self._heartbeat_interval

    def wait_in_step(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until the copy can be vouched for."""
        end = time.monotonic() + timeout
        while self.staleness() > self._max_staleness:
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, _LOOK))
        return True

    @property
    def position(self) -> Position | None:
        """How far it has come in the feed; None while it needs a snapshot, or another process
        follows for this one."""
        follower = self._following
        return None if follower is None else follower.position

    @property
    def latencies(self) -> Latencies | None:
        """How late revocations reach this copy; None where another process follows for this one."""
        follower = self._following
        return None if follower is None else follower.latencies

    @property
    def _furthest(self) -> Position | None:
        follower = self._following
        return None if follower is None else follower.furthest

    @property
    def _following(self) -> Follower | None:
        follower = self._follower
        return follower.follower if isinstance(follower, SharedFollower) else follower

    def __len__(self) -> int:
        return len(self._copy)

    # Following the feed.

    def start(self) -> None:
        """Follow the denylist from a background thread, in this process and each fork of it."""
        self._started = self._start_is_known = True
        self._follower.start()

    def stop(self) -> None:
        """Stop following; the copy stays and ages."""
        self._started = False
        self._follower.stop()

    def step(self, block: float) -> None:
        """As `Follower.step`, for a program that has no thread for it; not for a shared one."""
        self._start_is_known = True
        follower = self._following
        if follower is None:
            raise RuntimeError("a shared replica is followed by a thread")
        follower.step(block)

    def go_on_after_fork(self) -> None:
        """In the child: threads do not survive a fork."""
        self._follower.forget()
        self._copy.go_on_after_fork()
        if self._started:
            self._follower.start()


_replicas: weakref.WeakSet[Replica] = weakref.WeakSet()


def _after_fork() -> None:
    for replica in list(_replicas):
        replica.go_on_after_fork()


@cache
def _go_on_after_forks() -> None:
    # With the first replica: hooks are called as they were registered, and those of modules, which
    # put in order what a follower's thread may need in a child, have been by now.
    os.register_at_fork(after_in_child=_after_fork)
