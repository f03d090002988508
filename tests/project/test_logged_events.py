"""docs/logs.md explains every event that the code logs, and none that it does not."""

from __future__ import annotations

import re
from pathlib import Path

from harness.log_calls import LogCall, log_calls

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("issuer", "gateway", "revocation", "keys", "tokens")
SAID_INDIRECTLY = {
    "issuer/pulse.py": {"denylist_lost", "denylist_not_ready", "denylist_went_back"},
    "gateway/jwks.py": {"keeping the last good keys: …", "no keys yet: …"},
    "gateway/agents/issuer_keys.py": {"this gateway cannot verify … under kid …"},
    "revocation/follower.py": {"the replica cannot follow: …", "the denylist has no epoch; …"},
}
"""What is logged by a variable, each under the file that does so."""

_ROW = re.compile(r"^\| `([^|]+)` \| (\w+) \|([^|]*)\| ([^|]+) \|$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"%[.0-9]*[sdf]")


def documented() -> dict[str, tuple[str, set[str]]]:
    """Level and fields of each event on the page."""
    page = (ROOT / "docs" / "logs.md").read_text("utf-8")
    rows = _ROW.findall(page)
    assert len({event for event, *_ in rows}) == len(rows), "an event has two rows"
    return {event: (level, set(re.findall(r"`(\w+)`", fields))) for event, level, fields, _ in rows}


def calls() -> list[LogCall]:
    return list(log_calls(ROOT, PACKAGES))


def named(call: LogCall) -> str:
    return _PLACEHOLDER.sub("…", call.event)


def test_every_event_is_explained() -> None:
    """With its level and each of its fields."""
    rows = documented()
    for call in calls():
        if not call.event:
            file = call.place.partition(":")[0]
            assert SAID_INDIRECTLY[file] <= set(rows), f"{call.place} says what docs/logs.md lacks"
            continue
        assert named(call) in rows, f"{call.place}: docs/logs.md has no row for {named(call)!r}"
        level, fields = rows[named(call)]
        assert level == call.level, call
        assert call.fields <= fields, call


def test_nothing_else_is_explained() -> None:
    """A row for what is logged no more would be looked for in vain."""
    logged = {named(call) for call in calls()}.union(*SAID_INDIRECTLY.values())
    assert set(documented()) - logged == set()


def test_no_row_has_a_field_that_no_line_has() -> None:
    """But for calls that hand over a mapping."""
    rows, given = documented(), dict[str, set[str]]()
    for call in calls():
        given.setdefault(named(call), set()).update(call.fields)
        if call.hands_over:
            given[named(call)] |= rows[named(call)][1]
    for event, (_, fields) in rows.items():
        assert fields <= given.get(event, set()), event
