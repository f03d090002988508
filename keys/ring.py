"""The key ring as a value: keys, their states, and what is published of them."""

import secrets
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from .algorithms import (
    SEALING_ALGORITHM,
    SEALING_KEY_BYTES,
    PrivateKey,
    PublicKey,
    new_private_key,
)
from .errors import InvalidRing, NoActiveKey, UnknownKey
from .jwk import b64url_encode, public_jwk, public_members, thumbprint


class KeyState(StrEnum):
    """Where a key stands. A key that is gone is not in the ring at all."""

    PENDING = "pending"
    """Published, so that verifiers learn it; does not sign yet."""
    ACTIVE = "active"
    """Signs and verifies; at most one for each algorithm."""
    RETIRING = "retiring"
    """Verifies (or opens) what it signed; signs nothing any more."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key. Times are seconds since the epoch, by the clock of whoever rotated.

    `kid` is the RFC 7638 thumbprint of an asymmetric key, and random for the sealing key.
    Equality goes by `kid` and state, not by key material; the material is never in `repr`.
    """

    kid: str
    alg: str
    state: KeyState
    created: int
    activated: int | None = None
    demoted: int | None = None
    gone_at: int | None = None
    public: PublicKey | None = field(default=None, repr=False, compare=False)
    private: PrivateKey | bytes | None = field(default=None, repr=False, compare=False)


def generate(alg: str, now: int) -> Key:
    """Make a fresh pending key for a signing algorithm or for `SEALING_ALGORITHM`.

    Raises ValueError for any other algorithm.
    """
    if alg == SEALING_ALGORITHM:
        # Not a thumbprint: that would be a published digest of the secret (RFC 7638 section 7).
        kid = b64url_encode(secrets.token_bytes(16))
        secret = secrets.token_bytes(SEALING_KEY_BYTES)
        return Key(kid, alg, KeyState.PENDING, created=now, private=secret)
    private = new_private_key(alg)
    public = private.public_key()
    kid = thumbprint(public_members(public))
    return Key(kid, alg, KeyState.PENDING, created=now, public=public, private=private)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All keys in use, oldest first. Empty is a valid ring: nothing was ever rotated.

    Raises InvalidRing when a key id stands twice or an algorithm has two active keys.
    """

    keys: tuple[Key, ...] = ()

    def __post_init__(self) -> None:
        if len({key.kid for key in self.keys}) != len(self.keys):
            raise InvalidRing("a key id stands twice in the ring")
        active = Counter(key.alg for key in self.keys if key.state is KeyState.ACTIVE)
        if crowded := [alg for alg, count in active.items() if count > 1]:
            raise InvalidRing(f"more than one active key for {', '.join(crowded)}")

    def active(self, alg: str) -> Key:
        """The one key that signs with `alg`. Raises NoActiveKey."""
        for key in self.keys:
            if key.alg == alg and key.state is KeyState.ACTIVE:
                return key
        raise NoActiveKey(alg)

    def sealing(self) -> Key:
        """The key that seals refresh tokens now. Raises NoActiveKey."""
        return self.active(SEALING_ALGORITHM)

    def get(self, kid: str) -> Key:
        """The key with this id, in whatever state. Raises UnknownKey."""
        for key in self.keys:
            if key.kid == kid:
                return key
        raise UnknownKey(kid)

    def verification_keys(self) -> dict[str, Key]:
        """Every asymmetric key by its id, in all three states."""
        return {key.kid: key for key in self.keys if key.public is not None}

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The JWK Set to publish: public halves only (RFC 7517 section 5)."""
        return {"keys": [public_jwk(key) for key in self.keys if key.public is not None]}
