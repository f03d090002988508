"""The audit log of one issuer: all of its parts, as a use case sees them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from keys import KeyRing

from ..families import Draft, FamilyStore
from ..networks import network_of
from .addresses import treatment
from .ahead import draft_of
from .chain import ChainKeys
from .consumer import Consumer
from .event import Event, EventKind
from .following import Follower
from .keeper import Keeper
from .key_changes import KeyChanges
from .log import AuditLog
from .outbox import happened
from .recorder import Recorder
from .redaction import Redaction
from .settings import AuditSettings

_LOOK = 0.05
"""Seconds between two looks whether issuers have emptied the outbox."""


def chain_keys(settings: AuditSettings, secret: str | None) -> ChainKeys:
    """What the chain is keyed with; `secret` where the settings of the log give none."""
    own = settings.secret.get_secret_value() if settings.secret else secret
    former = [old.get_secret_value() for old in settings.old_secrets]
    if secret is not None and secret != own:
        former.append(secret)
    return ChainKeys(own, former)


class Audit:
    """Writes down what happens, keeps the log, and gives it to those that follow it."""

    def __init__(
        self,
        engine: sa.Engine,
        families: FamilyStore,
        ring: Callable[[], KeyRing],
        settings: AuditSettings,
        secret: str | None,
        clock: Callable[[], float],
    ) -> None:
        """`secret` keys the chain where the settings of the log give none."""
        self.keys = chain_keys(settings, secret)
        self.log = AuditLog(engine, self.keys, treatment(settings.addresses, self.keys.current))
        self.redaction = Redaction(engine, self.log, settings, clock)
        self._engine = engine
        self._clock = clock
        self._recorder = Recorder(engine, self.log, families, clock, self._wake_followers)
        self._keeper = Keeper(
            engine,
            self.log,
            self._recorder,
            families,
            KeyChanges(engine, ring, clock),
            self.redaction,
            clock,
        )
        self._followers: list[Follower] = []

    # Writing

    def happened(self, kind: EventKind, **fields: object) -> Event:
        """An event of this moment and this request."""
        return happened(kind, self._clock(), **fields)

    def record(self, event: Event) -> None:
        """Write an event down; it lasts when this returns. Raises `DatabaseUnavailable`."""
        self._recorder.record(event)

    def refused(
        self, event: Event, complete: Callable[[Event], Event] = lambda event: event
    ) -> None:
        """The same for what anybody can cause as often as he likes: after many, their number.

        `complete` finds out what costs a look, for those that are written down. Raises
        `DatabaseUnavailable`.
        """
        if self._recorder.admits(event, network_of(event.address)):
            self._recorder.record(complete(event))

    def draft_of(self, event: Event) -> Draft:
        """What the store of families keeps of an event until it is in the log."""
        return draft_of(event, self.keys.current)

    def drafted(self, events: Sequence[Event], draft_id: str) -> None:
        """Take events whose draft the store of families holds."""
        self._recorder.drafted(events, draft_id)

    def wake(self) -> None:
        """Say that a transaction of this process has pended an event."""
        self._recorder.wake()

    def flush(self) -> None:
        """Bring what is known into the log now. Raises `DatabaseUnavailable`."""
        self._recorder.flush()

    def gather(self, patience: float = 3.0) -> None:
        """The same for a command: while issuers run they do it, and their logs have the lines, too.

        Waits for them for `patience` seconds. Raises `DatabaseUnavailable`.
        """
        deadline = time.monotonic() + patience
        while self.log.is_waiting() and self._keeper.is_at_work() and time.monotonic() < deadline:
            time.sleep(_LOOK)
        self.flush()

    def account(self, username: str) -> str:
        """What stands for a name that somebody typed: it may be a password (ASVS 16.2.5)."""
        return self.keys.current.pseudonym("account", username)

    # Following

    def follow(self, consumer: Consumer) -> None:
        """Give a consumer every event from now on; before `start`."""
        self._followers.append(Follower(self._engine, self.log, consumer, self._clock))

    def erase(self, sub: str, account: str, *, patience: float) -> int:
        """Erase a person's events, once those who follow the log have dealt with them.

        A relying party may still have to be told of an end. Returns how many; what comes into the
        log meanwhile stays. `account` is the pseudonym under which failed logins with the name are
        written down, or empty. Raises `NotFollowed`, with nothing erased, after `patience` seconds.
        """
        self.gather()
        until = self.log.head().seq
        for follower in self._followers:
            follower.catch_up(until, patience)
        return self.redaction.by_person(sub, account, until)

    def _wake_followers(self) -> None:
        for follower in self._followers:
            follower.wake()

    # Life

    def start(self) -> None:
        """Start the threads of this process."""
        self._recorder.start()
        self._keeper.start()
        for follower in self._followers:
            follower.start()

    def stop(self) -> None:
        """Write down what waits, and stop them."""
        for follower in self._followers:
            follower.stop()
        self._keeper.stop()
        self._recorder.stop()
