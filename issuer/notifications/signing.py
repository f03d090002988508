"""Signs what relying parties and receivers are sent, under the key that signs access tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jwt

from keys import Key, KeyRingError

from .delivery import NotDelivered


class TokenSigner:
    """Each kind has a type of its own, so that none passes for another (RFC 8725 section 3.11)."""

    def __init__(self, issuer: str, signing_key: Callable[[], Key]) -> None:
        self.issuer = issuer
        self._signing_key = signing_key

    def sign(self, typ: str, claims: Mapping[str, Any]) -> str:
        """A token of the issuer's. Raises `NotDelivered` where no key signs just now."""
        try:
            key = self._signing_key()
            private: Any = key.private
            return jwt.encode(
                {"iss": self.issuer, **claims},
                private,
                algorithm=key.alg,
                headers={"typ": typ, "kid": key.kid},
            )
        except KeyRingError as error:
            raise NotDelivered(error.code) from None
