"""Whatever people, thieves, operators and time do, everybody says what the model says."""

from __future__ import annotations

import inspect
import secrets
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from harness import stacks
from harness.family_mutants import Change, changed
from harness.issuer_app import IssuerApp
from harness.life_machine import machine, walk
from harness.life_world import World
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from gateway import Verifier
from issuer.accounts import SqlAccounts
from issuer.families.memory_families import MemoryFamilies
from issuer.revoker import Revoker
from issuer.sessions.bearer import authenticate
from issuer.sessions.grant import grant
from issuer.sessions.inspect import _introspect_refresh, introspect
from issuer.sessions.listing import list_sessions
from issuer.sessions.refresh import _refresh
from revocation import entry

SETTINGS = settings(
    max_examples=6,
    stateful_step_count=20,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
SOME_STACKS = pytest.mark.parametrize(
    ("stack", "key_store"),
    [
        ("sqlite-memory", "directory"),
        ("sqlite-redis", "directory"),
        ("postgresql-redis", "database"),
    ],
    indirect=["stack"],
)
"""Every kind of store for each thing that is kept."""


@SOME_STACKS
def test_everybody_agrees_with_the_model(
    make_issuer: Callable[..., IssuerApp], stack: tuple[str, str], key_store: str
) -> None:
    """Introspection, bearer check, session list and a gateway, after any sequence of moves."""
    world = World(make_issuer, key_store=key_store)
    walk(world)
    lives = machine(world)
    if stack == ("sqlite", "memory"):
        # Other lives in each run; a failure shows the number, and `seed` lives them again.
        number = secrets.randbits(32)
        print(f"lives of seed {number}")
        lives = seed(number)(lives)
    run_state_machine_as_test(lives, settings=SETTINGS)


MUTANTS: dict[str, tuple[Any, Change]] = {
    "nothing reaches the denylist": (
        Revoker._push,
        ("add([_lasting(row.entry, least_expires) for row in rows], known)", "add([], known)"),
    ),
    "an end that the journal forgets": (
        Revoker.revoke,
        ("self._journal.append(entry, reason=reason, kept_until=kept_until, sub=sub)", "0"),
    ),
    "a password change that leaves the credential version": (
        SqlAccounts._write_credential,
        ("accounts.c.credential_version + 1", "accounts.c.credential_version"),
    ),
    "a password change that leaves the subject's version": (
        SqlAccounts._write_credential,
        ("accounts.c.sub_ver + 1", "accounts.c.sub_ver"),
    ),
    "a lost role that leaves the subject's version": (
        SqlAccounts.set_roles,
        ("(1 if lost else 0)", "0"),
    ),
    "a subject's entry that refuses its own version": (
        entry.refusal,
        ("level_of(subject) > probe.sub_ver", "level_of(subject) >= probe.sub_ver"),
    ),
    "a client's entry that spares its own second": (
        entry.refusal,
        ("level_of(party) >= probe.iat", "level_of(party) > probe.iat + 60"),
    ),
    "an issuer that does not ask the denylist": (
        authenticate,
        ("refused_by_denylist(services, claims, kid) is not None", "False"),
    ),
    "a refresh that does not look into the journal": (
        _refresh,
        ("if standing.session_ended:", "if False:"),
    ),
    "a list that shows what has ended": (
        list_sessions,
        ("if family.sid not in ended", "if True"),
    ),
    "an older generation that is the parent": (
        MemoryFamilies._apply_rules,
        ("if gen == current - 1:", "if gen < current:"),
    ),
    "a token that outlives its session": (
        grant,
        ("min(now + client.access_lifetime, int(family.end))", "now + client.access_lifetime"),
    ),
    "introspection of a spent token": (
        _introspect_refresh,
        ("or claims.gen != family.gen", ""),
    ),
    "a remembered token that never expires": (
        Verifier._verified,
        ("< verified.holds_until", "< verified.holds_until + 10**6"),
    ),
}


MEETS_IT = 0
"""A number whose first lives meet what the test below looks for; by another it takes some more."""


def make_mistake(monkeypatch: pytest.MonkeyPatch, name: str, function: Any, change: Change) -> None:
    """Change a function wherever it is used."""
    source = changed(textwrap.dedent(inspect.getsource(function)), change)
    made: dict[str, Any] = {}
    exec(
        compile(source, f"<mutant: {name}>", "exec", dont_inherit=True), function.__globals__, made
    )
    # Its code alone, so that whoever has imported the function has the mistake.
    monkeypatch.setattr(function, "__code__", made[function.__name__].__code__)


@stacks.anywhere
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_is_noticed(
    make_issuer: Callable[..., IssuerApp], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """In one life with everything in it, each mistake makes somebody disagree with the model."""
    make_mistake(monkeypatch, name, *MUTANTS[name])
    with pytest.raises(AssertionError):
        walk(World(make_issuer))


@stacks.anywhere
def test_random_lives_notice_what_the_written_one_does_not(
    make_issuer: Callable[..., IssuerApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that nobody thought of: an API is told of tokens of another, where nobody has been."""
    change = ("client.audience not in claims.aud", "False")
    make_mistake(monkeypatch, "another API's token", introspect, change)
    world = World(make_issuer)
    walk(world)
    lives = seed(MEETS_IT)(machine(world))
    with pytest.raises(AssertionError) as found:
        run_state_machine_as_test(lives, settings=settings(SETTINGS, max_examples=40))
    assert "look_at_issuer" in {entry.name for entry in found.traceback}
