"""Key ring: keys and their states, rotation, the published JWKS, and where keys are kept."""

from .algorithms import SEALING_ALGORITHM, SIGNING_ALGORITHMS, PrivateKey, PublicKey
from .envelope import Envelope
from .errors import (
    HsmUnavailable,
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
from .held import Hold, KeyHolder, is_held
from .held_store import HeldKeyStore
from .jwk import load_public_jwk, public_jwk, thumbprint
from .policy import RotationPolicy, jwks_cache_control
from .ring import Key, KeyRing, KeyState, generate
from .rotation import Generate, revoke, rotate, rotation_due
from .scheduler import RotationScheduler
from .store import DirectoryStore, KeyStore

__all__ = [
    "SEALING_ALGORITHM",
    "SIGNING_ALGORITHMS",
    "DirectoryStore",
    "Envelope",
    "Generate",
    "HeldKeyStore",
    "Hold",
    "HsmUnavailable",
    "InsecureStore",
    "InvalidKey",
    "InvalidPolicy",
    "InvalidRing",
    "Key",
    "KeyHolder",
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
    "is_held",
    "jwks_cache_control",
    "load_public_jwk",
    "public_jwk",
    "revoke",
    "rotate",
    "rotation_due",
    "thumbprint",
]
