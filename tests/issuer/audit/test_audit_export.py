"""Other systems read what is exported, and nothing that a caller sent breaks its form."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from issuer.audit import Event, EventKind, Outcome, Recorded
from issuer.audit.export import FORMATS

# RFC 5424 section 6, for messages of ours: one structured element, then the text.
MESSAGE = re.compile(
    r"<(?P<pri>\d{1,3})>1 (?P<time>\S+) (?P<host>\S+) (?P<app>\S+) (?P<pid>\d+) (?P<id>\S+) "
    r'\[(?P<sd>[^ =\]"]+)(?P<params>(?: [^ =\]"]+="(?:[^"\\\]]|\\["\\\]])*")*)\] (?P<text>.*)\n'
)
HOSTILE = ['=cmd|" /C calc"!A0', "+1", "-1", "@x", 'a"]\\ b', "line\nbreak\r<13>1 forged", "é 中"]


def event(agent: str = "Browser/1.0", **fields: object) -> Recorded:
    given = {"kind": EventKind.LOGIN, "time": 1_800_000_000.25, "user_agent": agent, **fields}
    return Recorded(7, Event(**given))  # type: ignore[arg-type]


@pytest.mark.parametrize("agent", HOSTILE)
def test_json_lines_are_one_object_each(agent: str) -> None:
    """Every line is JSON, and says what the event says."""
    (line,) = FORMATS["jsonl"]([event(agent)])
    found = json.loads(line)
    assert line.count("\n") == 1
    assert (found["seq"], found["event"], found["user_agent"]) == (7, "login", agent)
    assert found["time"] == "2027-01-15T08:00:00.250Z"


@pytest.mark.parametrize("agent", HOSTILE)
def test_a_spreadsheet_runs_nothing(agent: str) -> None:
    """RFC 4180 gives the cell back; one that would be a formula begins with an apostrophe."""
    text = "".join(FORMATS["csv"]([event(agent)]))
    header, row = csv.reader(io.StringIO(text, newline=""))
    cells = dict(zip(header, row, strict=True))
    assert cells["event"] == "login"
    assert cells["user_agent"] in {agent, f"'{agent}"}
    assert not cells["user_agent"].startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("agent", HOSTILE)
def test_syslog_messages_are_of_the_rfc(agent: str) -> None:
    """One line, the header's six fields, structured data whose values are escaped."""
    (line,) = FORMATS["syslog"]([event(agent)])
    found = MESSAGE.fullmatch(line)
    assert found is not None, line
    assert (found["app"], found["id"], found["time"]) == (
        "gatepass",
        "login",
        "2027-01-15T08:00:00.250Z",
    )
    assert 'seq="7"' in found["params"]


@pytest.mark.parametrize("form", FORMATS)
def test_half_a_character_breaks_no_file(form: str) -> None:
    """Whatever somebody has put into a row, every form can be written as UTF-8."""
    text = "".join(FORMATS[form]([event("a\ud800b", details={"x": "\ud800"})]))
    assert "login" in text.encode("utf-8").decode("utf-8")


@pytest.mark.parametrize(
    ("kind", "outcome", "severity"),
    [
        (EventKind.LOGIN, Outcome.SUCCESS, 5),
        (EventKind.LOGIN, Outcome.FAILURE, 4),
        (EventKind.REUSE_DETECTED, Outcome.FAILURE, 3),
    ],
)
def test_alarms_are_more_severe(kind: EventKind, outcome: Outcome, severity: int) -> None:
    """Facility 13 is that of audit logs (RFC 5424 section 6.2.1)."""
    (line,) = FORMATS["syslog"]([event(kind=kind, outcome=outcome)])
    assert line.startswith(f"<{13 * 8 + severity}>1 ")
