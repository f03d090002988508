"""Short-lived signed and sealed JWTs, and the refresh tokens behind them."""

from .claims import AccessClaims, RefreshClaims
from .compact import VerificationKey, verify_jws
from .errors import (
    AlgorithmRefused,
    BadSignature,
    Expired,
    HeaderRefused,
    InvalidClaim,
    LifetimeTooLong,
    Malformed,
    MissingClaim,
    NotYetValid,
    TokenError,
    TooLarge,
    UnknownKid,
    WrongAudience,
    WrongIssuer,
    WrongType,
)
from .sealing import Recipient, RefreshSealer, seal, unseal
from .signing import sign
from .verifier import AccessVerifier

__all__ = [
    "AccessClaims",
    "AccessVerifier",
    "AlgorithmRefused",
    "BadSignature",
    "Expired",
    "HeaderRefused",
    "InvalidClaim",
    "LifetimeTooLong",
    "Malformed",
    "MissingClaim",
    "NotYetValid",
    "Recipient",
    "RefreshClaims",
    "RefreshSealer",
    "TokenError",
    "TooLarge",
    "UnknownKid",
    "VerificationKey",
    "WrongAudience",
    "WrongIssuer",
    "WrongType",
    "seal",
    "sign",
    "unseal",
    "verify_jws",
]
