"""One event on its way to one receiver, and what a sender promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

from ..audit.event import Event


class State(StrEnum):
    """Of a delivery."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something that a receiver is to be told."""

    target: str
    """`channel:name`."""
    key: str
    """What it is about: of one target, two with the same key are one."""
    event: Event


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row that this process has leased; times in seconds since the epoch."""

    id: int
    target: str
    key: str
    kind: str
    body: str
    created: float
    attempts: int
    """This one included."""

    @property
    def event(self) -> Event:
        """What it tells of. Raises `NotDelivered` for one that only a newer version knows."""
        try:
            return Event.from_json(self.body)
        except ValueError:
            raise NotDelivered("newer_format") from None

    @property
    def channel(self) -> str:
        """`webhook`, `email`, `signals` or `logout`."""
        return channel_of(self.target)


def channel_of(target: str) -> str:
    """What comes before the name."""
    return target.partition(":")[0]


class NotDelivered(Exception):
    """The receiver has not said that it has it; `why` holds no secret and nothing of the receiver's
    own words but a status or code.
    """

    code: ClassVar[str] = "not_delivered"

    def __init__(
        self,
        why: str,
        *,
        permanent: bool = False,
        retry_after: float = 0.0,
        unreachable: bool = False,
    ) -> None:
        """`permanent`: no other attempt would do better. `unreachable`: nor would one at another
        event now. `retry_after`: seconds that the receiver asks for.
        """
        super().__init__(why)
        self.why = why
        self.permanent = permanent
        self.retry_after = retry_after
        self.unreachable = unreachable


class Route(Protocol):
    """Says who is to be told of an event."""

    def wanted(self, event: Event) -> Iterator[Wanted]:
        """Nothing, or something for each receiver. Raises what the stores raise."""


class Sender(Protocol):
    """Makes one attempt, bounded in time; may be called for the same delivery again."""

    def send(self, delivery: Delivery) -> None:
        """Return once the receiver has said that it has it. Raises `NotDelivered`."""


def named(event: Event, names: tuple[str, ...]) -> bool:
    """Whether an event is one of these kinds, or of a rule of them."""
    return event.kind in names or f"{event.kind}:{event.details.get('rule')}" in names
