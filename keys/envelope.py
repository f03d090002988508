"""The ring's file: a compact JWE around the ring (RFC 7516), or the bare ring in development."""

import json
from pathlib import Path
from typing import Final

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from .algorithms import SEALING_KEY_BYTES
from .codec import decode_ring, encode_ring
from .errors import InvalidKey, InvalidRing, KeyStoreError, UnreadableRing
from .held import Hold
from .jwk import b64url_decode, b64url_encode
from .ring import KeyRing

MOST_BYTES: Final = 4 * 2**20
"""Cap on the file's size, checked before anything is parsed."""

# OWASP Password Storage Cheat Sheet: PBKDF2-HMAC-SHA512 with 210,000 iterations.
_PBKDF2_COUNT: Final = 210_000
# A planted file must not choose how long an issuer computes; joserfc's own bound is the same.
_PBKDF2_MOST: Final = 300_000
# NIST SP 800-63B-4 section 3.1.1.2: the least for a password that is the only factor.
_PASSPHRASE_CHARACTERS: Final = 15
# Ours has about 120; so small a text cannot nest deeply either.
_HEADER_BYTES: Final = 384
_CONTENT: Final = "gatepass-keyring+json"
_MEND: Final = "set the key store's secret (32 bytes, or a passphrase), or development mode"


class _Registry(jwe.JWERegistry):
    # A year of daily sealing keys outgrows joserfc's 64 KiB, which is meant for tokens.
    max_ciphertext_length = MOST_BYTES


class Envelope:
    """Turns a ring into the file's octets and back, with one secret.

    `secret`: 32 octets are the key itself (`dir`); a passphrase of 15 characters or more goes
    through PBKDF2 (`PBES2-HS512+A256KW`); None means plain, for development only.
    `hold` gives the private halves that lie elsewhere.
    Raises KeyStoreError for a secret that cannot be used; no error shows the secret.
    """

    def __init__(
        self,
        path: Path,
        secret: bytes | str | None,
        *,
        development: bool,
        hold: Hold | None = None,
    ) -> None:
        self._path = path
        self._hold = hold
        self._key: OctKey | None = None
        if secret is None:
            if not development:
                raise KeyStoreError(path, f"keys would be stored in the clear: {_MEND}")
            return
        self._alg = "dir" if isinstance(secret, bytes) else "PBES2-HS512+A256KW"
        self._key = OctKey.import_key({"kty": "oct", "k": b64url_encode(self._check(secret))})
        self._registry = _Registry(algorithms=[self._alg, "A256GCM"])

    @property
    def encrypts(self) -> bool:
        """Whether the file is encrypted."""
        return self._key is not None

    def close(self, ring: KeyRing) -> bytes:
        """The file's octets for a ring; a fresh salt and IV each time."""
        plain = encode_ring(ring)
        if self._key is None:
            return plain
        header: dict[str, object] = {"alg": self._alg, "enc": "A256GCM", "cty": _CONTENT}
        if self._alg != "dir":
            header["p2c"] = _PBKDF2_COUNT
        return jwe.encrypt_compact(header, plain, self._key, registry=self._registry).encode()

    def open(self, octets: bytes) -> KeyRing:
        """The ring in a file's octets. Raises UnreadableRing."""
        plain = octets if self._key is None else self._decrypt(octets, self._key)
        if self._key is None and not octets.startswith(b"{"):
            raise UnreadableRing(self._path, f"the ring is encrypted: {_MEND}")
        try:
            return decode_ring(plain, self._hold)
        except (InvalidKey, InvalidRing) as error:
            raise UnreadableRing(
                self._path, f"not a usable key ring ({error}): restore it from a backup"
            ) from None

    def _check(self, secret: bytes | str) -> bytes:
        if isinstance(secret, bytes):
            if len(secret) != SEALING_KEY_BYTES:
                raise KeyStoreError(
                    self._path, f"the secret key has {len(secret)} bytes and must have 32"
                )
            return secret
        if len(secret) < _PASSPHRASE_CHARACTERS:
            raise KeyStoreError(
                self._path, f"the passphrase needs {_PASSPHRASE_CHARACTERS} characters or more"
            )
        try:
            return secret.encode("utf-8")
        except UnicodeEncodeError:
            # From None: the original error carries the passphrase.
            raise KeyStoreError(self._path, "the passphrase is not valid UTF-8") from None

    def _decrypt(self, octets: bytes, key: OctKey) -> bytes:
        if octets.startswith(b"{"):
            # Taking it would let whoever can write here put his own keys in place of ours.
            raise UnreadableRing(
                self._path,
                "the ring is not encrypted but a secret is set: move the file away "
                "(a new ring is made), or remove the secret in development",
            )
        try:
            self._check_header(octets)
            opened = jwe.decrypt_compact(octets, key, registry=self._registry)
        except (JoseError, ValueError, TypeError, KeyError, AssertionError):
            raise UnreadableRing(
                self._path,
                "does not open with this secret: it is another one, or the file was changed; "
                "set the right secret or restore the file from a backup",
            ) from None
        if opened.plaintext is None:
            raise UnreadableRing(self._path, "the ring is empty: restore it from a backup")
        return opened.plaintext

    def _check_header(self, octets: bytes) -> None:
        # Canonical in every segment, whatever the JWE library of the day lets pass.
        segments = octets.decode("ascii").split(".")
        decoded = [b64url_decode(segment) for segment in segments]
        if len(decoded[0]) > _HEADER_BYTES:
            raise ValueError("header too long")
        header = json.loads(decoded[0])
        if not isinstance(header, dict):
            raise TypeError("header is no object")
        if header.get("alg") != self._alg or header.get("cty") != _CONTENT:
            raise ValueError("another kind of file")
        count = header.get("p2c", 1)
        if type(count) is not int or not 1 <= count <= _PBKDF2_MOST:
            raise ValueError("p2c is out of range")
