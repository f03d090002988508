"""The table of attack tokens: what each is called, what it stands for, and where it is refused.

ATTACKS = every attack; each is made from one issuer's `Material` and tried at every `Place`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.attack_material import Material

Make = Callable[[Material], str]


class Place(StrEnum):
    """Where a token is taken."""

    VERIFIER = "verifier"
    """`gateway.Verifier`."""
    GATEWAY = "gateway"
    """`GET /verify` of the forward-auth service."""
    ISSUER = "issuer"
    """A bearer token at the issuer's own endpoints."""
    REFRESH = "refresh"
    """A refresh token at `/refresh`."""
    INTROSPECTION = "introspection"
    """`/introspect`, asked by a client of the token's audience."""


EVERYWHERE = frozenset(Place)
NOT_AT_REFRESH = EVERYWHERE - {Place.REFRESH, Place.INTROSPECTION}
"""Where an honest refresh token is refused."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to make a token that must be refused."""

    name: str
    clause: str
    """The rule or the advisory that it stands for."""
    code: str
    """Of the verifier's refusal: that the token was refused for what it is."""
    make: Make
    at: frozenset[Place] = EVERYWHERE


def attacks(
    clause: str, code: str, makes: Mapping[str, Make], at: frozenset[Place] = EVERYWHERE
) -> list[Attack]:
    """Attacks that stand for the same."""
    return [Attack(name, clause, code, make, at) for name, make in makes.items()]
