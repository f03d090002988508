"""Checks what an issuer signs on its HTTP feed, with the keys that its access tokens are under."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from revocation import DenylistUnavailable
from revocation.http_wire import audience
from tokens import TokenError, UnknownKid, VerificationKey, WrongType, verify_jws
from tokens.compact import parse_header, split
from tokens.strict_json import loads_object

from .errors import KeysUnavailable


class FeedSignature:
    """`open_denylist`'s `verify` for the feed of one issuer."""

    def __init__(self, issuer: str, find_key: Callable[[str], VerificationKey]) -> None:
        """`find_key` maps a `kid` to a trusted key or raises `UnknownKid`."""
        self._issuer = issuer
        self._find_key = find_key

    def __call__(self, message: str, typ: str) -> Mapping[str, Any]:
        """The claims of a message of this `typ`, whose issuer and audience are the feed's.

        RFC 8725 sections 3.1, 3.8, 3.9, 3.11. Raises `DenylistUnavailable`.
        """
        try:
            header = parse_header(split(message, 3)[0])
            if header.get("typ") != typ:
                raise WrongType("a message of another type")
            kid = header.get("kid")
            if not isinstance(kid, str):
                raise UnknownKid("")
            claims = loads_object(verify_jws(message, self._find_key(kid)))
        except (TokenError, KeysUnavailable) as error:
            raise DenylistUnavailable(
                f"the feed's message is not signed as it must be: {error.code}"
            ) from None
        if claims.get("iss") != self._issuer or claims.get("aud") != audience(self._issuer):
            raise DenylistUnavailable("the feed's message is of another issuer")
        return claims
