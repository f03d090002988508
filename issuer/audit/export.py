"""Events in the forms that other systems read: JSON lines, CSV, syslog (RFC 5424)."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from .consumer import Recorded
from .event import EventKind, Outcome

_COLUMNS = (
    "seq",
    "time",
    "event",
    "outcome",
    "why",
    "sub",
    "sid",
    "client_id",
    "address",
    "user_agent",
    "request_id",
    "actor",
    "details",
    "id",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_FACILITY = 13
"""Log audit (RFC 5424 section 6.2.1)."""
_NOTICE, _WARNING, _ERROR = 5, 4, 3
_ALARMS = {EventKind.REUSE_DETECTED, EventKind.ROLLBACK_DETECTED, EventKind.ANOMALY}
_ENTERPRISE = "gatepass@32473"
"""SD-ID; 32473 is the number for examples (RFC 5612), since we have none of our own."""
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


def plain(recorded: Recorded) -> dict[str, Any]:
    """An event as one object, its time in ISO 8601."""
    fields = asdict(recorded.event)
    return {
        "seq": recorded.seq,
        "time": moment(recorded.event.time),
        "event": fields.pop("kind"),
        **{name: value for name, value in fields.items() if name != "time"},
    }


def moment(seconds: float) -> str:
    """ISO 8601 in UTC with milliseconds (RFC 3339, and so RFC 5424 section 6.2.3)."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def json_lines(events: Iterable[Recorded]) -> Iterator[str]:
    """One JSON object a line."""
    for recorded in events:
        yield json.dumps(plain(recorded), sort_keys=True) + "\n"


def comma_separated(events: Iterable[Recorded]) -> Iterator[str]:
    """CSV (RFC 4180) with a header; what a spreadsheet would run as a formula begins with `'`."""
    yield _csv_line(_COLUMNS)
    for recorded in events:
        fields = plain(recorded)
        fields["details"] = json.dumps(fields["details"], sort_keys=True)
        yield _csv_line([_harmless(fields[name]) for name in _COLUMNS])


def _harmless(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.encode("utf-8", "replace").decode("utf-8")  # no half of a character
    # A user agent is whatever the caller sends (OWASP: CSV injection).
    return f"'{text}" if text.startswith(_FORMULA) else text


def _csv_line(values: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)
    return line.getvalue()


def syslog(events: Iterable[Recorded]) -> Iterator[str]:
    """RFC 5424 messages, one a line: kind as MSGID, fields as structured data, JSON as the text."""
    host = _word(socket.gethostname(), 255)
    version = metadata.version("gatepass")
    for recorded in events:
        event = recorded.event
        severity = _NOTICE
        if event.kind in _ALARMS:
            severity = _ERROR
        elif event.outcome is Outcome.FAILURE:
            severity = _WARNING
        fields = {
            name: value
            for name, value in plain(recorded).items()
            if name not in {"details", "time", "event"} and value not in {None, ""}
        }
        data = " ".join(f'{name}="{_escaped(str(value))}"' for name, value in fields.items())
        details = json.dumps(dict(event.details), sort_keys=True)
        yield (
            f"<{_FACILITY * 8 + severity}>1 {moment(event.time)} {host} gatepass {os.getpid()}"
            f' {_word(event.kind.value, 32)} [{_ENTERPRISE} version="{version}" {data}] {details}\n'
        )


def _word(text: str, longest: int) -> str:
    return _UNPRINTABLE.sub("_", text)[:longest] or "-"


def _escaped(text: str) -> str:
    # RFC 5424 section 6.3.3; a line break would begin another message where lines divide them.
    text = "".join(character if character.isprintable() else " " for character in text)
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


FORMATS: dict[str, Callable[[Iterable[Recorded]], Iterator[str]]] = {
    "jsonl": json_lines,
    "csv": comma_separated,
    "syslog": syslog,
}
