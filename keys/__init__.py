"""Key ring: keys and their states, rotation, the published JWKS, and where keys are kept."""

from .algorithms import SEALING_ALGORITHM, SIGNING_ALGORITHMS, PrivateKey, PublicKey
from .envelope import Envelope
from .errors import (
    InsecureStore,
    InvalidKey,
    InvalidPolicy,
    InvalidRing,
    KeyRingError,
    KeyStoreError,
    NoActiveKey,
    NoRing,
    StoreBusy,
    UnknownKey,
    UnreadableRing,
)
from .jwk import load_public_jwk, public_jwk, thumbprint
from .policy import RotationPolicy, jwks_cache_control
from .ring import Key, KeyRing, KeyState, generate
from .rotation import revoke, rotate, rotation_due
from .scheduler import RotationScheduler
from .store import DirectoryStore, KeyStore

__all__ = [
    "SEALING_ALGORITHM",
    "SIGNING_ALGORITHMS",
    "DirectoryStore",
    "Envelope",
    "InsecureStore",
    "InvalidKey",
    "InvalidPolicy",
    "InvalidRing",
    "Key",
    "KeyRing",
    "KeyRingError",
    "KeyState",
    "KeyStore",
    "KeyStoreError",
    "NoActiveKey",
    "NoRing",
    "PrivateKey",
    "PublicKey",
    "RotationPolicy",
    "RotationScheduler",
    "StoreBusy",
    "UnknownKey",
    "UnreadableRing",
    "generate",
    "jwks_cache_control",
    "load_public_jwk",
    "public_jwk",
    "revoke",
    "rotate",
    "rotation_due",
    "thumbprint",
]
