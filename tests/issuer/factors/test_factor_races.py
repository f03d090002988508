"""What may be taken once is taken once, by whichever of two processes comes first."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from harness import factor_child, stacks
from harness.factors import enrol_app
from harness.issuer_app import IssuerApp

from issuer.database.engine import writing
from issuer.factors.sql_factors import Challenge, Purpose, replace_codes

ROUNDS = 12
Ask = Callable[[str], list[int]]
FAR = 10**9
"""A step that is not reached, and a time that is not."""


@contextmanager
def two_processes(issuer: IssuerApp, manner: str) -> Iterator[Ask]:
    """Asks both for the same at once; their answers."""
    url = issuer.services.settings.database_url
    command = [sys.executable, factor_child.__file__, url, issuer.account.id, manner]
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
                )
            )
            for _ in range(2)
        ]

        def heard() -> list[str]:
            return [(child.stdout.readline() if child.stdout else "").strip() for child in children]

        def ask(line: str) -> list[int]:
            for child in children:
                assert child.stdin is not None
                child.stdin.write(line + "\n")
            return [int(answer) for answer in heard()]

        assert heard() == ["ready", "ready"]
        yield ask
        for child in children:
            assert child.stdin is not None
            child.stdin.close()
            assert child.wait(30) == 0


def prepare(issuer: IssuerApp) -> None:
    """A factor, and as many challenges and recovery codes as there are rounds."""
    enrol_app(issuer)
    store, account = issuer.services.factors.store, issuer.account.id
    blank = Challenge("", account, Purpose.ASSERT, expires=FAR)
    for number in range(ROUNDS):
        store.begin(replace(blank, id=f"challenge-{number}"), 0)
    with writing(issuer.services.engine) as connection:
        replace_codes(connection, account, [f"code-{number}" for number in range(ROUNDS)])


def winners(ask: Ask) -> set[int]:
    """How many of the two were told that they have it, whatever it was."""
    found = set()
    for number in range(ROUNDS):
        lines = (f"step {FAR + number}", f"challenge challenge-{number}", f"code code-{number}")
        found |= {sum(ask(line)) for line in lines}
    return found


@stacks.both_databases
def test_of_two_processes_one_wins(issuer: IssuerApp) -> None:
    """A code of an app, a challenge and a recovery code: each lets exactly one in."""
    prepare(issuer)
    with two_processes(issuer, "careful") as ask:
        assert winners(ask) == {1}
        # Nor does a step of the past, or what nobody has made.
        for line in (f"step {FAR}", "challenge challenge-0", "challenge none", "code none"):
            assert ask(line) == [0, 0]


@stacks.anywhere
def test_without_the_condition_both_do(issuer: IssuerApp) -> None:
    """Mutant: what looks first and then writes lets both in."""
    prepare(issuer)
    with two_processes(issuer, "careless") as ask:
        assert 2 in winners(ask)
