"""Seals the secrets of authenticator apps before they are written to SQL."""

from __future__ import annotations

import os
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from .factor import FactorUnreadable

# The count of the key ring's own envelope (OWASP Password Storage Cheat Sheet). The salt only
# separates the two uses of one secret: in production that has 22 random characters or more.
_COUNT = 210_000
_SALT = b"gatepass: secrets of second factors"
_NONCE = 12
_PLAIN, _SEALED = b"\x00", b"\x01"


class FactorSeal:
    """AES-256-GCM under a key derived from `keys_secret`; each secret is bound to its factor."""

    def __init__(self, secret: str | None) -> None:
        """None leaves secrets in the clear, which the settings allow in development alone."""
        self._secret = secret

    @cached_property
    def _cipher(self) -> AESGCM:
        # When it is first needed: it costs a tenth of a second.
        kdf = PBKDF2HMAC(algorithm=SHA512(), length=32, salt=_SALT, iterations=_COUNT)
        return AESGCM(kdf.derive((self._secret or "").encode()))

    def close(self, plain: bytes, owner: str) -> bytes:
        """What is stored; `owner` names whose it is, and opens it again."""
        if self._secret is None:
            return _PLAIN + plain
        nonce = os.urandom(_NONCE)
        return _SEALED + nonce + self._cipher.encrypt(nonce, plain, owner.encode())

    def open(self, stored: bytes, owner: str) -> bytes:
        """Raises `FactorUnreadable` for what another secret sealed, or for another factor.

        With a secret nothing plain is taken: whoever can write rows could put in his own.
        """
        kind, rest = stored[:1], stored[1:]
        if kind == (_PLAIN if self._secret is None else _SEALED):
            if self._secret is None:
                return rest
            try:
                return self._cipher.decrypt(rest[:_NONCE], rest[_NONCE:], owner.encode())
            except (InvalidTag, ValueError):
                pass
        raise FactorUnreadable("a factor's secret does not open: keys_secret is another one")
