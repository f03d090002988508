"""Why a token was refused. Every class has a stable `code`; none carries the token itself."""

from __future__ import annotations

from typing import ClassVar


class TokenError(Exception):
    """A token that must not be accepted.

    `code` is stable and may be logged or counted; `str(error)` is for operators, not for the wire:
    RFC 6750 section 3.1 has one answer, `invalid_token`, for all of these.
    """

    code: ClassVar[str] = "invalid_token"


class TooLarge(TokenError):
    """A token, or one part of it, above its cap; found before anything is parsed."""

    code = "too_large"

    def __init__(self, part: str, size: int, limit: int) -> None:
        super().__init__(f"{part} is {size} characters long; the limit is {limit}")
        self.part = part
        self.size = size
        self.limit = limit


class Malformed(TokenError):
    """Not a strict compact serialization (RFC 7515 section 7.1, RFC 7516 section 7.1)."""

    code = "malformed"


class AlgorithmRefused(TokenError):
    """An algorithm outside the allow-list, or not the key's own (RFC 8725 sections 3.1, 3.2)."""

    code = "algorithm_refused"


class HeaderRefused(TokenError):
    """A header member that we never follow or do not understand (RFC 8725 section 3.10)."""

    code = "header_refused"


class WrongType(TokenError):
    """Another kind of token (RFC 8725 section 3.11)."""

    code = "wrong_type"


class UnknownKid(TokenError):
    """No trusted key has this `kid`."""

    code = "unknown_kid"

    def __init__(self, kid: str) -> None:
        super().__init__("no trusted key has this kid")
        self.kid = kid


class BadSignature(TokenError):
    """The signature, or the authentication tag, does not verify."""

    code = "bad_signature"


class MissingClaim(TokenError):
    """A required claim is absent (RFC 9068 section 2.2)."""

    code = "missing_claim"

    def __init__(self, claim: str) -> None:
        super().__init__(f"claim {claim!r} is missing")
        self.claim = claim


class InvalidClaim(TokenError):
    """A claim of the wrong form."""

    code = "invalid_claim"

    def __init__(self, claim: str, why: str) -> None:
        super().__init__(f"claim {claim!r} {why}")
        self.claim = claim


class NewerFormat(TokenError):
    """A refresh token of a format that only a newer version of the issuer reads."""

    code = "newer_format"

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"the token is of format {found}, this version knows {known}")
        self.found = found
        self.known = known


class WrongIssuer(TokenError):
    """Another issuer's token (RFC 8725 section 3.8)."""

    code = "wrong_issuer"


class WrongAudience(TokenError):
    """A token meant for somebody else (RFC 8725 section 3.9)."""

    code = "wrong_audience"


class Expired(TokenError):
    """At or past `exp` plus leeway (RFC 7519 section 4.1.4: "on or after")."""

    code = "expired"

    def __init__(self, exp: int, now: float) -> None:
        super().__init__(f"expired at {exp}, it is {now:.3f}")
        self.exp = exp
        self.now = now


class NotYetValid(TokenError):
    """`nbf` or `iat` lies in the future beyond the leeway (RFC 7519 section 4.1.5)."""

    code = "not_yet_valid"


class LifetimeTooLong(TokenError):
    """`exp - iat` above the configured maximum, so that a denylist entry could expire before it."""

    code = "lifetime_too_long"
