"""Factors in SQL. What may happen once is one conditional write; the count of rows decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from ..audit.event import Event
from ..audit.outbox import pend
from ..database.engine import reading, writing
from ..database.tables import factor_challenges, factors, recovery_codes
from .factor import MOST_FAILURES, Factor, Kind

_OF = (
    sa.select(factors)
    .where(factors.c.account_id == sa.bindparam("account"))
    .order_by(factors.c.created, factors.c.id)
)


class Purpose(StrEnum):
    """What a challenge was made for; it is good for nothing else."""

    ASSERT = "assert"
    ENROL_TOTP = "enrol_totp"
    ENROL_WEBAUTHN = "enrol_webauthn"


@dataclass(frozen=True, slots=True)
class Challenge:
    """Something begun that waits for its answer."""

    id: str
    account_id: str
    purpose: Purpose
    expires: int
    sid: str | None = None
    auth_time: int = 0
    """Since when the session has proved itself that began an enrolment."""
    secret: bytes | None = field(default=None, repr=False)
    label: str = ""


class SqlFactors:
    """Reads and writes the tables of factors. All raise `DatabaseUnavailable`."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    # Reading

    def of(self, account_id: str) -> list[Factor]:
        """Oldest first."""
        with reading(self._engine) as connection:
            return [_factor(row) for row in connection.execute(_OF, {"account": account_id})]

    def codes_left(self, account_id: str) -> int:
        """Recovery codes that have not been spent."""
        query = (
            sa.select(sa.func.count())
            .select_from(recovery_codes)
            .where(recovery_codes.c.account_id == account_id)
        )
        with reading(self._engine) as connection:
            return int(connection.scalar(query) or 0)

    def begun(self, challenge_id: str, account_id: str, purpose: Purpose, now: int) -> Any:
        """A challenge that can be answered; None if there is none. It stays."""
        query = sa.select(factor_challenges).where(
            _answerable(challenge_id, account_id, purpose, now)
        )
        with reading(self._engine) as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _challenge(row)

    # Challenges

    def begin(self, challenge: Challenge, now: int) -> None:
        """Store a challenge, and forget those past their time."""
        with writing(self._engine) as connection:
            connection.execute(
                sa.delete(factor_challenges).where(factor_challenges.c.expires <= now)
            )
            connection.execute(
                sa.insert(factor_challenges).values(
                    id=challenge.id,
                    account_id=challenge.account_id,
                    purpose=challenge.purpose.value,
                    sid=challenge.sid,
                    auth_time=challenge.auth_time,
                    secret=challenge.secret,
                    label=challenge.label,
                    expires=challenge.expires,
                )
            )

    def answer(self, challenge_id: str, account_id: str, purpose: Purpose, now: int) -> bool:
        """Spend a challenge; False if it was spent, is past its time, or is another's.

        Of any number of processes one is told True.
        """
        with writing(self._engine) as connection:
            return spend(connection, challenge_id, account_id, purpose, now)

    # Proving

    def use_step(self, factor: Factor, step: int, now: int) -> bool:
        """Accept the code of a time step; False for a step that is no later than the last one.

        RFC 6238 section 5.2: a code is accepted once. Of any number of processes one is told True.
        """
        return self._update(
            sa.and_(
                factors.c.id == factor.id,
                factors.c.last_step < step,
                factors.c.failures < MOST_FAILURES,
            ),
            last_step=step,
            last_used=now,
            failures=0,
        )

    def count_failure(self, account_id: str) -> None:
        """Note a wrong code, which could have been meant for any app of the account."""
        self._update(
            sa.and_(factors.c.account_id == account_id, factors.c.kind == Kind.TOTP.value),
            failures=factors.c.failures + 1,
        )

    def use_passkey(self, factor: Factor, sign_count: int, now: int) -> bool:
        """Note a passkey's new count; False if another login has moved it meanwhile."""
        return self._update(
            sa.and_(factors.c.id == factor.id, factors.c.sign_count == factor.sign_count),
            sign_count=sign_count,
            last_used=now,
        )

    def use_code(self, digest: str, event: Event) -> bool:
        """Spend a recovery code; False if there is none. One of any number is told True.

        The log is told with it: nobody but the person should have the list.
        """
        with writing(self._engine) as connection:
            spent = connection.execute(
                sa.delete(recovery_codes).where(recovery_codes.c.digest == digest)
            )
            if spent.rowcount:
                pend(connection, event)
            return bool(spent.rowcount)

    def _update(self, where: sa.ColumnElement[bool], **values: Any) -> bool:
        with writing(self._engine) as connection:
            changed = connection.execute(sa.update(factors).where(where).values(**values))
            return bool(changed.rowcount)


# Changes, each within the caller's transaction


def spend(
    connection: sa.Connection, challenge_id: str, account_id: str, purpose: Purpose, now: int
) -> bool:
    """As `SqlFactors.answer`."""
    spent = connection.execute(
        sa.delete(factor_challenges).where(_answerable(challenge_id, account_id, purpose, now))
    )
    return bool(spent.rowcount)


def add(connection: sa.Connection, factor: Factor) -> None:
    """Enrol a factor. Raises `IntegrityError` for a credential that is enrolled already."""
    if not count(connection, factor.account_id):
        # Codes of a time before the account's last factor was removed.
        forget_codes(connection, factor.account_id)
        # What was begun by the password alone: from now on that takes the factor, too.
        connection.execute(
            sa.delete(factor_challenges).where(
                factor_challenges.c.account_id == factor.account_id,
                factor_challenges.c.purpose != Purpose.ASSERT.value,
            )
        )
    connection.execute(
        sa.insert(factors).values(
            id=factor.id,
            account_id=factor.account_id,
            kind=factor.kind.value,
            label=factor.label,
            created=factor.created,
            last_used=factor.last_used,
            failures=factor.failures,
            secret=factor.secret,
            last_step=factor.last_step,
            credential_id=factor.credential_id,
            public_key=factor.public_key,
            sign_count=factor.sign_count,
            transports=list(factor.transports),
            user_verified=factor.user_verified,
            synced=factor.synced,
        )
    )


def remove(connection: sa.Connection, account_id: str, factor_id: str) -> bool:
    """Take a factor away, and with the last one the recovery codes; False if it is not there."""
    mine = sa.and_(factors.c.id == factor_id, factors.c.account_id == account_id)
    if not connection.execute(sa.delete(factors).where(mine)).rowcount:
        return False
    if not count(connection, account_id):
        forget_codes(connection, account_id)
    return True


def remove_all(connection: sa.Connection, account_id: str) -> None:
    """Take all of an account's factors, codes and challenges away."""
    for table in (factors, recovery_codes, factor_challenges):
        connection.execute(sa.delete(table).where(table.c.account_id == account_id))


def replace_codes(connection: sa.Connection, account_id: str, digests: Sequence[str]) -> None:
    """Put new recovery codes in the place of those there were."""
    forget_codes(connection, account_id)
    connection.execute(
        sa.insert(recovery_codes),
        [{"digest": digest, "account_id": account_id} for digest in digests],
    )


def forget_codes(connection: sa.Connection, account_id: str) -> None:
    connection.execute(sa.delete(recovery_codes).where(recovery_codes.c.account_id == account_id))


def count(connection: sa.Connection, account_id: str) -> int:
    """Factors of an account."""
    query = (
        sa.select(sa.func.count()).select_from(factors).where(factors.c.account_id == account_id)
    )
    return int(connection.scalar(query) or 0)


def _answerable(
    challenge_id: str, account_id: str, purpose: Purpose, now: int
) -> sa.ColumnElement[bool]:
    return sa.and_(
        factor_challenges.c.id == challenge_id,
        factor_challenges.c.account_id == account_id,
        factor_challenges.c.purpose == purpose.value,
        factor_challenges.c.expires > now,
    )


def _challenge(row: Any) -> Challenge:
    return Challenge(
        id=row.id,
        account_id=row.account_id,
        purpose=Purpose(row.purpose),
        expires=row.expires,
        sid=row.sid,
        auth_time=row.auth_time,
        secret=row.secret,
        label=row.label,
    )


def _factor(row: Any) -> Factor:
    return Factor(
        id=row.id,
        account_id=row.account_id,
        kind=Kind(row.kind),
        label=row.label,
        created=row.created,
        last_used=row.last_used,
        failures=row.failures,
        secret=row.secret,
        last_step=row.last_step,
        credential_id=row.credential_id,
        public_key=row.public_key,
        sign_count=row.sign_count,
        transports=tuple(row.transports),
        user_verified=bool(row.user_verified),
        synced=bool(row.synced),
    )
