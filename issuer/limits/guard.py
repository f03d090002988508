"""Limits on guessing passwords, and on asking for resets.

OWASP ASVS 6.3.1; SP 800-63B-4 section 3.2.2. Nothing here knows whether an account exists: counts
go by the name that was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from ..accounts import BadCredentials
from ..networks import host_of, network_of
from .digests import Digests
from .errors import TooManyRequests
from .storage import SharedStorage
from .windows import Counter, Full, Tally, Windows

log = structlog.get_logger("gatepass.issuer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """The limits of one kind of attempt."""

    account_network: Windows
    """For an account from one network."""
    account: Windows
    """For an account from all networks from which it has never logged in."""
    address: Windows
    network: Windows
    everybody: Windows

    @property
    def tell_networks_apart(self) -> bool:
        """Whether there is a limit from which a known network is free."""
        others = (self.account, self.address, self.network, self.everybody)
        return any(windows.items for windows in others)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Who is judged by what."""

    account: str
    network: str
    judged: Sequence[Counter]
    """Counters that refuse the attempt."""
    counted: Sequence[Counter]
    """Counters that its failure goes to."""
    own: Counter
    elsewhere: Full | None
    """For a known network: what would have refused the attempt anywhere else."""


class Guard:
    """Limits attempts on an account's password, or on its mailbox.

    A network from which the account has logged in is judged by its own limit alone, so that nobody
    elsewhere can lock the account out there. What fails there is answered as it would be anywhere
    else: whether the account is known there is not to be seen in the answer.
    """

    def __init__(self, storage: SharedStorage, digests: Digests, levels: Levels) -> None:
        self._storage = storage
        self._tally = Tally(storage)
        self._digests = digests
        self._levels = levels

    @contextmanager
    def attempt(self, username: str, address: str) -> Iterator[None]:
        """Around the check of one password. Raises `TooManyRequests`.

        `username` as accounts compare it. Only what raises `BadCredentials` is counted. Attempts
        that began before a limit was reached and end after it are refused as well, right or wrong:
        a hundred at once are not a hundred guesses.
        """
        attempt = self._begin(username, address)
        self._refuse_if(self._tally.full(attempt.judged))
        try:
            yield
        except BadCredentials:
            before = self._tally.full(attempt.judged)
            self._tally.count(attempt.counted)
            self._refuse_if(before or attempt.elsewhere)
            raise
        self._refuse_if(self._tally.full(attempt.judged))
        # SP 800-63B-4 section 3.2.2: a success makes up for what failed in the same place.
        self._tally.forget(attempt.own)
        if attempt.network and self._levels.tell_networks_apart:
            self._storage.remember(attempt.account, attempt.network)

    def request(self, username: str, address: str) -> bool:
        """Count one request for something to be sent to an account; whether to send it.

        Raises `TooManyRequests` for what the caller has asked too often. What others have asked for
        the account too often is not sent and not told: it would say that the account is known
        where it is sent nevertheless.
        """
        attempt = self._begin(username, address)
        strangers = [each for each in attempt.counted if each.windows is self._levels.account]
        places = [each for each in attempt.counted if each not in strangers]
        self._refuse_if(self._tally.full(places))
        full = self._tally.full(strangers)
        if full is not None:
            log.warning("request_not_served", limit=full.name, retry_after=full.retry_after)
        self._tally.count(attempt.counted if full is None else places)
        return full is None

    def _begin(self, username: str, address: str) -> _Attempt:
        levels, digest = self._levels, self._digests.of
        host, net = host_of(address), network_of(address)
        account = digest("account", username)
        # Made with the account, so that the store does not tell whose network is the same.
        network = digest("account and network", username, net) if net else ""
        own = levels.account_network.counter(network or account)
        places = [levels.everybody.counter("everybody")]
        if host:
            places.append(levels.address.counter(digest("address", host)))
            places.append(levels.network.counter(digest("network", net)))
        strangers = levels.account.counter(account)
        apart = network and levels.tell_networks_apart
        if apart and self._storage.is_known(account, network):
            elsewhere = self._tally.full([strangers, *places])
            return _Attempt(account, network, [own], [own, *places], own, elsewhere)
        everything = [own, strangers, *places]
        return _Attempt(account, network, everything, everything, own, None)

    def _refuse_if(self, full: Full | None) -> None:
        if full is not None:
            log.warning("attempt_limited", limit=full.name, retry_after=full.retry_after)
            raise TooManyRequests(full.name, full.retry_after)
