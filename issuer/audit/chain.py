"""The keyed hash chain: an event that was altered, removed, added or moved shows.

Keyed, so that whoever can write to the database cannot make a chain of his own (ASVS 16.4.2).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

GENESIS = ""
"""The hash before the first event."""
_UNKEYED = "unkeyed"


class UnknownSecret(Exception):
    """A row is keyed with a secret that the settings do not hold (any more)."""

    code = "unknown_audit_secret"


def random_salt() -> str:
    """128 random bits."""
    return secrets.token_urlsafe(16)


@dataclass(frozen=True, slots=True)
class ChainKey:
    """One secret, made ready."""

    id: str
    """Names it in the rows that are keyed with it."""
    key: bytes

    @classmethod
    def of(cls, secret: str | None) -> ChainKey:
        """The key of a secret; without one, in development, a chain that anybody can make."""
        if secret is None:
            return cls(_UNKEYED, b"")
        key = hmac.digest(secret.encode(), b"gatepass audit log", "sha256")
        return cls(hashlib.sha256(key).hexdigest()[:16], key)

    @property
    def is_secret(self) -> bool:
        return bool(self.key)

    def digest(self, salt: str, body: str) -> str:
        """Of one event; with its salt gone, nobody can guess the body from it."""
        return self._mac("event", salt, body)

    def link(self, before: str, seq: int, digest: str) -> str:
        """The hash of row `seq`, which covers the one before and the event's digest."""
        return self._mac("link", before, str(seq), digest)

    def sealed(self, text: str) -> str:
        """A text that only a holder of the key can have written."""
        return f"{self.id}.{self._mac('draft', text)}.{text}"

    def pseudonym(self, domain: str, text: str) -> str:
        """128 bits that stand for a text, the same each time, for whoever lacks the key."""
        return self._mac("pseudonym", domain, text)[:32]

    def _mac(self, *parts: str) -> str:
        # Each part with its length, so that no two lists of parts are one text.
        octets = [part.encode("utf-8", "surrogatepass") for part in parts]
        text = b"".join(len(octet).to_bytes(4, "big") + octet for octet in octets)
        return hmac.digest(self.key, text, "sha256").hex()


class ChainKeys:
    """The secret that new events are keyed with, and those before it."""

    def __init__(self, current: str | None, former: Iterable[str] = ()) -> None:
        self.current = ChainKey.of(current)
        known = [self.current, *(ChainKey.of(secret) for secret in former)]
        self._known = {key.id: key for key in known}

    def opened(self, sealed: str) -> str:
        """What was sealed. Raises `UnknownSecret`, or `ValueError` where nobody of us did."""
        key_id, mac, text = sealed.split(".", 2)
        key = self.of(key_id)
        if not hmac.compare_digest(key.sealed(text).encode(), f"{key.id}.{mac}.{text}".encode()):
            raise ValueError("not sealed under this key")
        return text

    def of(self, key_id: str) -> ChainKey:
        """The key of a row. Raises `UnknownSecret`."""
        if key_id == _UNKEYED and self.current.is_secret:
            # Where there is a secret, a row without one is anybody's.
            raise UnknownSecret(key_id)
        try:
            return self._known[key_id]
        except KeyError:
            raise UnknownSecret(key_id) from None
