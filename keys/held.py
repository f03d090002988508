"""Private halves that lie elsewhere: the ring refers to them, and whoever holds them signs."""

from collections.abc import Callable
from typing import Protocol

from .algorithms import PrivateKey, PublicKey
from .ring import Key


class Held:
    """Marks a private key that signs where it is kept and cannot be read."""


Hold = Callable[[str, str, PublicKey], PrivateKey]
"""Makes the private key (a `Held` one) of a `kid`, an `alg` and a public half. Asks nobody."""


class KeyHolder(Protocol):
    """What makes keys, keeps their private halves and signs with them."""

    def hold(self, kid: str, alg: str, public: PublicKey) -> PrivateKey:
        """See `Hold`."""
        ...

    def check(self, kid: str) -> None:
        """Return if it would sign with this key now. Raises KeyRingError."""
        ...

    def generate(self, alg: str, now: int) -> Key:
        """Make a pending key for a signing algorithm. Raises KeyRingError."""
        ...

    def destroy(self, kid: str) -> None:
        """Destroy the private half, if there still is one. May be repeated. Raises KeyRingError."""
        ...


def is_held(key: Key) -> bool:
    """Whether the private half lies elsewhere."""
    private: object = key.private
    return isinstance(private, Held)
