"""Makes a database that came back from the past safe; a backup's rows are loaded on the way.

An older database holds older passwords and versions, spent reset tokens and revoked keys, and
lacks revocations. What was lost cannot be had back, so everything that was ever handed out ends:
SQL says so in one transaction, and Redis follows. Each step may be repeated; a process that dies
after the commit leaves an undone row in the journal, which whoever starts next carries out.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import sqlalchemy as sa

from keys import HeldKeyStore, KeyRing, generate, rotate
from revocation import (
    ClocksApart,
    Denylist,
    DenylistLost,
    DenylistReplaced,
    DenylistUnavailable,
    Entry,
    Kind,
    open_denylist,
)

from .backup import BackupError, BackupFile, Progress, load_rows, no_progress
from .crash_points import CrashPoint, reach
from .database import open_engine
from .database.engine import current_revision, is_known_revision, reading, upgrade, writing
from .database.tables import (
    accounts,
    audit_sessions,
    denylist_positions,
    factor_challenges,
    factors,
    journal,
    metadata,
    password_resets,
    recovery_codes,
)
from .factors.totp import SKEW, step_at
from .families import FamilyStore, FamilyUnavailable, RotationRules, open_families
from .journal import Journal, Reason, append_row
from .key_stores import key_maker, open_key_store, open_ring_store, open_token
from .lost_time import Restored, Seen, highest_of, look, look_at_replaced, report_on, values_of
from .parties import LONGEST_ACCESS_LIFETIME
from .positions import Positions
from .revoker import Revoker
from .ring import without
from .settings import Settings
from .sql_key_store import SqlKeyStore

_HINT = "nothing was changed; --without-redis does the database's part alone"


@dataclass(frozen=True, slots=True)
class _Stores:
    families: FamilyStore
    denylist: Denylist


def restore(
    settings: Settings,
    backup: BackupFile | None,
    *,
    replace_rows: bool = False,
    without_redis: bool = False,
    clock: Callable[[], float] = time.time,
    progress: Progress = no_progress,
) -> Restored:
    """Load a backup and make it safe; without one, make the database safe as it is.

    A backup goes into an empty database, or with `replace_rows` over the rows of one. Run again
    after it died, it completes what was begun. Raises `BackupError`, `DatabaseUnavailable`,
    `keys.KeyStoreError`, and `FamilyUnavailable` or `DenylistUnavailable`: before the commit if
    Redis does not answer, when nothing was changed, after it if Redis fails then.
    """
    with _opened(settings, without_redis=without_redis) as (engine, stores):
        seen = Seen()
        if stores is not None:
            _look(stores, settings, seen, clock)
        with writing(engine) as connection:
            _take_hold(connection)
            begun = None
            if backup is not None and not replace_rows:
                begun = _begun(connection, backup)
            if begun is None:
                _put_rows(connection, backup, seen, replace_rows=replace_rows, progress=progress)
                report = report_on(connection, backup, settings, seen)
                make_safe(connection, settings, seen, backup.digest if backup else "", clock)
            else:
                seen.forget_above(begun)
                report = report_on(connection, backup, settings, seen)
            reach(CrashPoint.RESTORE_MADE_SAFE)
        reach(CrashPoint.RESTORE_COMMITTED)
        take_out_revoked(engine, settings, int(clock()))
        reach(CrashPoint.RESTORE_RING_CHECKED)
        if stores is None:
            return report
        watermark = complete(engine, stores.families, stores.denylist, settings, clock)
        return replace(report, watermark=watermark)


@contextmanager
def _opened(
    settings: Settings, *, without_redis: bool
) -> Iterator[tuple[sa.Engine, _Stores | None]]:
    engine = open_engine(settings.database_url)
    stores = None
    try:
        if not without_redis:
            try:
                stores = _Stores(
                    open_families(
                        settings.redis_url, RotationRules(), namespace=settings.namespace
                    ),
                    open_denylist(settings.denylist, namespace=settings.namespace),
                )
            except DenylistUnavailable as error:
                raise DenylistUnavailable(f"{error}; {_HINT}") from None
        yield engine, stores
    finally:
        if stores is not None:
            stores.denylist.close()
            stores.families.close()
        engine.dispose()


def _look(stores: _Stores, settings: Settings, seen: Seen, clock: Callable[[], float]) -> None:
    try:
        look(stores.families, stores.denylist, settings, seen)
        # The epoch's watermark is by this host's clock, and what it refuses cannot be taken back.
        if abs(stores.denylist.time() - clock()) > settings.clock_tolerance:
            raise ClocksApart
    except FamilyUnavailable as error:
        raise FamilyUnavailable(f"{error}; {_HINT}") from None
    except DenylistUnavailable as error:
        raise DenylistUnavailable(f"{error}; {_HINT}") from None


# Rows


def _take_hold(connection: sa.Connection) -> None:
    """Keep every other writer away until the commit. (SQLite has done so from BEGIN on.)"""
    if connection.dialect.name != "postgresql":
        return
    # Loading may take longer than any other statement of ours; waiting for the lock may not.
    connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
    present = sorted(set(sa.inspect(connection).get_table_names()) & set(metadata.tables))
    if present:
        connection.execute(sa.text(f"LOCK TABLE {', '.join(present)} IN EXCLUSIVE MODE"))


def _begun(connection: sa.Connection, backup: BackupFile) -> int | None:
    """When a restore of this file was committed that has not been completed; None if none was."""
    if current_revision(connection) is None:
        return None
    return connection.scalar(
        sa.select(journal.c.created).where(
            journal.c.kind == Kind.EPOCH.value,
            journal.c.value == backup.digest,
            sa.not_(journal.c.done),
        )
    )


def _put_rows(
    connection: sa.Connection,
    backup: BackupFile | None,
    seen: Seen,
    *,
    replace_rows: bool,
    progress: Progress,
) -> None:
    """Load the backup, if there is one, and bring the schema up to date."""
    revision = current_revision(connection)
    for one in (revision, backup.header.revision if backup else None):
        if one is not None and not is_known_revision(one):
            raise BackupError(f"the schema {one} is of another version of gatepass")
    if backup is None:
        if revision is None:
            raise BackupError("the database holds nothing that could be made safe")
    elif revision is None:
        upgrade(connection, backup.header.revision)
        load_rows(connection, backup, progress)
    elif revision != backup.header.revision:
        raise BackupError(
            f"the backup's schema is {backup.header.revision}, the database's {revision}:"
            " restore it into an empty database, which is brought up to date"
        )
    else:
        if not replace_rows and _holds_rows(connection):
            raise BackupError("the database is not empty; --replace replaces what it holds")
        look_at_replaced(connection, seen)
        load_rows(connection, backup, progress)
    upgrade(connection)


def _holds_rows(connection: sa.Connection) -> bool:
    return any(
        connection.execute(sa.select(table.primary_key.columns[0]).limit(1)).first() is not None
        for table in (accounts, journal)
    )


# Safety: each step is there because something of before would work again without it


def make_safe(
    connection: sa.Connection,
    settings: Settings,
    seen: Seen,
    name: str,
    clock: Callable[[], float],
) -> None:
    """End everything that was ever handed out, within the caller's transaction.

    `name` is what the epoch's row is found by again.
    """
    now = int(clock())
    raise_versions(connection, max(seen.highest, now))
    forget_resets(connection)
    forget_codes(connection, now)
    forget_positions(connection)
    forget_sessions(connection)
    keep_revoked(connection, seen.kids, now)
    replace_ring(connection, settings, now)
    # Last, by the time of then: tokens are issued from the older rows until the commit.
    entry = _epoch(settings, name or secrets.token_urlsafe(16), int(clock()))
    declare_epoch(connection, entry, now)


def raise_versions(connection: sa.Connection, seen: int) -> None:
    """Put every account above all versions there ever were.

    One more than the restored version would be reached again, and with it old sessions. `seen`
    takes in the time in seconds: versions rise one by one and never as fast.
    """
    floor = max(seen, highest_of(connection)) + 1
    connection.execute(sa.update(accounts).values(credential_version=floor, sub_ver=floor))


def forget_resets(connection: sa.Connection) -> None:
    """A reset token that was spent since must not come back."""
    connection.execute(sa.delete(password_resets))


def forget_codes(connection: sa.Connection, now: int) -> None:
    """A recovery code that was spent since must not come back, nor one of an app seen just now."""
    connection.execute(sa.delete(recovery_codes))
    connection.execute(sa.delete(factor_challenges))
    seen = step_at(now) + SKEW
    connection.execute(sa.update(factors).where(factors.c.last_step < seen).values(last_step=seen))


def forget_positions(connection: sa.Connection) -> None:
    """The place in the feed belongs to another history."""
    connection.execute(sa.delete(denylist_positions))


def forget_sessions(connection: sa.Connection) -> None:
    """None of them lives on: their versions are old."""
    connection.execute(sa.delete(audit_sessions))


def keep_revoked(connection: sa.Connection, kids: set[str], now: int) -> None:
    """A revoked key stays so for good: whoever has it chooses his own times."""
    for kid in sorted(kids - set(values_of(connection, Kind.KEY))):
        append_row(connection, Entry.key(kid), reason=Reason.RESTORE, now=now)


def replace_ring(connection: sa.Connection, settings: Settings, now: int) -> None:
    """A ring in SQL may hold a key that was revoked since: all of them go, new ones sign."""
    token = open_token(settings)
    store = open_ring_store(settings, connection.engine, token)
    if not isinstance(store, SqlKeyStore):
        return
    make = generate if token is None else HeldKeyStore(store, token, grace=0).generate
    policy = settings.rotation_policy()
    gone: set[str] = set()

    def renewed(old: KeyRing) -> KeyRing:
        gone.update(old.verification_keys())
        return rotate(KeyRing(), now, policy, make)

    store.update_in(connection, renewed)
    keep_revoked(connection, gone, now)


def declare_epoch(connection: sa.Connection, epoch: Entry, now: int) -> None:
    """Journal that every token of before is refused; undone, so that whoever starts pushes it."""
    append_row(connection, epoch, reason=Reason.RESTORE, now=now)


def _epoch(settings: Settings, name: str, now: int) -> Entry:
    watermark = now + settings.issuer_skew
    # The lifetimes that were in force are lost with the rest, so the longest that may be set.
    expires = watermark + LONGEST_ACCESS_LIFETIME + settings.entry_margin + 1
    return replace(Entry.epoch(name, watermark), expires=expires)


# Redis


def complete(
    engine: sa.Engine,
    families: FamilyStore,
    denylist: Denylist,
    settings: Settings,
    clock: Callable[[], float],
) -> int:
    """Bring Redis to what SQL says; returns the watermark. May be repeated.

    Raises `DatabaseUnavailable`, `DenylistUnavailable`, `FamilyUnavailable`.
    """
    watermark, floor = raise_epoch(engine, settings, int(clock()))
    # Whoever follows the old feed learns at once, rather than when it finds the feed gone.
    with suppress(DenylistLost, DenylistReplaced):
        denylist.add([_epoch(settings, "", watermark - settings.issuer_skew)])
    reach(CrashPoint.RESTORE_ANNOUNCED)
    denylist.replace(watermark)
    reach(CrashPoint.RESTORE_REPLACED)
    families.clear(below=floor)
    reach(CrashPoint.RESTORE_CLEARED)
    revoker = Revoker(
        Journal(engine, clock),
        denylist,
        families,
        Positions(engine),
        longest_access=settings.longest_access,
        margin=settings.entry_margin,
        clock=clock,
        withdraw_key=lambda _kid: take_out_revoked(engine, settings, int(clock())),
    )
    revoker.fill()
    reach(CrashPoint.RESTORE_FILLED)
    revoker.complete_undone()
    reach(CrashPoint.RESTORE_COMPLETED)
    return watermark


def raise_epoch(engine: sa.Engine, settings: Settings, now: int) -> tuple[int, int]:
    """Move the epoch on to now, and return its watermark and the accounts' floor.

    An issuer that runs may have read an older row just before the commit, and signed after it.
    """
    epoch = _epoch(settings, "", now)
    with writing(engine) as connection:
        row = connection.execute(
            sa.select(journal.c.id, journal.c.created)
            .where(journal.c.kind == Kind.EPOCH.value, journal.c.reason == str(Reason.RESTORE))
            .order_by(journal.c.id.desc())
            .limit(1)
        ).one()
        connection.execute(
            sa.update(journal)
            .where(journal.c.id == row.id)
            .values(level=epoch.level, expires=epoch.expires, kept_until=epoch.expires)
        )
        # Accounts made since the commit begin at 1 and may have sessions already.
        raised = sa.select(sa.func.min(accounts.c.credential_version))
        floor = connection.scalar(raised.where(accounts.c.credential_version > row.created))
        return epoch.level, floor or row.created + 1


def take_out_revoked(engine: sa.Engine, settings: Settings, now: int) -> None:
    """A key that is refused for good must not sign: a directory may be older than the journal."""
    with reading(engine) as connection:
        kids = set(values_of(connection, Kind.KEY))
    policy = settings.rotation_policy()
    store = open_key_store(settings, engine)
    if kids & store.load().verification_keys().keys():
        store.update(lambda ring: without(ring, kids, now, policy, key_maker(store)))
