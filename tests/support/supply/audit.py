"""Known vulnerabilities of what the lock files name, by pip-audit and the package index's word.

`python tests/support/supply/audit.py`, a step of `./run test`. Exit codes: 0 audited and in order,
1 a vulnerability, or an exception that has run out, 3 the index did not answer about every release.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from supply.locks import RUNTIME, TESTS

FOUND = 1
NOT_AUDITED = 3


@dataclass(frozen=True, slots=True)
class Excepted:
    """An advisory that does not touch us: why, and until when somebody has to look again."""

    why: str
    until: date


EXCEPTIONS: Mapping[str, Excepted] = {}
"""By the advisory's id; none at present."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an audit says, in lines for a person."""

    audited: int
    problems: tuple[str, ...]
    unanswered: tuple[str, ...]

    @property
    def code(self) -> int:
        """The exit code."""
        if self.problems:
            return FOUND
        return NOT_AUDITED if self.unanswered or not self.audited else 0


def judge(
    dependencies: Sequence[Mapping[str, Any]],
    today: date,
    exceptions: Mapping[str, Excepted] = EXCEPTIONS,
) -> Verdict:
    """Judge pip-audit's JSON. A release that it skipped is one that nobody has looked at."""
    problems = [
        f"the exception for {name} ran out on {one.until}: look again, then mend or renew it"
        for name, one in exceptions.items()
        if one.until < today
    ]
    unanswered = []
    for each in dependencies:
        if "skip_reason" in each:
            unanswered.append(str(each["name"]))
        for found in each.get("vulns", []):
            names = {str(found["id"]), *map(str, found.get("aliases", []))}
            if not names & exceptions.keys():
                fixed = ", ".join(found.get("fix_versions", [])) or "none yet"
                problems.append(
                    f"{each['name']} {each['version']} has {found['id']}; mended in: {fixed}"
                )
    return Verdict(len(dependencies) - len(unanswered), tuple(problems), tuple(unanswered))


def ask(lock: Path) -> list[Mapping[str, Any]]:
    """pip-audit's findings on a lock file. Raises RuntimeError with its own words."""
    options = [
        "--vulnerability-service=pypi",
        "--disable-pip",
        "--format=json",
        "--progress-spinner=off",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", *options, "--requirement", str(lock)],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found: list[Mapping[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise RuntimeError(done.stderr.strip() or "pip-audit said nothing") from None
    return found


def main() -> int:
    """Audit both lock files."""
    dependencies: dict[tuple[str, str], Mapping[str, Any]] = {}
    for lock in (RUNTIME, TESTS):
        try:
            found = ask(lock)
        except RuntimeError as error:
            print(f"audit: NOT DONE: the package index cannot be asked: {error}", file=sys.stderr)
            return NOT_AUDITED
        dependencies |= {(each["name"], each.get("version", "")): each for each in found}
    verdict = judge(list(dependencies.values()), datetime.now(UTC).date())
    for problem in verdict.problems:
        print(f"audit: {problem}", file=sys.stderr)
    if verdict.unanswered:
        print(
            f"audit: NOT DONE for {len(verdict.unanswered)} of {len(dependencies)} releases:"
            " the package index does not answer about "
            + ", ".join(verdict.unanswered[:5])
            + (" and others" if len(verdict.unanswered) > 5 else ""),
            file=sys.stderr,
        )
    return verdict.code


if __name__ == "__main__":
    sys.exit(main())
