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
    blocked: Windows
    """What anomaly detection blocks for a while, an account or a network."""

    @property
    def spare_known_networks(self) -> bool:
        """Whether there is a limit from which a known network is free."""
        others = (self.account, self.address, self.network, self.everybody, self.blocked)
        return any(windows.items for windows in others)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Who is judged by what."""

    account: str
    network: str
    known: bool
    """Whether the account has logged in from the network."""
    own: Counter
    strangers: Counter
    places: Sequence[Counter]
    blocks: Sequence[Counter]
    """Of its account and of its network; full where they are blocked."""

    @property
    def counted(self) -> list[Counter]:
        """What a failure goes to."""
        everywhere = [self.own, *self.places]
        return everywhere if self.known else [*everywhere, self.strangers]


class Guard:
    """Limits attempts on an account's password, or on its mailbox.

    A network from which the account has logged in is judged by its own limit alone, so that nobody
    elsewhere can lock the account out there. What fails there is answered as it would be anywhere
    else: whether the account is known there is not to be seen in the answer.
    """

    def __init__(
        self, storage: SharedStorage, digests: Digests, levels: Levels, *, remember: bool
    ) -> None:
        """`remember`: whether networks need be told apart at all."""
        self._storage = storage
        self._tally = Tally(storage)
        self._digests = digests
        self._levels = levels
        self._remember = remember

    @contextmanager
    def attempt(self, username: str, address: str) -> Iterator[None]:
        """Around the check of one password. Raises `TooManyRequests`.

        `username` as accounts compare it. Only what raises `BadCredentials` is counted. Attempts
        that began before a limit was reached and end after it are refused as well, right or wrong:
        a hundred at once are not a hundred guesses.
        """
        attempt = self._begin(username, address)
        self._refuse_if(self._look(attempt)[0])
        try:
            yield
        except BadCredentials:
            _, anywhere = self._look(attempt)
            # Also by the count itself: others may have failed since the look.
            self._refuse_if(_longer(anywhere, self._tally.count(attempt.counted)))
            raise
        self._refuse_if(self._look(attempt)[0])
        self._welcome(attempt)

    def proved(self, username: str, address: str) -> None:
        """Note that the account's owner has proved it, and set a password that nobody has tried.

        SP 800-63B-4 section 3.2.2: what a locked-out owner is left with must let him in.
        """
        attempt = self._begin(username, address)
        for counter in (attempt.strangers, *attempt.blocks[:1]):
            self._tally.forget(counter)
        self._welcome(attempt)

    def block_account(self, username: str) -> None:
        """Turn attempts on an account away for a while, but on networks where it has logged in."""
        self._tally.count([self._levels.blocked.counter(self._digests.of("account", username))])

    def block_network(self, address: str) -> bool:
        """Turn a network's attempts away for a while, but on accounts that have logged in there.

        False for what is no address.
        """
        network = network_of(address)
        if network:
            self._tally.count([self._levels.blocked.counter(self._digests.of("network", network))])
        return bool(network)

    def keeps_out(self, username: str) -> Full | None:
        """What turns strangers to an account away just now, whoever they are."""
        account = self._digests.of("account", username)
        levels = (self._levels.account, self._levels.blocked)
        return self._tally.full([level.counter(account) for level in levels])

    def lift_account(self, username: str, address: str = "") -> None:
        """Begin the counts of an account anew, and end its block; of one place as well, if given.

        What failed from each network goes by digests of both: only who names it can have it lifted.
        """
        attempt = self._begin(username, address)
        for counter in (attempt.own, attempt.strangers, attempt.blocks[0]):
            self._tally.forget(counter)

    def lift_address(self, address: str) -> bool:
        """Begin the counts of an address and of its network anew, and end that network's block.

        False for what is no address.
        """
        host, network = host_of(address), network_of(address)
        digest, levels = self._digests.of, self._levels
        if host:
            self._tally.forget(levels.address.counter(digest("address", host)))
            for level in (levels.network, levels.blocked):
                self._tally.forget(level.counter(digest("network", network)))
        return bool(host)

    def _welcome(self, attempt: _Attempt) -> None:
        # SP 800-63B-4 section 3.2.2: a success makes up for what failed in the same place.
        self._tally.forget(attempt.own)
        if attempt.network and self._remember:
            self._storage.remember(attempt.account, attempt.network)

    def _look(self, attempt: _Attempt) -> tuple[Full | None, Full | None]:
        """What refuses the attempt, and what would refuse it if its network were not known.

        As much work for either, since its time can be measured.
        """
        own = self._tally.full([attempt.own])
        others = self._tally.full([attempt.strangers, *attempt.places, *attempt.blocks])
        anywhere = _longer(own, others)
        return own if attempt.known else anywhere, anywhere

    def request(self, username: str, address: str) -> bool:
        """Count one request for something to be sent to an account; whether to send it.

        Raises `TooManyRequests` for what the caller has asked too often. What others have asked for
        the account too often is not sent and not told: it would say that the account is known
        where it is sent nevertheless.
        """
        attempt = self._begin(username, address)
        places = [attempt.own, *attempt.places]
        self._refuse_if(self._tally.full(places))
        full = self._tally.full([attempt.strangers])
        self._tally.count(places)
        if attempt.known:
            return True
        if full is not None:
            log.warning("request_not_served", limit=full.name, retry_after=full.retry_after)
            return False
        self._tally.count([attempt.strangers])
        return True

    def _begin(self, username: str, address: str) -> _Attempt:
        levels, digest = self._levels, self._digests.of
        host, net = host_of(address), network_of(address)
        account = digest("account", username)
        # Made with the account, so that the store does not tell whose network is the same.
        network = digest("account and network", username, net) if net else ""
        places = [levels.everybody.counter("everybody")]
        blocks = [levels.blocked.counter(account)]
        if host:
            places.append(levels.address.counter(digest("address", host)))
            places.append(levels.network.counter(digest("network", net)))
            blocks.append(levels.blocked.counter(digest("network", net)))
        return _Attempt(
            account,
            network,
            bool(network) and self._remember and self._storage.is_known(account, network),
            levels.account_network.counter(network or account),
            levels.account.counter(account),
            places,
            blocks,
        )

    def _refuse_if(self, full: Full | None) -> None:
        if full is not None:
            log.warning("attempt_limited", limit=full.name, retry_after=full.retry_after)
            raise TooManyRequests(full.name, full.retry_after)


def _longer(one: Full | None, other: Full | None) -> Full | None:
    return max((one, other), key=lambda full: full.retry_after if full else 0)
