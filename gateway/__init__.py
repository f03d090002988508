"""What an API gateway runs: verification without a round trip, revocation included."""

from .errors import (
    GatewayError,
    KeysUnavailable,
    Refusable,
    Refusal,
    TokenRequired,
    refusal_of,
)
from .verifier import Verifier

__all__ = [
    "GatewayError",
    "KeysUnavailable",
    "Refusable",
    "Refusal",
    "TokenRequired",
    "Verifier",
    "refusal_of",
]
