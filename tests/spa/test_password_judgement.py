"""What the page says of a new password while it is typed, beside the issuer's own verdict."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from harness.processes import require_binary

from issuer.accounts import PasswordPolicy, PasswordRefused
from issuer.accounts.passwords import common_passwords
from issuer.http.password_rules import _rules

MIN_LENGTH = 15
REFUSED = (
    "passwordpassword",
    "Password12345678",
    "p@ssw0rdp@ssw0rd",
    "qwertyuiopasdfgh",
    "abcdefghijklmnop",
    "aaaaaaaaaaaaaaaaaaaa",
    "abcabcabcabcabcabc",
    "123456789012345678",
    "987654321987654321",
    "letmeinletmeinletmein",
    "iloveyouiloveyou",
    "monkeymonkeymonkey",
    "drowssapdrowssap",
    "1qaz2wsx1qaz2wsx",
    "19841984198419841984",
)
ACCEPTED = (
    "seven brass kettles whistle",
    "forty purple lanterns adrift",
    "an unlikely brass kettle 4417",
    "Vj8#kQ!m2zLp9@xWs",
    "zqxjkvbwpmfgtyhdls",
    "grüne Häuser am Fluß 77",
    "correcthorsebatterystaple",
)
JUDGE = """
import { createJudge } from %s;
const { rules, passwords } = JSON.parse(process.argv[1]);
const judge = createJudge(rules);
console.log(JSON.stringify(passwords.map((password) => judge(password).verdict)));
"""


def verdicts(project_root: Path, passwords: list[str]) -> list[str]:
    """The page's judgement of each, by the rules that the issuer hands out."""
    module = (project_root / "spa" / "demo" / "strength.js").as_uri()
    given = json.dumps({"rules": _rules(MIN_LENGTH), "passwords": passwords})
    program = [require_binary("node", "nodejs"), "--input-type=module"]
    done = subprocess.run(
        [*program, "--eval", JUDGE % json.dumps(module), given],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


def issuer_refuses(password: str) -> bool:
    """Whether the issuer would not take it."""
    try:
        PasswordPolicy(MIN_LENGTH).check(password, "ann")
    except PasswordRefused:
        return True
    return False


def test_what_the_issuer_refuses_is_not_praised(project_root: Path) -> None:
    """The page calls bad what the issuer refuses, and accepts what it takes."""
    assert [password for password in REFUSED if not issuer_refuses(password)] == []
    assert [password for password in ACCEPTED if issuer_refuses(password)] == []
    told = dict(
        zip(
            [*REFUSED, *ACCEPTED],
            verdicts(project_root, [*REFUSED, *ACCEPTED]),
            strict=True,
        )
    )
    assert {told[password] for password in REFUSED} <= {"guessable", "blocked"}
    assert {told[password] for password in ACCEPTED} <= {"fair", "good", "strong"}, told


def test_every_listed_password_of_the_length_is_known_to_the_page(project_root: Path) -> None:
    """A shorter one is refused for its length, so the page knows the whole list that matters."""
    listed = sorted(word for word in common_passwords() if len(word) >= MIN_LENGTH)
    shouted = [word.upper() for word in listed]
    assert len(listed) > 20
    assert set(verdicts(project_root, listed + shouted)) == {"blocked"}


@pytest.mark.parametrize(
    ("password", "verdict"),
    [("short", "short"), ("x" * 257, "long"), ("é" * 14, "short"), ("😀" * 14, "short")],
)
def test_length_is_counted_as_the_issuer_counts(
    project_root: Path, password: str, verdict: str
) -> None:
    """In characters, not in bytes or UTF-16 units."""
    assert verdicts(project_root, [password]) == [verdict]
    assert issuer_refuses(password)
