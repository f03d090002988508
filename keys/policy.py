"""How long a key stays in each state, and why that is long enough."""

from dataclasses import dataclass
from typing import Final

from .algorithms import SEALING_ALGORITHM, SIGNING_ALGORITHMS
from .errors import InvalidPolicy

_DAY: Final = 86_400
# Keeps the ring's file and the JWKS small whatever the settings.
_MOST_KEYS: Final = 1000


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """Settings of rotation, in whole seconds. Raises InvalidPolicy for a set that cannot work.

    All issuers of one store must run with the same policy. Before `access_lifetime`,
    `refresh_lifetime` or `cache_lifetime` is lowered, what was issued or cached under the longer
    one must have run out: a key demoted afterwards is kept for the new, shorter time.
    """

    algorithms: tuple[str, ...] = ("ES256",)
    signing_period: int = 30 * _DAY
    """How long a signing key is active."""
    sealing_period: int = _DAY
    """How long a sealing key is active: few encryptions under one AES-GCM key."""
    cache_lifetime: int = 300
    """`max-age` of the JWKS."""
    publish_margin: int = 60
    """What a new key waits beyond that: for issuers that read the store a little later (their
    tick interval), clocks that differ, and the answer's way to the verifier."""
    access_lifetime: int = 300
    """The longest access token of any client."""
    refresh_lifetime: int = 30 * _DAY
    """The longest refresh token of any client."""
    leeway: int = 60
    """Clock skew that verifiers forgive after `exp`."""
    handover: int = 60
    """How long after a demotion another issuer may still sign with the old key."""

    def __post_init__(self) -> None:
        self._check_algorithms()
        for name in ("signing_period", "sealing_period", "access_lifetime", "refresh_lifetime"):
            self._check_seconds(name, least=1)
        # A lead of 0 would let a key be made and promoted by two calls in the same second.
        self._check_seconds("publish_margin", least=1)
        for name in ("cache_lifetime", "leeway", "handover"):
            self._check_seconds(name, least=0)
        for name in ("signing_period", "sealing_period"):
            if getattr(self, name) <= self.lead:
                # Otherwise a key's successor would be due before the key itself is active.
                raise InvalidPolicy(
                    name, f"must be longer than cache_lifetime + publish_margin ({self.lead} s)"
                )
        kept = {alg: self.keep(alg) // self.period(alg) + 3 for alg in self.all_algorithms}
        if sum(kept.values()) > _MOST_KEYS:
            most = max(kept, key=kept.__getitem__)
            raise InvalidPolicy(
                "sealing_period" if most == SEALING_ALGORITHM else "signing_period",
                f"so short that more than {_MOST_KEYS} keys would have to be kept",
            )

    def _check_algorithms(self) -> None:
        algorithms: object = self.algorithms
        if not isinstance(algorithms, tuple) or not algorithms:
            raise InvalidPolicy("algorithms", "must be a tuple of at least one algorithm")
        if unknown := [alg for alg in algorithms if alg not in SIGNING_ALGORITHMS]:
            raise InvalidPolicy("algorithms", f"not a signing algorithm: {unknown[0]!r}")
        if len(set(algorithms)) != len(algorithms):
            raise InvalidPolicy("algorithms", "an algorithm stands twice")

    def _check_seconds(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if type(value) is not int or value < least:
            raise InvalidPolicy(name, f"must be a whole number of seconds, at least {least}")

    @property
    def all_algorithms(self) -> tuple[str, ...]:
        """Signing algorithms and the sealing one: what the ring holds keys for."""
        return (*self.algorithms, SEALING_ALGORITHM)

    @property
    def lead(self) -> int:
        """Least time between publishing a key and its first signature, seconds."""
        return self.cache_lifetime + self.publish_margin

    def period(self, alg: str) -> int:
        """How long a key of `alg` is active, seconds."""
        return self.sealing_period if alg == SEALING_ALGORITHM else self.signing_period

    def keep(self, alg: str) -> int:
        """How long a demoted key of `alg` still verifies, seconds.

        The last token may be signed `handover` after the demotion, lives its whole lifetime and is
        accepted for `leeway` more; at exactly that second it is refused anyway.
        """
        lifetime = self.refresh_lifetime if alg == SEALING_ALGORITHM else self.access_lifetime
        return lifetime + self.leeway + self.handover


def jwks_cache_control(policy: RotationPolicy) -> str:
    """`Cache-Control` of the JWKS answer: the promise that `rotate` keeps (RFC 9111 5.2.2.1)."""
    return f"public, max-age={policy.cache_lifetime}"
