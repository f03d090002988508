"""Short-lived signed and sealed JWTs, and the refresh tokens behind them."""

from .claims import AccessClaims, RefreshClaims
from .compact import verify_jws
from .errors import (
    AlgorithmRefused,
    BadSignature,
    Expired,
    HeaderRefused,
    InvalidClaim,
    LifetimeTooLong,
    Malformed,
    MissingClaim,
    NewerFormat,
    NotYetValid,
    TokenError,
    TooLarge,
    UnknownKid,
    WrongAudience,
    WrongIssuer,
    WrongType,
)
from .sealing import Recipient, RefreshSealer, is_sealed, seal, unseal
from .signing import sign
from .verification_key import VerificationKey, signature_libraries
from .verifier import DEFAULT_LEEWAY, MAX_LEEWAY, AccessVerifier

__all__ = [
    "DEFAULT_LEEWAY",
    "MAX_LEEWAY",
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
    "NewerFormat",
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
    "is_sealed",
    "seal",
    "sign",
    "signature_libraries",
    "unseal",
    "verify_jws",
]
