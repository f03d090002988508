"""Names as keyed digests, so that the store of the counts holds no user name and no address."""

from __future__ import annotations

import hashlib

_BYTES = 16


class Digests:
    """Keyed 128-bit digests. Whoever reads the store alone cannot try names against them."""

    def __init__(self, secret: str) -> None:
        # A key of our own: the same secret encrypts the key ring.
        self._key = hashlib.blake2b(
            secret.encode(), digest_size=32, person=b"gatepass.limits"
        ).digest()

    def of(self, *parts: str) -> str:
        """The digest of some parts, in hexadecimal; no two lists of parts are taken for one."""
        digest = hashlib.blake2b(key=self._key, digest_size=_BYTES)
        for part in parts:
            octets = part.encode("utf-8", "surrogatepass")
            digest.update(len(octets).to_bytes(8, "big") + octets)
        return digest.hexdigest()
