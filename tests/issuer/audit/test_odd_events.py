"""Whatever somebody has put where events come from, those behind it come into the log."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from issuer.audit import Event, EventKind
from issuer.audit.chain import ChainKeys
from issuer.audit.live_sessions import ENDS_BELOW
from issuer.audit.log import BATCH, AuditLog
from issuer.audit.outbox import pend
from issuer.audit.verifying import verify
from issuer.database.tables import audit_outbox, audit_sessions

NOW = 1_800_000_000.0
BEGUN = {"ends": int(NOW) + 9, "absolute": int(NOW) + 99, "credential_version": 1}


def altered(**members: object) -> str:
    """A login's event as JSON, with other members."""
    return json.dumps(json.loads(Event(kind=EventKind.LOGIN, time=NOW).to_json()) | members)


NO_EVENTS = {
    "not JSON": "{",
    "a list": "[]",
    "a number": "5",
    "nothing": "null",
    "nested deeply": "[" * 100_000,
    "details nested deeply": altered(details={}).replace("{}", '{"a":' * 200 + "1" + "}" * 200),
    "details that are a list": altered(details=[]),
    "a kind of a newer release": altered(kind="teleported"),
    "a kind that is a list": altered(kind=["login"]),
    "an outcome of a newer release": altered(outcome="perhaps"),
    "a member of a newer release": altered(colour="red"),
    "no time": json.dumps({"kind": "login", "outcome": "success"}),
    "a time that is a text": altered(time="now"),
    "a time beyond the calendar": altered(time=1e300),
    "a time beyond all floats": altered(time=10**400),
    "no number": altered(time=float("nan")),
    "a time before all": altered(time=-1.0),
    "a subject that is a number": altered(sub=5),
    "an address that is missing": altered(address=None),
    "a reason that is an object": altered(why={}),
    "an id that is a list": altered(id=["x"]),
    "an id that is too long": altered(id="i" * 49),
    "an id with a zero": altered(id="i\0"),
    "an id of half a character": altered(id="\ud800"),
    "an empty id": altered(id=""),
}


def test_what_is_no_event_holds_up_nothing(log: AuditLog, audit_engine: sa.Engine) -> None:
    """The table: each stays in the outbox, before an honest event that comes into the log."""
    for name, text in NO_EVENTS.items():
        honest = Event(kind=EventKind.LOGIN, time=NOW)
        with audit_engine.begin() as connection:
            connection.execute(sa.insert(audit_outbox).values(event=text))
            pend(connection, honest)
        appended = [one.recorded.event.id for one in log.append([])]
        assert appended == [honest.id], name
    with audit_engine.connect() as connection:
        left = connection.scalars(sa.select(audit_outbox.c.event)).all()
    assert left == list(NO_EVENTS.values())


def test_many_rows_of_a_newer_issuer_hide_nothing_behind_them(
    log: AuditLog, audit_engine: sa.Engine
) -> None:
    """More than a batch; it is told once, not at each look."""
    honest = [Event(kind=EventKind.LOGIN, time=NOW) for _ in range(2)]
    rows = [{"event": altered(kind="teleported")} for _ in range(2 * BATCH)]
    with capture_logs() as told:
        for event in honest:
            with audit_engine.begin() as connection:
                if event is honest[0]:
                    connection.execute(sa.insert(audit_outbox), rows)
                pend(connection, event)
            assert [one.recorded.event for one in log.append([])] == [event]
    (warning,) = told
    assert (warning["event"], warning["log_level"]) == ("audit_outbox_unreadable", "warning")
    assert warning["rows"] == 2 * BATCH


def started(**members: object) -> Event:
    given = {"sub": "person", "sid": "s" * 22, "details": BEGUN, **members}
    return Event(kind=EventKind.SESSION_STARTED, time=NOW, **given)  # type: ignore[arg-type]


ODD = {
    "a zero in a user agent": started(user_agent="a\0b"),
    "half a character in a user agent": started(user_agent="a\ud800b", sid="t" * 22),
    "a long user agent": started(user_agent="a" * 999, sid="u" * 22),
    "a zero in an address": started(address="1\0", sid="v" * 22),
    "a long client": started(client_id="c" * 300, sid="w" * 22),
    "a zero in a client": started(client_id="c\0", sid="x" * 22),
    "a long session": started(sid="s" * 80),
    "a zero in a session": started(sid="s\0"),
    "a long subject": started(sub="p" * 80, sid="y" * 22),
    "an end that is a text": started(details={**BEGUN, "ends": "soon"}, sid="z" * 22),
    "an end beyond the column": started(details={**BEGUN, "ends": 1 << 70}, sid="z" * 22),
    "no version": started(details={"ends": 1, "absolute": 1}, sid="z" * 22),
    "a refresh with an odd end": Event(
        kind=EventKind.SESSION_REFRESHED, time=NOW, sid="s" * 22, details={"ends": {}}
    ),
    "a refresh of an odd session": Event(
        kind=EventKind.SESSION_REFRESHED, time=NOW, sid="s\0", details={"ends": 1}
    ),
    "the end of an odd session": Event(kind=EventKind.SESSION_ENDED, time=NOW, sid="a\0"),
    "the end of an odd client": Event(kind=EventKind.CLIENT_DISABLED, time=NOW, client_id="\0"),
    "ends below no number": Event(
        kind=EventKind.PASSWORD_CHANGED, time=NOW, sub="person", details={ENDS_BELOW: "all"}
    ),
    "ends of an odd person": Event(
        kind=EventKind.PASSWORD_CHANGED, time=NOW, sub="p\0", details={ENDS_BELOW: 9}
    ),
}


HALVES = {
    "": "",
    "a\ud800b": "a\ufffdb",
    "\udfff": "\ufffd",
    "\ud83d\ude00": "\U0001f600",
    "\U0001f600": "\U0001f600",
    "\\ud800": "\\ud800",
    "\\\ud800": "\\\ufffd",
    "\ud800\ud83d\ude00": "\ufffd\U0001f600",
}


@pytest.mark.parametrize("text", HALVES, ids=ascii)
def test_half_a_character_stands_in_no_event(log: AuditLog, text: str) -> None:
    """In none of its texts, so that whoever reads the log can write it as UTF-8."""
    event = Event(
        kind=EventKind.LOGIN, time=NOW, sub=text, why=text, details={"name": [{"agent": text}]}
    )
    (appended,) = log.append([event])
    found = appended.recorded.event
    assert (found.sub, found.why) == (HALVES[text], HALVES[text])
    assert found.details == {"name": [{"agent": HALVES[text]}]}
    assert log.after(0) == [appended.recorded]


def test_odd_texts_and_numbers_of_an_event_are_stored(
    log: AuditLog, audit_engine: sa.Engine, keys: ChainKeys
) -> None:
    """The table: what columns do not hold is cut there, and whole in the body; the log verifies."""
    for name, event in ODD.items():
        (appended,) = log.append([event])
        assert appended.recorded.event == event.whole(), name
    assert [recorded.event for recorded in log.after(0)] == [one.whole() for one in ODD.values()]
    assert verify(audit_engine, keys).problems == []
    with audit_engine.connect() as connection:
        known = connection.scalars(sa.select(audit_sessions.c.sid)).all()
    assert sorted({sid[0] for sid in known}) == list("stuvwx")
