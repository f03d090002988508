"""A store whose signing keys lie in a holder: the ring refers to them, and they go with it."""

import logging
import time
from collections.abc import Callable

from .algorithms import SEALING_ALGORITHM
from .errors import KeyRingError
from .held import KeyHolder, is_held
from .ring import Key, KeyRing, KeyState, generate
from .store import KeyStore

_log = logging.getLogger("gatepass.keys")


class HeldKeyStore:
    """Implements `KeyStore` on another store; what leaves that ring is destroyed at the holder.

    A retired key's private half goes `grace` seconds after its demotion, because until then
    another issuer may not have read the new ring and still sign: give the policy's `handover`. A
    revoked key's goes at once. Nothing but a key of this ring is ever destroyed, so that two rings
    may share a holder. Where the holder does not answer, every `load` tries again.

    A process killed between a revocation and the destruction leaves a private half that no ring
    knows: it signs nothing, and stays until an operator removes it.
    """

    def __init__(
        self,
        inner: KeyStore,
        holder: KeyHolder,
        *,
        grace: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.inner = inner
        self._holder = holder
        self._grace = grace
        self._clock = clock
        self._owed: set[str] = set()
        self._destroyed: set[str] = set()
        self._failure = ""

    def generate(self, alg: str, now: int) -> Key:
        """Make a pending key: at the holder, unless it is the sealing key, which is symmetric."""
        return (generate if alg == SEALING_ALGORITHM else self._holder.generate)(alg, now)

    def check(self, key: Key) -> None:
        """Return if `key` could sign now, wherever its private half lies. Raises KeyRingError."""
        if is_held(key):
            self._holder.check(key.kid)

    def load(self) -> KeyRing:
        """See `KeyStore.load`."""
        ring = self.inner.load()
        self._destroy(ring)
        return ring

    def update(self, fn: Callable[[KeyRing], KeyRing]) -> KeyRing:
        """See `KeyStore.update`. What `fn` makes is at the holder already when it fails."""
        before: set[str] = set()

        def remembered(old: KeyRing) -> KeyRing:
            before.update(key.kid for key in old.keys if is_held(key))
            return fn(old)

        ring = self.inner.update(remembered)
        self._owed |= before - {key.kid for key in ring.keys}
        self._destroy(ring)
        return ring

    def _destroy(self, ring: KeyRing) -> None:
        retired = {
            key.kid
            for key in ring.keys
            if key.state is KeyState.RETIRING
            and key.public is not None
            and key.demoted is not None
            and key.demoted + self._grace <= self._clock()
        }
        self._destroyed &= retired
        for kid in (self._owed | retired) - self._destroyed:
            try:
                self._holder.destroy(kid)
            except KeyRingError as error:
                if str(error) != self._failure:
                    _log.warning("a key that has left is not destroyed yet: %s", error)
                self._failure = str(error)
                return
            self._failure = ""
            self._owed.discard(kid)
            self._destroyed |= {kid} & retired
