"""What an API gateway runs: verification without a round trip, revocation included."""

from .errors import (
    GatewayError,
    InsufficientAuthentication,
    InsufficientScope,
    KeysUnavailable,
    Refusable,
    Refusal,
    RequestRefused,
    TokenRequired,
    refusal_of,
)
from .verifier import Verifier

__all__ = [
    "GatewayError",
    "InsufficientAuthentication",
    "InsufficientScope",
    "KeysUnavailable",
    "Refusable",
    "Refusal",
    "RequestRefused",
    "TokenRequired",
    "Verifier",
    "refusal_of",
]
