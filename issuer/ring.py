"""What an issuer does with its key ring: one key signs, others verify, revoked ones go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from keys import Generate, Key, KeyRing, NoActiveKey, RotationPolicy, UnknownKey, revoke
from tokens import UnknownKid, VerificationKey


def signing_key(ring: KeyRing, algorithms: Sequence[str]) -> Key:
    """The active key of the first configured algorithm that has one. Raises `NoActiveKey`."""
    for algorithm in algorithms:
        try:
            return ring.active(algorithm)
        except NoActiveKey:
            # A newly configured algorithm is still being published.
            continue
    for key in ring.verification_keys().values():
        if key.private is not None and key.activated is not None:
            return key
    raise NoActiveKey(algorithms[0])


def without(
    ring: KeyRing, kids: Iterable[str], now: int, policy: RotationPolicy, make: Generate
) -> KeyRing:
    """As `keys.revoke` for each; those that are gone already are no error."""
    for kid in kids:
        with suppress(UnknownKey):
            ring = revoke(ring, kid, now, policy, make)
    return ring


class RingKeys:
    """Finds verification keys in the issuer's own ring, made ready once for each ring."""

    def __init__(self, ring: Callable[[], KeyRing]) -> None:
        self._ring = ring
        self._known: tuple[KeyRing, dict[str, VerificationKey]] | None = None

    def __call__(self, kid: str) -> VerificationKey:
        ring = self._ring()
        known = self._known
        if known is None or known[0] is not ring:
            known = self._known = (ring, _ready(ring))
        try:
            return known[1][kid]
        except KeyError:
            raise UnknownKid(kid) from None


def _ready(ring: KeyRing) -> dict[str, VerificationKey]:
    return {
        kid: VerificationKey.of(kid, key.alg, key.public)
        for kid, key in ring.verification_keys().items()
        if key.public is not None
    }
