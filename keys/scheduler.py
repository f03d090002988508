"""Keeps one issuer's ring in step with the store, and rotates it when that is due."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from .errors import InvalidPolicy, KeyRingError, NoRing
from .policy import RotationPolicy
from .ring import KeyRing, generate
from .rotation import Generate, rotate, rotation_due
from .store import KeyStore

# `rotate` counts whole seconds, so that a moment may look up to this much earlier than it is.
_ROUNDING: Final = 1.0

_log = logging.getLogger("gatepass.keys")


class RotationScheduler:
    """A daemon thread that reads the store every `interval` seconds, and rotates where due.

    Every issuer of a store runs one; the store sees to it that they do not rotate twice.
    `clock` gives seconds since the epoch. `on_change` is called with each new ring, from the
    thread that ticked. `generate` makes its keys. Threads do not survive a fork: start it in the
    worker process.

    `interval` must leave room in the policy: an issuer publishes a pending key, and stops signing
    with a demoted one, up to `interval` later than the issuer that rotated. What is left of
    `publish_margin` and `handover` is for clocks that differ. Raises InvalidPolicy.
    """

    def __init__(
        self,
        store: KeyStore,
        policy: RotationPolicy,
        clock: Callable[[], float] = time.time,
        interval: float = 30.0,
        on_change: Callable[[KeyRing], None] = lambda _ring: None,
        generate: Generate = generate,
    ) -> None:
        if interval <= 0:
            raise InvalidPolicy("interval", "must be more than 0 s")
        for name in ("publish_margin", "handover"):
            if getattr(policy, name) < interval + _ROUNDING:
                raise InvalidPolicy(
                    name, f"must be at least {interval + _ROUNDING:g} s for ticks of {interval:g} s"
                )
        self._store = store
        self._policy = policy
        self._clock = clock
        self._interval = interval
        self._on_change = on_change
        self._generate = generate
        self._ring: KeyRing | None = None
        self._read_at: float | None = None
        self._failure = ""
        self._tick_lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def ring(self) -> KeyRing:
        """The last good ring, kept through every failure of the store. Raises NoRing."""
        if self._ring is None:
            raise NoRing
        return self._ring

    @property
    def staleness(self) -> float:
        """Seconds since the store was last read with success. Raises NoRing.

        Past the policy's `handover` this issuer may sign with a key that the others have retired:
        a readiness check should fail then.
        """
        if self._read_at is None:
            raise NoRing
        return max(0.0, self._clock() - self._read_at)

    def tick(self) -> None:
        """Do one step now: read, publish, rotate if that is due, publish again.

        A failure is logged and the last good ring stays; without one, it is raised.
        """
        with self._tick_lock:
            try:
                self._step()
                if self._failure:
                    _log.info("key ring refreshed again")
                self._failure = ""
            except Exception as error:
                if self._ring is None:
                    raise
                if isinstance(error, KeyRingError):
                    # Once for each thing that goes wrong, however long it does.
                    if str(error) != self._failure:
                        _log.error("key ring not refreshed, the last one stays: %s", error)
                    self._failure = str(error)
                else:
                    _log.exception("key ring not refreshed, the last one stays")
                    self._failure = repr(error)

    def start(self) -> None:
        """Tick once, then in a background thread. Raises what the first tick raises."""
        if self._thread is not None:
            return
        self.tick()
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="gatepass-keys", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for a tick under way; the ring stays readable."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self.tick()

    def _step(self) -> None:
        now = self._clock()
        ring = self._store.load()
        self._check_not_lost(ring)
        self._read_at = now
        if ring.keys:
            self._publish(ring)
        if rotation_due(ring, int(now), self._policy):
            self._publish(self._store.update(self._rotate))

    def _rotate(self, held: KeyRing) -> KeyRing:
        # The time is taken again under the store's lock: waiting for it must not shorten the time
        # for which a new key is published. And another issuer may have been faster.
        self._check_not_lost(held)
        return rotate(held, int(self._clock()), self._policy, self._generate)

    def _check_not_lost(self, ring: KeyRing) -> None:
        # A disk that is not mounted looks like a store that was never used. A new ring there would
        # end every session, so only a restart may start afresh.
        if self._ring is not None and not ring.keys:
            raise KeyRingError("the store has become empty: restore it, or restart to start afresh")

    def _publish(self, ring: KeyRing) -> None:
        if ring != self._ring:
            self._ring = ring
            self._on_change(ring)
