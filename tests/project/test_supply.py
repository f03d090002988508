"""What we ship of others: its licences, its known holes, and the bill that lists it."""

from __future__ import annotations

import json
from datetime import date
from email.message import Message
from importlib import metadata
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from supply import audit, licences, sbom
from supply.audit import Excepted, judge
from supply.locks import PROJECT, RUNTIME, TESTS, pins, runtime_pins

TODAY = date(2030, 6, 1)
ADVISORY = {"id": "PYSEC-2030-1", "aliases": ["CVE-2030-1"], "fix_versions": ["2.0"]}
SOUND: dict[str, Any] = {"name": "sound", "version": "1.0", "vulns": []}
HOLED: dict[str, Any] = {"name": "holed", "version": "1.0", "vulns": [ADVISORY]}
SKIPPED: dict[str, Any] = {"name": "unheard-of", "skip_reason": "not found"}


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    """The bill of materials."""
    found: dict[str, Any] = json.loads(sbom.document())
    return found


def test_every_runtime_dependency_has_a_licence_that_is_allowed() -> None:
    """Each is on the list, or an exception with its reason; nothing on either list is left over."""
    names = {pin.name for pin in runtime_pins()}
    found = {name: licences.licence_of(name) for name in names}
    assert [one for one in found.items() if not licences.permitted(*one)] == []
    assert licences.EXCEPTIONS.keys() <= names
    assert all(licences.ALLOWED.values())


@pytest.mark.parametrize(
    ("expression", "fine"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("LGPL-3.0-only", False),
        ("", False),
    ],
)
def test_another_licence_is_refused(expression: str, fine: bool) -> None:
    """Of a choice one is enough; of a sum all are needed."""
    assert licences.permitted("something", expression) is fine


def test_a_package_without_a_licence_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saying nothing is no permission."""
    monkeypatch.setattr(metadata, "metadata", lambda _name: Message())
    with pytest.raises(LookupError):
        licences.licence_of("something")


def test_a_vulnerability_fails_the_audit() -> None:
    """It is named with its version and what mends it."""
    verdict = judge([SOUND, HOLED], TODAY, {})
    assert verdict.code == audit.FOUND
    assert verdict.problems == ("holed 1.0 has PYSEC-2030-1; mended in: 2.0",)


def test_an_exception_holds_until_its_day() -> None:
    """By the advisory's id or an alias; from the day after, the exception itself fails."""
    for name in ("PYSEC-2030-1", "CVE-2030-1"):
        assert judge([HOLED], TODAY, {name: Excepted("not reachable", TODAY)}).code == 0
    run_out = {"CVE-2030-1": Excepted("not reachable", date(2030, 5, 31))}
    assert judge([SOUND], TODAY, run_out).code == audit.FOUND


def test_what_nobody_looked_at_is_not_in_order() -> None:
    """pip-audit skips a release that the index does not know, and calls that no vulnerability."""
    assert judge([SOUND, SKIPPED], TODAY, {}).code == audit.NOT_AUDITED
    assert judge([SKIPPED, HOLED], TODAY, {}).code == audit.FOUND
    assert judge([], TODAY, {}).code == audit.NOT_AUDITED
    assert judge([SOUND], TODAY, {}).code == 0


def test_every_exception_says_why() -> None:
    """And none is for ever."""
    for name, one in audit.EXCEPTIONS.items():
        assert one.why.strip(), name
        assert one.until.year < 2100


def test_the_bill_is_valid(bill: dict[str, Any]) -> None:
    """Against the schema of CycloneDX 1.6, strictly."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None


def test_the_bill_is_complete(bill: dict[str, Any]) -> None:
    """Every locked release with its version, all its hashes and a licence; nothing else."""
    listed = {part["name"]: part for part in bill["components"]}
    locked = {pin.name: pin for pin in runtime_pins()}
    assert listed.keys() == locked.keys()
    for name, part in listed.items():
        assert part["version"] == locked[name].version
        assert {each["content"] for each in part["hashes"]} == set(locked[name].hashes) != set()
        assert part["licenses"], name
        assert part["purl"] == f"pkg:pypi/{name}@{part['version']}"


def test_the_bill_knows_who_needs_what(bill: dict[str, Any]) -> None:
    """Every part is reached from Gatepass."""
    edges = {one["ref"]: one.get("dependsOn", []) for one in bill["dependencies"]}
    reached: set[str] = set()
    waiting = [bill["metadata"]["component"]["bom-ref"]]
    while waiting:
        reached.add(ref := waiting.pop())
        waiting += [each for each in edges.get(ref, []) if each not in reached]
    missed = {part["bom-ref"] for part in bill["components"]} - reached
    # What the build needs comes from no package of ours.
    assert {ref.split("/")[1].split("@")[0] for ref in missed} <= BUILD


BUILD = {
    "hatchling",
    "editables",
    "packaging",
    "pathspec",
    "pluggy",
    "tomlkit",
    "trove-classifiers",
}


def test_the_bill_is_the_same_each_time(bill: dict[str, Any]) -> None:
    """No time and nothing random in it."""
    assert json.loads(sbom.document()) == bill
    assert sbom.document() == sbom.document()
    assert "timestamp" not in json.dumps(bill["metadata"])


def test_the_locks_are_read_whole() -> None:
    """As many pins as lines that name one, each with hashes; the project is among the askers."""
    for lock in (RUNTIME, TESTS):
        lines = [
            line for line in lock.read_text("utf-8").splitlines() if "==" in line.split("#")[0]
        ]
        starts = [line for line in lines if not line[0].isspace()]
        assert len(pins(lock)) == len(starts)
        assert all(pin.hashes for pin in pins(lock))
        assert any(PROJECT in pin.via for pin in pins(lock))
