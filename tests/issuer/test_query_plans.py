"""Each query of the journal, and those of every request, are answered by an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from harness import stacks
from harness.issuer_app import IssuerApp, granted

from issuer.database.engine import writing
from issuer.database.tables import journal
from issuer.journal import JournalRow, Reason, append_row
from issuer.services import Services
from revocation import Entry, Kind, Position

SID = "A" * 22

# What is asked, and the indexes that answer it: names as SQLite gives them, and PostgreSQL.
PRIMARY = ("INTEGER PRIMARY KEY", "pk_journal")
ROWS = [JournalRow(number, Entry.session(SID, 5), None, "") for number in (1, 2)]
FAR = Position("epoch", 7, "chain")
QUERIES: dict[str, tuple[Callable[[Services], object], tuple[str, str]]] = {
    "undone": (lambda s: s.journal.undone(), ("ix_journal_undone",) * 2),
    "undone_of": (lambda s: s.journal.undone_of("somebody"), ("ix_journal_undone",) * 2),
    "in_force": (lambda s: s.journal.in_force(), ("ix_journal_expires",) * 2),
    "prune": (lambda s: s.journal.prune(), ("ix_journal_kept_until",) * 2),
    "get": (lambda s: s.journal.get([1, 2]), PRIMARY),
    "mark_done": (lambda s: s.journal.mark_done(ROWS, least_expires=0), PRIMARY),
    "ended_among": (lambda s: s.journal.ended_among([SID]), ("ix_journal_kind_value",) * 2),
    "find": (lambda s: s.journal.find(Kind.SESSION, SID), ("ix_journal_kind_value",) * 2),
    "position": (lambda s: s.positions.read(), ("INTEGER PRIMARY KEY", "pk_denylist_positions")),
    "move": (
        lambda s: s.positions.move(FAR, replace(FAR, seq=8)),
        ("INTEGER PRIMARY KEY", "pk_denylist_positions"),
    ),
    "client_watermark": (
        lambda s: s.journal.client_watermark("demo", "api"),
        ("ix_journal_kind_value",) * 2,
    ),
    "standing": (
        lambda s: s.accounts.standing("somebody", sid=SID, client_id="demo", audience="api"),
        ("ix_journal_kind_value",) * 2,
    ),
}


@pytest.fixture
def statements(issuer: IssuerApp) -> Iterator[list[tuple[str, Any]]]:
    """Every statement that reads or writes rows, with its parameters, as it is executed."""
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.split(None, 1)[0] in {"SELECT", "UPDATE", "DELETE"}:
            seen.append((statement, parameters))

    sa.event.listen(issuer.services.engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(issuer.services.engine, "before_cursor_execute", note)


def plan(engine: sa.Engine, statement: str, parameters: Any) -> list[str]:
    """How the database would answer, one step a line."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            return [str(row[-1]) for row in found]
        connection.exec_driver_sql("ANALYZE journal")
        # The tables are small here, and then it would rather read them whole.
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        found = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        return [str(row[0]) for row in found]


def whole_tables(lines: list[str]) -> list[str]:
    """The steps that read a table from end to end, or an index that is not the undone rows'."""
    return [
        line
        for line in lines
        if (line.startswith("SCAN") and line not in {"SCAN CONSTANT ROW", "SCAN 1 CONSTANT ROW"})
        or "Seq Scan" in line
        if "ix_journal_undone" not in line
    ]


def fill(issuer: IssuerApp) -> None:
    """Some rows of each sort, and enough of them that it matters which index is used."""
    now = int(issuer.clock())
    columns = {"kind": "session", "reason": "logout", "sub": "a person", "level": 0, "done": True}
    bulk = [
        {**columns, "value": f"bulk {number}", "created": now, "expires": end, "kept_until": end}
        for number, end in enumerate(range(now - 1_500, now + 1_500))
    ]
    with writing(issuer.services.engine) as connection:
        connection.execute(sa.insert(journal), bulk)
        rows = [
            append_row(
                connection,
                Entry.session(f"{number:022d}", now + 10 * number),
                reason=Reason.LOGOUT,
                now=now,
                sub=f"person {number % 7}",
            )
            for number in range(60)
        ]
    issuer.services.journal.mark_done(issuer.services.journal.get(rows[5:]), least_expires=0)


@stacks.both_databases
@pytest.mark.parametrize("name", QUERIES)
def test_an_index_answers(
    issuer: IssuerApp, stack: tuple[str, str], statements: list[tuple[str, Any]], name: str
) -> None:
    """The query uses the index that was made for it, and reads no table whole."""
    ask, indexes = QUERIES[name]
    fill(issuer)
    statements.clear()
    ask(issuer.services)
    (executed,) = statements
    statements.clear()
    lines = plan(issuer.services.engine, *executed)
    expected = indexes[stack[0] == "postgresql"]
    assert any(expected in line for line in lines), lines
    assert whole_tables(lines) == []


@stacks.both_databases
def test_no_request_reads_a_table_whole(
    issuer: IssuerApp, statements: list[tuple[str, Any]]
) -> None:
    """Every statement of every kind of request finds its rows by an index."""
    fill(issuer)
    statements.clear()
    grant = issuer.grant()
    granted(issuer.refresh(grant["refresh_token"]))
    granted(issuer.sessions(grant["access_token"]))
    granted(issuer.introspect(grant["access_token"]))
    granted(issuer.introspect(grant["refresh_token"]))
    granted(issuer.revoke(grant["access_token"]))
    granted(issuer.logout(grant["refresh_token"]))
    granted(issuer.change_password(issuer.grant()["access_token"]))
    token = issuer.forgot()
    body = {"token": token, "new_password": "one more unusual phrase 31"}
    granted(issuer.post("/password/reset", body))
    executed = {statement: (statement, parameters) for statement, parameters in statements}
    assert len(executed) > 12
    assert sum("password_resets" in statement for statement in executed) >= 3
    # The few access lifetimes that were ever in force are read whole.
    found = {
        statement: whole
        for statement, parameters in executed.values()
        if "access_lifetimes" not in statement
        and (whole := whole_tables(plan(issuer.services.engine, statement, parameters)))
    }
    assert found == {}
