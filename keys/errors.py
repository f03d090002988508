"""What can go wrong with keys.

`str(error)` is for logs and operators: it may name paths and key ids, never a secret.
What goes over the wire is `code` at most.
"""

from pathlib import Path
from typing import ClassVar


class KeyRingError(Exception):
    """Root of this package's errors."""

    code: ClassVar[str] = "key_ring"


class InvalidRing(KeyRingError):
    """A ring that could not have come from `rotate`: a key id twice, or two active keys."""

    code = "invalid_ring"


class InvalidPolicy(KeyRingError, ValueError):
    """A rotation policy that would break verifiers, or not rotate at all.

    `setting` names the field at fault.
    """

    code = "invalid_policy"

    def __init__(self, setting: str, reason: str) -> None:
        self.setting = setting
        self.reason = reason
        super().__init__(f"{setting}: {reason}")


class NoActiveKey(KeyRingError):
    """The ring holds no key that may sign (or seal) with `alg` now."""

    code = "no_active_key"

    def __init__(self, alg: str) -> None:
        self.alg = alg
        super().__init__(f"no active key for {alg}")


class UnknownKey(KeyRingError):
    """The ring does not hold `kid`: never did, or no longer."""

    code = "unknown_key"

    def __init__(self, kid: str) -> None:
        self.kid = kid
        super().__init__(f"no key {kid!r} in the ring")


class InvalidKey(KeyRingError):
    """A JWK that must not be trusted; `reason` says why, without the key's own text."""

    code = "invalid_key"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class KeyStoreError(KeyRingError):
    """A store that cannot be read or written; `path` is where, `reason` what and the mend."""

    code = "key_store"

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class InsecureStore(KeyStoreError):
    """Somebody else could read or replace the keys: a mode, an owner or a link is wrong."""

    code = "key_store_insecure"


class UnreadableRing(KeyStoreError):
    """The file does not open with this secret: another secret, a changed file, or no ring."""

    code = "key_store_unreadable"


class StoreBusy(KeyStoreError):
    """Another process kept the store's lock for too long; nothing was changed."""

    code = "key_store_busy"


class HsmUnavailable(KeyRingError):
    """The token that holds the signing keys does not sign now; it may do so again by itself."""

    code = "hsm_unavailable"

    def __init__(self, token: str, reason: str) -> None:
        self.token = token
        self.reason = reason
        super().__init__(f"PKCS#11 token {token!r}: {reason}")


class NoRing(KeyRingError):
    """The scheduler has not read a ring yet; call `start` or `tick` first."""

    code = "no_ring"

    def __init__(self) -> None:
        super().__init__("no ring has been read yet: start the scheduler first")
