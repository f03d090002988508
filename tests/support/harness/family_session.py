"""One session in a family store, and the clock of both."""

from __future__ import annotations

from collections.abc import Callable

from harness.millisecond_clock import MillisecondClock
from harness.rotation_machine import OpenStore

from issuer.families import (
    Elevation,
    Family,
    Gone,
    NewFamily,
    Reason,
    Rotated,
    RotationOutcome,
    RotationRules,
    Status,
)

MINUTE, DAY = 60.0, 86_400.0
MILLISECOND = 0.001
VERSION = 3


class Session:
    """One session in one store, and the clock of both."""

    def __init__(self, open_store: OpenStore, rules: RotationRules) -> None:
        self.clock = MillisecondClock()
        self.store = open_store(rules, self.clock)
        self.family = self.log_in("one")

    def log_in(
        self,
        sid: str,
        *,
        sub: str = "ann",
        idle: int | None = None,
        absolute: float = 30 * DAY,
        elevation: Elevation | None = None,
    ) -> Family:
        now = self.clock.ms // 1000
        return self.store.create(
            NewFamily(
                sub=sub,
                sid=sid,
                client_id="web",
                credential_version=VERSION,
                auth_time=now,
                amr=("pwd", "otp"),
                scope="read write",
                idle=idle,
                absolute_end=now + int(absolute),
                label="phone",
                address="192.0.2.7",
                user_agent="Browser/1.0",
                elevation=elevation,
            )
        )

    def present(
        self,
        gen: int,
        *,
        sid: str = "one",
        version: int = VERSION,
        active_ago: float | None = None,
    ) -> RotationOutcome:
        return self.store.rotate("ann", sid, gen, credential_version=version, active_ago=active_ago)

    def refresh(self, gen: int, *, sid: str = "one") -> None:
        """An ordinary refresh, some minutes after the last."""
        self.clock.wait(5 * MINUTE)
        assert given(self.present(gen, sid=sid)) == (Rotated, gen + 1)

    def get(self, sid: str = "one") -> Family | None:
        return self.store.get("ann", sid)

    def status(self) -> Status:
        family = self.get()
        assert family is not None
        return family.status


def given(outcome: RotationOutcome) -> tuple[type, int]:
    """The outcome's type and the record's generation."""
    assert outcome.family is not None
    return type(outcome), outcome.family.gen


def refused(outcome: RotationOutcome) -> Reason:
    assert isinstance(outcome, Gone)
    return outcome.reason


StartSession = Callable[..., Session]
