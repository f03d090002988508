"""What a second factor is, what a request may give for one, and how it is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from ..accounts import BadCredentials

MOST_FACTORS = 10
"""Of one account."""
MOST_FAILURES = 100
"""Wrong codes in a row after which an authenticator app's are refused for good.

SP 800-63B-4 section 3.2.2: no more than 100, beside the limits in time.
"""


class Kind(StrEnum):
    """What can be enrolled; the text is what is stored and answered."""

    TOTP = "totp"
    WEBAUTHN = "webauthn"


RECOVERY = "recovery_code"
"""How a login may be answered that has neither at hand."""


class FactorError(Exception):
    """The root of this package's errors; `code` is stable."""

    code: ClassVar[str] = "factor_error"


class FactorRequired(FactorError):
    """The password was right, and a second factor is missing. Nothing was created or counted."""

    code = "factor_required"

    def __init__(self, factors: Sequence[str], webauthn: Mapping[str, Any] | None = None) -> None:
        """`factors` that would do; `webauthn` is what a browser makes an assertion from."""
        super().__init__("a second factor is required")
        self.factors = tuple(factors)
        self.webauthn = webauthn


class FactorRefused(BadCredentials):
    """A second factor that is wrong, spent or not the account's. Counts as a guess.

    `why` is for the audit log; the caller is told no more than that it was refused.
    """

    code = "factor_refused"

    def __init__(self, why: str) -> None:
        super().__init__(f"the second factor was refused: {why}", why)


class FactorUnreadable(FactorError):
    """A stored secret does not open under this `keys_secret`; nobody gets in by it."""

    code = "factor_unreadable"


@dataclass(frozen=True, slots=True)
class GivenFactor:
    """What a request gives beside the password; at most one of them."""

    otp: str | None = field(default=None, repr=False)
    recovery_code: str | None = field(default=None, repr=False)
    webauthn: Mapping[str, Any] | None = field(default=None, repr=False)
    """A `PublicKeyCredential` with an assertion, as `toJSON()` writes it."""

    def __bool__(self) -> bool:
        return not (self.otp is None and self.recovery_code is None and self.webauthn is None)


NOTHING = GivenFactor()


@dataclass(frozen=True, slots=True)
class Factor:
    """One enrolled factor. Times are seconds since the epoch."""

    id: str
    account_id: str
    kind: Kind
    label: str
    created: int
    last_used: int | None = None
    failures: int = 0
    """Wrong codes in a row, of all places together."""
    secret: bytes | None = field(default=None, repr=False)
    """TOTP: sealed."""
    last_step: int = 0
    """TOTP: the latest time step whose code was accepted (RFC 6238 section 5.2)."""
    credential_id: str | None = None
    """WebAuthn: base64url."""
    public_key: bytes | None = field(default=None, repr=False)
    """WebAuthn: a COSE key."""
    sign_count: int = 0
    transports: tuple[str, ...] = ()
    user_verified: bool = False
    synced: bool = False
    """WebAuthn: whether its key may leave the authenticator, by the authenticator's word."""

    @property
    def locked(self) -> bool:
        """Whether there were too many wrong codes."""
        return self.failures >= MOST_FAILURES

    @property
    def methods(self) -> tuple[str, ...]:
        """What proving it adds to `amr` (RFC 8176 section 2).

        A passkey is a second factor that also checks who is there: PIN or biometric, `user`.
        """
        if self.kind is Kind.TOTP:
            return OTP_METHODS
        return ("swk" if self.synced else "hwk", "user", "mfa")

    def described(self) -> dict[str, Any]:
        """What its owner and operators see."""
        told: dict[str, Any] = {
            "id": self.id,
            "kind": self.kind.value,
            "label": self.label,
            "created": self.created,
            "last_used": self.last_used,
            "locked": self.locked,
        }
        if self.kind is Kind.WEBAUTHN:
            told["synced"] = self.synced
        return told


OTP_METHODS = ("otp", "mfa")
"""Of a code that is good for one login, from an app or from the list of recovery codes."""
