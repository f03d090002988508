"""What is still known of the time that a database lost, and what an operator is told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import sqlalchemy as sa

from revocation import Denylist, DenylistLost, Kind
from revocation.entry import record_key

from .backup import BackupFile
from .database.tables import accounts, disabled_clients, journal
from .families import FamilyStore
from .key_stores import open_key_store
from .settings import Settings


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did, and what an operator has to look at. Times in seconds."""

    made: int | None
    """When the backup was made, where there is a file that says so."""
    accounts: int
    changed: tuple[str, ...]
    """Accounts whose password, roles or state had changed since: the old ones are back."""
    missing: tuple[str, ...]
    """Accounts of the rows that were replaced which the backup does not have."""
    clients: tuple[str, ...]
    """Clients and audiences revoked since, which work again."""
    watermark: int | None
    """Every token issued until then is refused; None as long as Redis has not followed."""

    @property
    def completed(self) -> bool:
        """Whether Redis has followed; the next issuer that starts sees to it otherwise."""
        return self.watermark is not None


@dataclass(slots=True)
class Seen:
    """What is still known of the time that was lost."""

    families: dict[str, int] = field(default_factory=dict)
    """The highest credential version of each subject's families."""
    salt: bytes = b""
    records: dict[bytes, int] = field(default_factory=dict)
    """The denylist's levels of subjects, clients and keys."""
    kids: set[str] = field(default_factory=set)
    """Keys known to have been revoked."""
    names: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """Of the rows that are replaced: name and both versions by account."""
    clients: set[str] = field(default_factory=set)
    highest: int = 0
    """The highest version or level of all."""

    def forget_above(self, version: int) -> None:
        """Leave out what came after a restore that had been begun: it is above everything."""
        self.families = {sub: one for sub, one in self.families.items() if one <= version}
        self.records = {key: one for key, one in self.records.items() if one <= version}

    def level(self, kind: Kind, value: str) -> int:
        """What the denylist had of somebody, 0 for nothing."""
        return self.records.get(record_key(kind, value, self.salt), 0) if self.salt else 0


def look(families: FamilyStore, denylist: Denylist, settings: Settings, seen: Seen) -> None:
    """Read what Redis shows of the time that was lost. Raises where it does not answer."""
    for sub, version in families.versions():
        seen.families[sub] = max(seen.families.get(sub, 0), version)
    with suppress(DenylistLost):
        snapshot = denylist.snapshot()
        seen.salt = snapshot.state.salt
        for record in snapshot.records:
            if record.kind in {Kind.SUBJECT, Kind.CLIENT, Kind.KEY}:
                seen.records[record.key] = max(seen.records.get(record.key, 0), record.level)
            if record.kind is Kind.SUBJECT:
                seen.highest = max(seen.highest, record.level)
    seen.highest = max(seen.highest, *seen.families.values(), 0)
    # A ring in a directory is in no backup; it may have been put back by the same hands.
    if settings.key_store == "directory":
        ring = open_key_store(settings).load()
        seen.kids |= {kid for kid in ring.verification_keys() if seen.level(Kind.KEY, kid)}


def look_at_replaced(connection: sa.Connection, seen: Seen) -> None:
    """The rows that a backup replaces know best what has happened since."""
    columns = (
        accounts.c.id,
        accounts.c.username,
        accounts.c.credential_version,
        accounts.c.sub_ver,
    )
    for row in connection.execute(sa.select(*columns)):
        seen.names[row.id] = (row.username, row.credential_version, row.sub_ver)
    seen.kids |= set(values_of(connection, Kind.KEY))
    seen.clients |= set(connection.scalars(sa.select(disabled_clients.c.client_id)))
    seen.highest = max(seen.highest, highest_of(connection))


def values_of(connection: sa.Connection, kind: Kind) -> list[str]:
    return list(connection.scalars(sa.select(journal.c.value).where(journal.c.kind == kind.value)))


def highest_of(connection: sa.Connection) -> int:
    queries = (
        sa.select(sa.func.max(accounts.c.credential_version)),
        sa.select(sa.func.max(accounts.c.sub_ver)),
        sa.select(sa.func.max(journal.c.level)).where(journal.c.kind == Kind.SUBJECT.value),
    )
    return max(connection.scalar(query) or 0 for query in queries)


def report_on(
    connection: sa.Connection, backup: BackupFile | None, settings: Settings, seen: Seen
) -> Restored:
    """Compare what is back, as it was, with what is known."""
    changed, here = [], set[str]()
    for sub, name, credential, version in _restored(connection, backup):
        here.add(sub)
        _, known_credential, known_version = seen.names.get(sub, ("", 0, 0))
        known_credential = max(known_credential, seen.families.get(sub, 0))
        known_version = max(known_version, seen.level(Kind.SUBJECT, sub))
        if known_credential > credential or known_version > version:
            changed.append(name)
    names = set(settings.clients) | {client.audience for client in settings.clients.values()}
    known = _client_levels(connection)
    revoked = {n for n in names if seen.level(Kind.CLIENT, n) > known.get(n, 0)} | seen.clients
    disabled = set(connection.scalars(sa.select(disabled_clients.c.client_id)))
    return Restored(
        made=backup.header.created if backup else None,
        accounts=len(here),
        changed=tuple(sorted(changed)),
        missing=tuple(sorted(name for sub, (name, *_) in seen.names.items() if sub not in here)),
        clients=tuple(sorted(revoked - disabled)),
        watermark=None,
    )


def _client_levels(connection: sa.Connection) -> dict[str, int]:
    """The revocations of clients that came back with the rows: these were not lost."""
    query = (
        sa.select(journal.c.value, sa.func.max(journal.c.level).label("level"))
        .where(journal.c.kind == Kind.CLIENT.value)
        .group_by(journal.c.value)
    )
    return {row.value: row.level for row in connection.execute(query)}


def _restored(
    connection: sa.Connection, backup: BackupFile | None
) -> Iterator[tuple[str, str, int, int]]:
    """Id, name and both versions of each account as it came back."""
    names = ("id", "username", "credential_version", "sub_ver")
    if backup is None:
        for row in connection.execute(sa.select(*(accounts.c[name] for name in names))):
            yield row.id, row.username, row.credential_version, row.sub_ver
        return
    for table, given in backup.rows():
        if table == "accounts":
            yield given["id"], given["username"], given["credential_version"], given["sub_ver"]


def describe(report: Restored, when: Callable[[float], str]) -> list[str]:
    """What an operator is told, a line for each; `when` words a time."""
    told = []
    if report.changed:
        told.append(
            "changed since, so that the old password, roles or state are back:"
            f" {', '.join(report.changed)}. Disable these accounts, or set their passwords anew"
        )
    if report.missing:
        told.append(f"not in the backup, and gone: {', '.join(report.missing)}")
    if report.clients:
        told.append(f"revoked since, and working again: {', '.join(report.clients)}")
    if report.watermark is not None:
        told.append(f"every token issued until {when(report.watermark)} is refused")
    else:
        told.append("the next issuer that starts ends the tokens and sessions of before")
    return told
