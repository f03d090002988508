"""`gatepass audit` on a running demo: what happened is found, exported, and verified."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.running_demo import Person, Run, RunningDemo


def test_what_was_done_is_found(run: Run, person: Person) -> None:
    """By name, kind and outcome; who did it is told; the newest first."""
    run("users", "disable", person.username).done()
    run("users", "enable", person.username).done()
    found = run("audit", "search", "--user", person.username, "--json").done().json["events"]
    assert [event["event"] for event in found] == [
        "account_enabled",
        "account_disabled",
        "revoked",
        "account_added",
    ]
    assert {event["sub"] for event in found} == {person.sub}
    assert all(event["actor"].startswith("cli:") for event in found)
    arguments = ("--event", "account_disabled", "--event", "account_enabled", "--since", "1h")
    table = run("audit", "search", "--user", person.username, *arguments, "--limit", "1").done()
    assert "account_enabled" in table.out
    assert "account_disabled" not in table.out
    nothing = ("--user", person.username, "--outcome", "failure")
    assert run("audit", "search", *nothing).done().out == "no such events\n"


def test_reading_the_log_is_told(run: Run, person: Person) -> None:
    """With what was looked for."""
    run("audit", "search", "--sub", person.sub).done()
    (found,) = run("audit", "search", "--text", person.sub, "--event", "audit_read", "--json").json[
        "events"
    ]
    assert found["details"]["filters"]["sub"] == person.sub
    run("audit", "search", "--user", person.username, "--text", person.username).done()
    told = run("audit", "search", "--event", "audit_read", "--json").json["events"]
    assert any(event["details"]["filters"].get("text") is True for event in told)
    assert person.username not in json.dumps(told), "no erasure would find it"


def test_a_wrong_time_or_kind_is_refused(run: Run) -> None:
    """With what would be right."""
    assert "2h or 7d" in run("audit", "search", "--since", "yesterday").failed(2)
    assert "'login'" in run("audit", "search", "--event", "teleported").failed(2)
    assert "SEQ:HASH" in run("audit", "verify", "--expect", "12").failed(2)
    assert "no account" in run("audit", "person", "export", "nobody").refused(3)


def test_one_log_is_exported_in_three_forms(run: Run, person: Person, tmp_path: Path) -> None:
    """The same events in each, the oldest first."""
    run("users", "roles", person.username, "editor").done()
    wanted = ("--sub", person.sub, "--event", "account_added", "--event", "roles_changed")
    lines = run("audit", "export", *wanted).done().out.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["account_added", "roles_changed"]
    rows = csv.DictReader(
        io.StringIO(run("audit", "export", *wanted, "--format", "csv").done().out)
    )
    # One in 64 begins with what a spreadsheet takes for a formula.
    ids = [row["id"].removeprefix("'") for row in rows]
    assert ids == [json.loads(line)["id"] for line in lines]
    path = tmp_path / "audit.log"
    told = run("audit", "export", *wanted, "--format", "syslog", "--output", str(path)).done()
    assert told.out == "wrote 2 events\n"
    assert path.read_text().count("<109>1 ") == 2


def test_a_person_is_exported_and_erased(run: Run, person: Person) -> None:
    """Everything, then nothing; the log still verifies, and says that something was erased."""
    known = run("audit", "person", "export", person.username).done().json
    assert known["account"] == {
        "sub": person.sub,
        "username": person.username,
        "enabled": True,
        "roles": [],
    }
    assert [event["event"] for event in known["events"]] == ["account_added"]
    assert (known["factors"], known["recovery_codes_left"], known["notifications"]) == ([], 0, [])

    def newest(*wanted: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = (
            run("audit", "search", *wanted, "--json").done().json["events"]
        )
        return events

    (told,) = newest("--event", "person_exported", "--sub", person.sub)
    assert told["actor"].startswith("cli:")
    assert "aborted" in run("audit", "person", "erase", person.username).failed(1).lower()
    erased = run("audit", "person", "erase", person.username, "--yes", "--json").done().json
    assert erased["erased"] >= 2
    found = run("audit", "search", "--sub", person.sub, "--json").done().json["events"]
    assert found == []
    # It names nobody: else the log would still tell of the person.
    (told,) = newest("--event", "person_erased", "--limit", "1")
    assert (told["sub"], told["details"]) == (None, {"events": erased["erased"]})
    assert told["actor"].startswith("cli:")
    result = run("audit", "verify", "--json").done().json
    assert (result["intact"], result["keyed"]) == (True, True)
    assert result["redacted"] >= 2


def test_tampering_is_told(
    own_demo: RunningDemo, run_on: Callable[[RunningDemo], Run], tmp_path: Path
) -> None:
    """Exit code 1 and what it was, to a person and to a script."""
    run = run_on(own_demo)
    before = run("audit", "verify", "--json").done().json
    noted = f"{before['head']['seq']}:{before['head']['hash']}"
    assert "as they were written" in run("audit", "verify", "--expect", noted).done().out
    database = sqlite3.connect(own_demo.state_dir / "gatepass.sqlite")
    with database:
        database.execute("UPDATE audit_log SET body = replace(body, 'success', 'failure')")
    database.close()
    assert "1 was altered" in run("audit", "verify").refused(1)
    result = run("audit", "verify", "--json")
    assert (result.code, json.loads(result.out)["intact"]) == (1, False)
    later = f"{before['head']['seq'] + 1000}:{'0' * 64}"
    assert "that was noted" in run("audit", "verify", "--expect", later).refused(1)
