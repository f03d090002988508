"""The forward-auth service's log: one line for each event, on standard error, never a token."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from enum import StrEnum
from typing import Any

from .request_ids import current

# W3C Trace Context section 3.2.2: version, trace-id, parent-id and flags, in lower case.
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")
_FIELDS = "gatepass"


class LogRequests(StrEnum):
    """Which decisions are logged."""

    NONE = "none"
    REFUSED = "refused"
    ALL = "all"


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": _instant(record.created),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class PlainLines(logging.Formatter):
    """A line for a person."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields_of(record)
        parts = [_instant(record.created), record.levelname.lower(), record.getMessage()]
        parts += [f"{name}={_plain(value)}" for name, value in fields.items()]
        line = " ".join(parts)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    given: dict[str, Any] = getattr(record, _FIELDS, {})
    request_id = current.get()
    return {**given, "request_id": request_id} if request_id else given


def _plain(value: Any) -> str:
    # As JSON where it could be taken for another field or line.
    text = str(value)
    return text if text.isascii() and text.isprintable() and " " not in text else json.dumps(text)


def _instant(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"


def configure_service_log(*, as_json: bool) -> None:
    """Send our events and the server's warnings to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else PlainLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel("WARNING")
    logging.getLogger("gatepass").setLevel("INFO")


def fields(**given: Any) -> dict[str, dict[str, Any]]:
    """`extra` for a log call; what is None is left out."""
    return {_FIELDS: {name: value for name, value in given.items() if value is not None}}


def traceparent_of(header: bytes | None) -> str | None:
    """A `traceparent` that is one; anything else that a client sends stays out of the log."""
    if header is None or _TRACEPARENT.match(header) is None:
        return None
    return header.decode("ascii")
