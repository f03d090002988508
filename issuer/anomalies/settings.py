"""Which rules are on, how much each takes, and what is done about what they find."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class Response(StrEnum):
    """What is done about an alarm. Each is in the audit log as an event `anomaly` in any case."""

    LOG = "log"
    """Nothing else."""
    WEBHOOK = "webhook"
    """Whoever is notified of anything is told."""
    REAUTHENTICATE = "reauthenticate"
    """The session is refreshed no more; its person logs in again, or elevates."""
    END_SESSION = "end_session"
    """It ends, and its tokens with it."""
    BLOCK = "block"
    """Logins are turned away for a while, where the account has never logged in before."""


def _listed(given: object) -> object:
    return (given,) if isinstance(given, str) else given


Responses = Annotated[tuple[Response, ...], BeforeValidator(_listed)]
"""One, or a list of some."""

TOLD = (Response.LOG, Response.WEBHOOK)


class RuleSettings(BaseModel):
    """What every rule has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    can: ClassVar[frozenset[Response]] = frozenset(Response)
    """What may be done about its alarms."""

    on: bool = True
    respond: Responses = TOLD

    @model_validator(mode="after")
    def _possible(self) -> RuleSettings:
        for response in self.respond:
            if response not in self.can:
                possible = ", ".join(each for each in Response if each in self.can)
                raise ValueError(
                    f"respond: {response} has nothing to act on here; give some of {possible}"
                )
        return self


class TwoPlaces(RuleSettings):
    """How often in a row two of them take turns, request by request."""

    agents: int = Field(5, ge=1, le=100)
    networks: int = Field(16, ge=1, le=100)


class Follower(RuleSettings):
    """Generations in a row in each of which the token before was presented late as well."""

    elsewhere: int = Field(3, ge=2, le=50)
    """By another user agent, or from another network."""
    anywhere: int = Field(8, ge=2, le=50)
    """By whomever."""
    delay: float = Field(2.0, ge=0, le=60)
    """Seconds after the rotation, from which on it is no request that was under way already."""


class Moved(RuleSettings):
    """It has nothing else to set."""


class Travel(RuleSettings):
    """Where an account is at two far ends at once."""

    within: int = Field(1800, ge=60, le=86_400)
    """Seconds before a login, and after it, in which the other session is seen."""
    logins: int = Field(5, ge=1, le=1000)
    """Logins after which an account has a history to be judged by."""
    database: Path | None = None
    """A city database in MaxMind's format; without one, the registries of networks."""
    speed: int = Field(1000, ge=100)
    """Kilometres an hour that nobody travels; with a database."""


class RefreshRate(RuleSettings):
    """A bucket that leaks: what it holds, and how fast it empties."""

    burst: int = Field(150, ge=10, le=10_000)
    a_minute: int = Field(20, ge=1, le=1000)


class NewDevice(RuleSettings):
    """It has nothing else to set."""


class Failures(RuleSettings):
    """What is about logins that fail has no session to act on."""

    can: ClassVar[frozenset[Response]] = frozenset({*TOLD, Response.BLOCK})


class Stuffing(Failures):
    """Accounts whose logins fail within ten minutes, and do not succeed."""

    network: int = Field(30, ge=2, le=500)
    """From one network."""
    everywhere: int = Field(200, ge=2, le=3000)
    """From everywhere, if they are also more than half as many as those that succeed."""


class Guessing(Failures):
    """Failures for one account, from networks on which it has never logged in."""

    an_hour: int = Field(15, ge=2, le=100)
    a_day: int = Field(40, ge=2, le=200)


class Reuse(RuleSettings):
    """A spent refresh token has ended its session already; this applies the end once more."""

    respond: Responses = (Response.END_SESSION, Response.WEBHOOK)


class AnomalySettings(BaseModel):
    """Anomaly detection; docs/anomalies.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: bool = True
    block_for: int = Field(900, ge=1, le=86_400)
    """Seconds for which `block` turns logins away."""
    two_places: TwoPlaces = TwoPlaces()
    follower: Follower = Follower()
    moved: Moved = Moved()
    impossible_travel: Travel = Travel()
    refresh_rate: RefreshRate = RefreshRate()
    new_device: NewDevice = NewDevice()
    stuffing: Stuffing = Stuffing()
    guessing: Guessing = Guessing()
    reuse: Reuse = Reuse()

    @property
    def blocks(self) -> bool:
        """Whether any rule that is on turns logins away."""
        rules = [rule for _, rule in self if isinstance(rule, RuleSettings)]
        return self.on and any(rule.on and Response.BLOCK in rule.respond for rule in rules)

    def of(self, rule: str) -> RuleSettings:
        """The settings of a rule by its name."""
        found: RuleSettings = getattr(self, rule)
        return found
