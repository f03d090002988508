"""The comparison with the model is worth something: it fails for stores that are nearly right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from harness.family_mutants import Change, changed_memory_families, changed_scripts
from harness.millisecond_clock import MillisecondClock
from harness.rotation_machine import FINITE, OpenStore, machine
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from issuer.families import FamilyStore, RotationRules
from issuer.families.redis_families import RedisFamilies

SETTINGS = settings(
    max_examples=300,
    stateful_step_count=25,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
BOUNDLESS = RotationRules(reuse_interval=10, retry_window=None)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake, as it looks in Lua and in Python (None: it cannot be made there)."""

    name: str
    lua: Change
    python: Change | None
    script: str = "rotate"
    windows: RotationRules = BOUNDLESS


MUTANTS = [
    Mutant(
        "a late retry is not handed out",
        (
            "'handed', text(now))\n    return current('retried_late')",
            "'handed', handed)\n    return current('retried_late')",
        ),
        (
            '                record.handed = now\n                return "retried_late"',
            '                return "retried_late"',
        ),
    ),
    Mutant(
        "late retries without a limit",
        ("and in_window and (late_seen or late_streak < 3)", "and in_window"),
        ("and in_window and unspent", "and in_window"),
    ),
    Mutant(
        "one late generation too many",
        ("late_streak < 3", "late_streak < 4"),
        ("LATE_STREAK_LIMIT = 3", "LATE_STREAK_LIMIT = 4"),
    ),
    Mutant(
        "one late generation too few",
        ("late_streak < 3", "late_streak < 2"),
        ("LATE_STREAK_LIMIT = 3", "LATE_STREAK_LIMIT = 2"),
    ),
    Mutant(
        "further retries of a late generation are not free",
        ("    if not late_seen then\n", "    if true then\n"),
        ("                if not record.late_seen:\n", "                if True:\n"),
    ),
    Mutant(
        "a late generation may not be retried again at the limit",
        ("(late_seen or late_streak < 3)", "(late_streak < 3)"),
        (
            "unspent = record.late_seen or record.late_streak",
            "unspent = record.late_streak",
        ),
    ),
    Mutant(
        "the streak never ends",
        ("    late_streak = 0\n", ""),
        ("            record.late_streak = 0\n", "            pass\n"),
    ),
    Mutant(
        "the streak ends with each generation",
        ("  if not late_seen then\n    late_streak = 0\n  end\n", "  late_streak = 0\n"),
        (
            "        if not record.late_seen:\n            record.late_streak = 0\n",
            "        record.late_streak = 0\n",
        ),
    ),
    Mutant(
        "a new generation counts as late already",
        ("'confirmed', 0, 'late_seen', 0, 'late_streak'", "'confirmed', 0, 'late_streak'"),
        ("        record.late_seen = False\n", ""),
    ),
    Mutant(
        "confirmation does not matter",
        ("if not confirmed and in_window", "if in_window"),
        ("return not record.confirmed and in_window", "return in_window"),
    ),
    Mutant(
        "a repeated token does not confirm",
        ("    redis.call('HSET', family, 'confirmed', 1)\n", ""),
        ("                record.confirmed = True\n", ""),
    ),
    Mutant(
        "a new generation is confirmed already",
        ("    'confirmed', 0, 'late_seen'", "    'late_seen'"),
        ("        record.confirmed = False\n", ""),
    ),
    Mutant(
        "a generation from the future is reuse",
        ("ending('rolled_back')", "ending('reuse')"),
        ('return "rolled_back"', 'return "reuse"'),
    ),
    Mutant(
        "a generation from the future is as good as the current one",
        ("if g == gen then", "if g >= gen then"),
        ("        if gen == current:\n", "        if gen >= current:\n"),
    ),
    Mutant(
        "any older generation is as good as the parent",
        ("if g == gen - 1 then", "if g <= gen - 1 then"),
        ("        if gen == current - 1:\n", "        if gen <= current - 1:\n"),
    ),
    Mutant(
        "the parent is never resent",
        ("    return current('resent')\n", ""),
        ('                return "resent"\n', "                pass\n"),
    ),
    Mutant(
        "a resend is not handed out",
        ("    if not confirmed then\n", "    if false then\n"),
        ("                if not record.confirmed:\n", "                if False:\n"),
    ),
    Mutant(
        "a resend prolongs the interval of what was used",
        ("    if not confirmed then\n", "    if true then\n"),
        ("                if not record.confirmed:\n", "                if True:\n"),
    ),
    Mutant(
        "a rotation within the interval",
        ("if just_handed then\n    redis.call", "if false then\n    redis.call"),
        (
            "            if just_handed:\n                record.confirmed",
            "            if False:\n                record.confirmed",
        ),
    ),
    Mutant(
        "the interval is a millisecond too long",
        ("handed < reuse_interval", "handed <= reuse_interval"),
        ("record.handed < self", "record.handed <= self"),
    ),
    Mutant(
        "the retry window is a millisecond too long",
        ("started < retry_window", "started <= retry_window"),
        ("record.started < window", "record.started <= window"),
        windows=FINITE,
    ),
    Mutant(
        "each late retry renews the retry window",
        ("now - started < retry_window", "now - handed < retry_window"),
        ("now - record.started < window", "now - record.handed < window"),
        windows=FINITE,
    ),
    Mutant(
        "the retry window does not matter",
        ("if not confirmed and in_window and", "if not confirmed and"),
        ("return not record.confirmed and in_window and", "return not record.confirmed and"),
        windows=FINITE,
    ),
    Mutant(
        "the credential version is not compared",
        ("if r[8] ~= ARGV[3] then", "if false then"),
        ("elif family.credential_version != credential_version:", "elif False:"),
    ),
    Mutant(
        "the idle end is not seen",
        ("if now >= idle_end() then", "if false then"),
        ("elif idle_end is not None and now", "elif idle_end is not None and -now"),
    ),
    Mutant(
        "the idle end is a millisecond late",
        ("now >= idle_end()", "now > idle_end()"),
        ("now >= round(idle_end ", "now > round(idle_end "),
    ),
    Mutant(
        "the absolute end is not seen",
        ("if now >= absolute_end() then", "if false then"),
        ("elif now >= family.absolute_end * MILLISECONDS:", "elif False:"),
    ),
    Mutant(
        "the absolute end is a millisecond late",
        ("now >= absolute_end()", "now > absolute_end()"),
        ("elif now >= family.absolute_end", "elif now > family.absolute_end"),
    ),
    Mutant(
        "an ended family rotates",
        ("if status ~= 'live' then", "if false then"),
        ("if family.status is not Status.LIVE:", "if False:"),
    ),
    Mutant(
        "reuse does not end the family",
        ("return ending('reuse')", "return answer('reuse')"),
        ('if name in {"reuse", "rolled_back"}', 'if name in {"rolled_back"}'),
    ),
    Mutant(
        "rollback does not end the family",
        ("return ending('rolled_back')", "return answer('rolled_back')"),
        ('if name in {"reuse", "rolled_back"}', 'if name in {"reuse"}'),
    ),
    Mutant(
        "a background refresh is activity",
        ("if active_ago >= 0 then", "if true then"),
        (
            "                if active_ago is not None:\n",
            "                if active_ago := active_ago or 1:\n",
        ),
    ),
    Mutant(
        "activity goes back",
        ("text(math.max(active, now - active_ago))", "text(now - active_ago)"),
        ("                    active = max(active, at)\n", "                    active = at\n"),
    ),
    Mutant(
        "a mark goes back",
        ("if status == 'live' or (", "if status or ("),
        (
            "return new is Status.ENDED or (new is Status.ENDING and old is Status.LIVE)",
            "return new is not old",
        ),
        script="mark",
    ),
    Mutant(
        "a mark makes what is not there",
        ("if status == 'live' or (", "if status ~= 'ended' or ("),
        None,
        script="mark",
    ),
    Mutant(
        "a second login overwrites the first",
        ("if redis.call('EXISTS', family) == 1 then", "if false then"),
        ("if existing is not None:", "if False:"),
        script="create",
    ),
]


def must_fail(open_store: OpenStore, windows: RotationRules) -> None:
    # The second for records with half their fields, the third for outcomes without a record.
    with pytest.raises((AssertionError, KeyError, ValueError)):
        run_state_machine_as_test(machine(open_store, windows), settings=SETTINGS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_wrong_script_is_caught(mutant: Mutant, open_redis: Callable[..., RedisFamilies]) -> None:
    """The state machine fails on Redis with one mistake in the Lua."""
    scripts = changed_scripts(mutant.script, mutant.lua)

    def opened(rules: RotationRules, clock: MillisecondClock) -> FamilyStore:
        return open_redis(rules, clock, scripts=scripts)

    must_fail(opened, mutant.windows)


@pytest.mark.parametrize(
    "mutant", [mutant for mutant in MUTANTS if mutant.python], ids=lambda mutant: mutant.name
)
def test_a_wrong_memory_store_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state machine fails on the memory store with the same mistake in Python."""
    assert mutant.python is not None
    store = changed_memory_families(monkeypatch, mutant.python)
    must_fail(lambda rules, clock: store(rules, clock=clock), mutant.windows)
