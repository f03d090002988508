"""A clock that tests move, exact to the millisecond."""

from __future__ import annotations

import math
import time


class MillisecondClock:
    """Seconds as a float, as stores take them; `ms` in whole milliseconds, as tests set them."""

    def __init__(self, *, ahead: int = 0) -> None:
        """Start `ahead` seconds from now, at a whole second.

        A real Redis drops keys by real time. A clock that starts at or after it and only moves
        forward never sees a key go before its time.
        """
        self.ms = (math.ceil(time.time()) + ahead) * 1000

    def __call__(self) -> float:
        # Half a millisecond more, so that no rounding of the float reaches the millisecond before.
        return (self.ms + 0.5) / 1000

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.ms += round(seconds * 1000)
