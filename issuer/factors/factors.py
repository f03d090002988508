"""An account's second factors: whether it has any, and whether what is given proves one."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..audit.event import EventKind
from ..audit.outbox import happened
from ..crash_points import CrashPoint, reach
from . import recovery, totp
from .factor import (
    OTP_METHODS,
    RECOVERY,
    Factor,
    FactorRefused,
    FactorRequired,
    GivenFactor,
    Kind,
)
from .passkeys import (
    CHALLENGE_BYTES,
    TIMEOUT,
    NewPasskey,
    RelyingParty,
    challenge_in,
    credential_id_in,
)
from .sealing import FactorSeal
from .sql_factors import Challenge, Purpose, SqlFactors

ENROLMENT_LIFETIME = 600
"""Seconds in which an enrolment must be confirmed."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Who enrols a factor, in which session, and since when that has proved itself."""

    account_id: str
    username: str
    sid: str
    auth_time: int


class Factors:
    """Everything about factors that needs no session; changes of them are in `changes`."""

    def __init__(
        self,
        store: SqlFactors,
        seal: FactorSeal,
        relying_party: RelyingParty | None,
        *,
        name: str,
        clock: Callable[[], float],
    ) -> None:
        """`relying_party` None: no passkeys. `name` is what authenticator apps show."""
        self.store = store
        self.relying_party = relying_party
        self._seal = seal
        self._name = name
        self._clock = clock

    def of(self, account_id: str) -> list[Factor]:
        """The account's factors; none: its password is all that it is asked for."""
        return self.store.of(account_id)

    # Proving

    def check(self, account_id: str, given: GivenFactor) -> tuple[str, ...]:
        """What `given` adds to `amr`; nothing for an account that has no factor.

        Called once the password was right, and within the limits on guessing. Raises
        `FactorRequired`, `FactorRefused`, `FactorUnreadable`, `DatabaseUnavailable`.
        """
        held = self.of(account_id)
        if not held:
            return ()
        if given.otp is not None:
            return self._check_otp(held, given.otp)
        if given.recovery_code is not None:
            return self._check_recovery_code(account_id, given.recovery_code)
        if given.webauthn is not None:
            return self._check_passkey(held, given.webauthn)
        raise self._required(account_id, held)

    def _required(self, account_id: str, held: Sequence[Factor]) -> FactorRequired:
        kinds = [str(kind) for kind in sorted({one.kind for one in held if self._usable(one)})]
        if self.store.codes_left(account_id):
            kinds.append(RECOVERY)
        options = None
        if self.relying_party is not None and Kind.WEBAUTHN in kinds:
            challenge = self._begin(Purpose.ASSERT, account_id, TIMEOUT)
            options = self.relying_party.assertion_options(challenge, held)
        return FactorRequired(kinds, options)

    def _usable(self, factor: Factor) -> bool:
        if factor.kind is Kind.WEBAUTHN:
            return self.relying_party is not None
        return not factor.locked

    def _check_otp(self, held: Sequence[Factor], code: str) -> tuple[str, ...]:
        now = self._clock()
        apps = [factor for factor in held if factor.kind is Kind.TOTP]
        usable = [factor for factor in apps if not factor.locked]
        if not usable:
            raise FactorRefused("locked" if apps else "not_enrolled")
        for factor in usable:
            step = totp.matching_step(self._secret_of(factor), code, now)
            if step is None:
                continue
            if not self.store.use_step(factor, step, int(now)):
                raise FactorRefused("spent_code")
            reach(CrashPoint.FACTOR_PROVED)
            return OTP_METHODS
        self.store.count_failure(held[0].account_id)
        reach(CrashPoint.FACTOR_PROVED)
        raise FactorRefused("wrong_code")

    def _check_recovery_code(self, account_id: str, code: str) -> tuple[str, ...]:
        event = happened(
            EventKind.FACTOR_REMOVED,
            self._clock(),
            why="spent",
            sub=account_id,
            details={"factor": RECOVERY},
        )
        if not self.store.use_code(recovery.digest(account_id, code), event):
            raise FactorRefused("wrong_recovery_code")
        reach(CrashPoint.FACTOR_PROVED)
        return OTP_METHODS

    def _check_passkey(
        self, held: Sequence[Factor], credential: Mapping[str, Any]
    ) -> tuple[str, ...]:
        now = int(self._clock())
        wanted = credential_id_in(credential)
        found = [one for one in held if one.credential_id == wanted]
        if self.relying_party is None or not found:
            raise FactorRefused("unknown_credential")
        factor = found[0]
        # Spent before it is looked at: what fails has been tried, too (section 13.4.3).
        challenge = challenge_in(credential)
        if not self.store.answer(_digest(challenge), factor.account_id, Purpose.ASSERT, now):
            raise FactorRefused("spent_challenge")
        reach(CrashPoint.FACTOR_ANSWERED)
        sign_count = self.relying_party.asserted(credential, challenge, factor)
        if not self.store.use_passkey(factor, sign_count, now):
            raise FactorRefused("sign_count")
        reach(CrashPoint.FACTOR_PROVED)
        return factor.methods

    # Enrolling

    def begin_totp(self, who: Enrolment, label: str) -> tuple[str, str, str]:
        """The enrolment's id, the secret as apps take it, and its otpauth URI: told this once."""
        secret = totp.new_secret()
        enrolment_id = secrets.token_urlsafe(16)
        self.store.begin(
            Challenge(
                enrolment_id,
                who.account_id,
                Purpose.ENROL_TOTP,
                int(self._clock()) + ENROLMENT_LIFETIME,
                sid=who.sid,
                auth_time=who.auth_time,
                secret=self._seal.close(secret, _owner(who.account_id, enrolment_id)),
                label=label,
            ),
            int(self._clock()),
        )
        reach(CrashPoint.FACTOR_BEGUN)
        uri = totp.otpauth_uri(secret, username=who.username, name=self._name)
        return enrolment_id, totp.spelled(secret), uri

    def confirmed_totp(
        self, account_id: str, sid: str, enrolment_id: str, code: str
    ) -> tuple[Factor, int] | None:
        """The factor that an enrolment's first right code makes, and since when its session counts.

        None where no such enrolment waits. Raises `FactorRefused` for a wrong code.
        """
        now = self._clock()
        begun = self.store.begun(enrolment_id, account_id, Purpose.ENROL_TOTP, int(now))
        if begun is None or begun.sid != sid or begun.secret is None:
            return None
        secret = self._seal.open(begun.secret, _owner(account_id, enrolment_id))
        step = totp.matching_step(secret, code, now)
        if step is None:
            raise FactorRefused("wrong_code")
        factor = Factor(
            id=enrolment_id,
            account_id=account_id,
            kind=Kind.TOTP,
            label=begun.label,
            created=int(now),
            secret=begun.secret,
            last_step=step,
        )
        return factor, begun.auth_time

    def begin_passkey(self, who: Enrolment, relying_party: RelyingParty) -> dict[str, Any]:
        """What a browser makes a passkey from."""
        challenge = self._begin(
            Purpose.ENROL_WEBAUTHN,
            who.account_id,
            ENROLMENT_LIFETIME,
            sid=who.sid,
            auth_time=who.auth_time,
        )
        return relying_party.registration_options(
            challenge,
            account_id=who.account_id,
            username=who.username,
            held=self.of(who.account_id),
        )

    def registered_passkey(
        self,
        account_id: str,
        sid: str,
        credential: Mapping[str, Any],
        relying_party: RelyingParty,
        label: str,
    ) -> tuple[Factor, int]:
        """The factor that a browser's answer makes, and since when its session counts.

        Raises `FactorRefused`.
        """
        now = int(self._clock())
        challenge = challenge_in(credential)
        digest = _digest(challenge)
        begun = self.store.begun(digest, account_id, Purpose.ENROL_WEBAUTHN, now)
        if (
            begun is None
            or begun.sid != sid
            or not self.store.answer(digest, account_id, Purpose.ENROL_WEBAUTHN, now)
        ):
            raise FactorRefused("spent_challenge")
        reach(CrashPoint.FACTOR_ANSWERED)
        made: NewPasskey = relying_party.registered(credential, challenge)
        factor = Factor(
            id=secrets.token_urlsafe(16),
            account_id=account_id,
            kind=Kind.WEBAUTHN,
            label=label,
            created=now,
            credential_id=made.credential_id,
            public_key=made.public_key,
            sign_count=made.sign_count,
            transports=made.transports,
            user_verified=True,
            synced=made.synced,
        )
        return factor, begun.auth_time

    def _begin(
        self,
        purpose: Purpose,
        account_id: str,
        lifetime: int,
        *,
        sid: str | None = None,
        auth_time: int = 0,
    ) -> bytes:
        """Store a new challenge, as a digest; the challenge itself."""
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        now = int(self._clock())
        self.store.begin(
            Challenge(
                _digest(challenge),
                account_id,
                purpose,
                now + lifetime,
                sid=sid,
                auth_time=auth_time,
            ),
            now,
        )
        reach(CrashPoint.FACTOR_BEGUN)
        return challenge

    def _secret_of(self, factor: Factor) -> bytes:
        return self._seal.open(factor.secret or b"", _owner(factor.account_id, factor.id))


def _owner(account_id: str, factor_id: str) -> str:
    """What a sealed secret is bound to."""
    return f"{account_id}/{factor_id}"


def _digest(challenge: bytes) -> str:
    return hashlib.sha256(challenge).hexdigest()
