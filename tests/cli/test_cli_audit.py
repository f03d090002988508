"""`gatepass audit` on a running demo: what happened is found, exported, and verified."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest
from harness.processes import short_directory, until
from harness.running_demo import Person, Run, RunningDemo
from harness.web import ask

from issuer.audit import Event, EventKind
from issuer.database import open_engine
from issuer.notifications.delivery import Wanted
from issuer.notifications.queue import DeliveryQueue


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


def test_what_one_request_did_is_found(run: Run, person: Person, demo: RunningDemo) -> None:
    """By the id that its answer gave; and what a person did at one client."""
    answer = demo.site.login(person.username, person.password)
    answer.granted()
    mine = ("--user", person.username, "--json")

    def found(*wanted: str) -> list[str]:
        events = run("audit", "search", *wanted, *mine).done().json["events"]
        return [event["event"] for event in events]

    whole = ["session_started", "login", "account_added"]
    for _ in until(30, "the login in the log"):
        if found() == whole:
            break
    request_id = answer.headers["x-request-id"]
    assert found("--request-id", request_id) == whole[:2]
    assert found("--request-id", request_id[::-1]) == []
    (client_id,) = {
        event["client_id"]
        for event in run("audit", "search", "--event", "login", *mine).done().json["events"]
    }
    assert found("--client", client_id) == whole[:2]
    assert found("--client", f"{client_id}-2") == []


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


@pytest.fixture
def talking_demo() -> Iterator[RunningDemo]:
    """A running demo that logs for a person, what is of interest included."""
    directory = short_directory("gp-cli-demo-")
    with RunningDemo(directory / "state", as_json=False) as running:
        yield running
    shutil.rmtree(directory)


def test_what_an_operator_does_is_told(
    talking_demo: RunningDemo, run_on: Callable[[RunningDemo], Run], tmp_path: Path
) -> None:
    """Each command that leaves no other event leaves one of its own, with who it was; and as a
    process runs that can say so, each is a line of its log."""
    run = run_on(talking_demo)
    run("keys", "rotate", "--early").done()
    run("notifications", "retry", "--all").done()
    run("journal", "complete").done()
    run("backup", str(tmp_path / "backup.gz")).done()
    run("migrate").done()
    found = run("audit", "search", "--event", "operated", "--json").done().json["events"]
    told = ["migrate", "backup", "journal_complete", "notifications_retry", "keys_rotate"]
    assert [event["why"] for event in found] == told
    assert all(event["actor"].startswith("cli:") for event in found)
    run("audit", "verify").done()
    (read,) = run("audit", "search", "--text", "verify", "--json").done().json["events"]
    assert (read["event"], read["why"]) == ("audit_read", "verify")
    lines = talking_demo.process.stderr()
    assert all(event["id"] in lines for event in found)


def test_a_wrong_time_or_kind_is_refused(run: Run) -> None:
    """With what would be right."""
    assert "2h or 7d" in run("audit", "search", "--since", "yesterday").failed(2)
    assert "'login'" in run("audit", "search", "--event", "teleported").failed(2)
    assert "SEQ:HASH" in run("audit", "verify", "--expect", "12").failed(2)
    assert "no account" in run("audit", "person", "export", "nobody").refused(3)


def test_no_option_ends_in_a_traceback(run: Run, tmp_path: Path) -> None:
    """Numbers beyond all bounds, a directory for a file, two people at once or none."""
    far = "9" * 20
    for since in (f"{far}d", "99999999999999d", f"{far}w"):
        assert "a time ago" in run("audit", "search", "--since", since).failed(2)
    assert "range" in run("audit", "search", "--before", far).failed(2)
    assert "is a directory" in run("audit", "export", "--output", str(tmp_path)).failed(2)
    for person in (["--sub", ""], ["somebody", "--sub", "another"], []):
        assert "either" in run("audit", "person", "erase", "--yes", *person).failed(2)
    assert list(tmp_path.parent.glob(".__atomic*")) == []
    path = tmp_path / "audit.jsonl"
    run("audit", "export", "--output", str(path)).done()
    assert path.stat().st_mode & 0o777 == 0o600


def test_one_log_is_exported_in_three_forms(run: Run, person: Person, tmp_path: Path) -> None:
    """The same events in each, the oldest first."""
    run("users", "roles", person.username, "editor").done()
    wanted = ("--sub", person.sub, "--event", "account_added", "--event", "roles_changed")
    lines = run("audit", "export", *wanted).done().out.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["account_added", "roles_changed"]
    rows = csv.DictReader(
        io.StringIO(run("audit", "export", *wanted, "--format", "csv").done().out)
    )
    told = run("audit", "search", "--event", "audit_read", "--text", person.sub, "--json").done()
    assert {event["why"] for event in told.json["events"]} == {"export jsonl", "export csv"}
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


def test_an_export_holds_all_that_is_known_and_no_secret(
    own_demo: RunningDemo, run_on: Callable[[RunningDemo], Run]
) -> None:
    """Factors, codes, sessions and notifications of a person, as the person may see them."""
    run, site = run_on(own_demo), own_demo.site
    added = run("users", "add", "carol", "--generate", "--json").done().json
    token = site.login("carol", added["password"]).granted()["access_token"]

    def ask_for(path: str, **fields: str) -> dict[str, Any]:
        answer = ask("POST", site.base_url + path, json_body=fields, token=token)
        assert answer.status == 200, answer.content
        found: dict[str, Any] = answer.json
        return found

    begun = ask_for("/factors/totp")
    code = pyotp.TOTP(begun["secret"]).now()
    made = ask_for("/factors/totp/confirm", id=begun["id"], otp=code, transport="body")
    token = made["access_token"]
    codes = ask_for("/factors/recovery-codes", transport="body")
    engine = open_engine(f"sqlite:///{own_demo.state_dir / 'gatepass.sqlite'}")
    queue = DeliveryQueue(engine, time.time, max_age=3600)
    event = Event(kind=EventKind.LOGIN, time=time.time(), sub=added["sub"])
    queue.add([Wanted("webhook:crm", "told-once", event)])
    engine.dispose()
    told = run("audit", "person", "export", "carol").done()
    known = told.json
    assert [one["kind"] for one in known["factors"]] == ["totp"]
    assert known["recovery_codes_left"] == len(codes["recovery_codes"]) > 0
    assert [one["sid"] for one in known["sessions"]] == [codes["session"]["sid"]]
    assert [(one["target"], one["key"]) for one in known["notifications"]] == [
        ("webhook:crm", "told-once")
    ]
    kinds = {event["event"] for event in known["events"]}
    assert {"account_added", "login", "session_started", "factor_added"} <= kinds
    secrets = [begun["secret"], added["password"], *codes["recovery_codes"]]
    secrets += [one[name] for one in (made, codes) for name in ("access_token", "refresh_token")]
    assert [secret for secret in secrets if secret in told.out] == []


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
