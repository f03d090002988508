"""A process of its own on the tables of factors, which takes what may be taken once.

    factor_child.py DATABASE_URL ACCOUNT careful|careless

Each line of input is `step NUMBER`, `challenge ID` or `code DIGEST`; each is answered by 1 or 0.
The careless one looks first, and then writes without a condition.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import sqlalchemy as sa

from issuer.audit.event import Event, EventKind
from issuer.database import open_engine
from issuer.database.engine import reading
from issuer.database.tables import factors, recovery_codes
from issuer.factors import Factor
from issuer.factors.sql_factors import Purpose, SqlFactors


class Careless(SqlFactors):
    """Mutant: nothing is conditional."""

    def use_step(self, factor: Factor, step: int, now: int) -> bool:
        return self._update(factors.c.id == factor.id, last_step=step)

    def answer(self, challenge_id: str, account_id: str, purpose: Purpose, now: int) -> bool:
        return self.begun(challenge_id, account_id, purpose, now) is not None

    def use_code(self, digest: str, event: Event) -> bool:
        query = sa.select(recovery_codes).where(recovery_codes.c.digest == digest)
        with reading(self._engine) as connection:
            return connection.execute(query).one_or_none() is not None


def main(url: str, account: str, manner: str) -> None:
    """Do what the module's text says, until the input ends."""
    engine = open_engine(url)
    store = Careless(engine) if manner == "careless" else SqlFactors(engine)
    (factor,) = store.of(account)
    event = Event(kind=EventKind.FACTOR_REMOVED, time=0)
    take: dict[str, Callable[[str], bool]] = {
        "step": lambda step: store.use_step(factor, int(step), 0),
        "challenge": lambda name: store.answer(name, account, Purpose.ASSERT, 0),
        "code": lambda digest: store.use_code(digest, event),
    }
    print("ready", flush=True)
    for line in sys.stdin:
        what, argument = line.split()
        print(int(take[what](argument)), flush=True)
    engine.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:])
