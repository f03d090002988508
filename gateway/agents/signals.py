"""Signals that tell an agent what to do."""

from __future__ import annotations

import queue
import signal


class Signals:
    """Those of these that have come, one after the other.

    A handler interrupts the main thread wherever that is, perhaps with a lock in its hands: of all
    that can hand something over, a `SimpleQueue` alone takes none that it could wait for.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._came: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()
        for number in numbers:
            signal.signal(number, lambda came, _: self._came.put(signal.Signals(came)))

    def wait(self, timeout: float | None = None) -> signal.Signals | None:
        """The next one; None where none has come after so many seconds."""
        try:
            return self._came.get(timeout=timeout)
        except queue.Empty:
            return None
