"""What the standards ask for, by clause, and the checks that show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from conformance.target import Target

DOCUMENTS = (
    "RFC 8725",
    "RFC 9068",
    "RFC 9700",
    "RFC 10017",
    "RFC 7009",
    "RFC 7662",
    "RFC 9449",
    "ASVS 5",
    "NIST SP 800-63B-4",
)


@dataclass(frozen=True, slots=True)
class Clause:
    """One requirement: where it stands, how binding it is, and what it asks for in our words."""

    document: str
    number: str
    level: str
    what: str


@dataclass(eq=False)
class Check:
    """A function that raises AssertionError where a target does not meet its clauses."""

    name: str
    run: Callable[[Target], None]
    clauses: list[Clause] = field(default_factory=list)
    needs: frozenset[str] = frozenset()
    """What a target must offer or be described by; see `Target.offers`."""
    mutants: tuple[str, ...] = ()
    """Broken targets that it must find fault with; see `mutants.MUTANTS`."""


CHECKS: list[Check] = []


def check(*, needs: str = "", fails_on: str) -> Callable[[Callable[[Target], None]], Check]:
    """Register a check; the decorators above it name its clauses.

    `needs` are names separated by spaces; `fails_on` are mutants separated by commas.
    """

    def register(run: Callable[[Target], None]) -> Check:
        name = f"{run.__module__.rpartition('.')[2]}.{run.__name__}"
        mutants = tuple(mutant.strip() for mutant in fails_on.split(","))
        made = Check(name, run, needs=frozenset(needs.split()), mutants=mutants)
        CHECKS.append(made)
        return made

    return register


def requirement(document: str, number: str, level: str, what: str) -> Callable[[Check], Check]:
    """Name a clause that a check shows; several may be named, the topmost first."""
    assert document in DOCUMENTS, document

    def name(made: Check) -> Check:
        made.clauses.insert(0, Clause(document, number, level, what))
        return made

    return name


def all_checks() -> list[Check]:
    """Every check of the pack."""
    import conformance.asvs
    import conformance.browser_apps
    import conformance.introspection
    import conformance.jwt_access_tokens
    import conformance.jwt_practices
    import conformance.nist_sessions
    import conformance.oauth_security
    import conformance.revocation  # noqa: F401 - for what they register

    return CHECKS
