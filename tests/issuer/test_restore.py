"""A database that goes back in time, made safe: nothing that was handed out before works again."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from harness import stacks
from harness.issuer_app import NEW_PASSWORD, USERNAME, IssuerApp, granted
from harness.lost_time import LostTime, rewrite
from pydantic import SecretStr

from issuer import crash_points, restoring
from issuer.backup import BackupError, BackupFile, write_backup
from issuer.crash_points import watch
from issuer.database import open_engine, require_schema
from issuer.database.engine import upgrade, writing
from issuer.database.tables import metadata
from issuer.families import FamilyUnavailable
from issuer.lost_time import describe
from issuer.restoring import restore
from issuer.sessions.grant import grant
from keys import KeyRing, KeyStoreError, envelope
from revocation import DenylistUnavailable, Kind, Replica

SECRET = "nineteen pewter saucers 5512, and a long one"
MODES = ("file", "in-place")
RINGS: dict[str, dict[str, Any]] = {
    "directory": {},
    "database": {"key_store": "database", "keys_secret": SECRET},
}


@pytest.fixture(autouse=True)
def _unwatched() -> Iterator[None]:
    yield
    watch(crash_points._pass_by)


@pytest.fixture(autouse=True)
def _cheap_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    """How dear one is has a test of its own; here most of the time would go into it."""
    monkeypatch.setattr(envelope, "_PBKDF2_COUNT", 1000)


@pytest.fixture(params=RINGS)
def ring(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def lost(make_issuer: Callable[..., IssuerApp], ring: str, tmp_path: Path) -> LostTime:
    """An issuer that has lived on after its backup."""
    lost = LostTime(make_issuer(**RINGS[ring]), tmp_path / "backup")
    lost.begin()
    lost.go_on()
    return lost


def held_in_full(mode: str, ring: str) -> set[str]:
    """What nothing of ours can tell: a key revoked in a journal that is gone, not in the ring.

    Replicas keep the entry through the change of epoch, and the JWKS does not have the key.
    """
    return {"stolen key"} if (mode, ring) == ("in-place", "directory") else set()


@pytest.mark.parametrize("without_redis", [False, True], ids=["redis", "without-redis"])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_of_before_works_again(
    lost: LostTime, ring: str, mode: str, without_redis: bool
) -> None:
    """No access token for its whole life, no refresh, no spent reset token, no revoked key.

    Also where Redis is left to the issuer that beats next.
    """
    lost.restore(mode, without_redis=without_redis)
    allowed = held_in_full(mode, ring) if not without_redis else set()
    assert lost.violations() == allowed


@pytest.mark.parametrize("mode", MODES)
def test_new_logins_work(lost: LostTime, mode: str) -> None:
    """With the password of then; their tokens are good once the watermark has passed."""
    issuer = lost.issuer
    old = issuer.services.denylist.state()
    report = lost.restore(mode)
    new = issuer.services.denylist.state()
    assert new.position.epoch != old.position.epoch, "no place in the old feed means anything now"
    assert (new.watermark, new.ready) == (report.watermark, True)
    lost.start_issuer()
    assert report.watermark == int(issuer.clock()) + 5
    issuer.clock.advance_to(report.watermark + 1)
    assert issuer.login(password=NEW_PASSWORD).status_code == 400
    grant = issuer.grant()
    assert lost.accepts(grant["access_token"])
    assert granted(issuer.sessions(grant["access_token"]))
    assert lost.accepts(granted(issuer.refresh(grant["refresh_token"]))["access_token"])
    assert not any(lost.accepts(token) for token in lost.access)


def _nothing(*_arguments: Any) -> None:
    """A step left out."""


def _by_one(connection: sa.Connection, _seen: int) -> None:
    accounts = metadata.tables["accounts"]
    raised = {name: accounts.c[name] + 1 for name in ("credential_version", "sub_ver")}
    connection.execute(sa.update(accounts).values(**raised))


def _without_time(connection: sa.Connection, _seen: int) -> None:
    accounts = metadata.tables["accounts"]
    highest = restoring.highest_of(connection) + 1
    connection.execute(sa.update(accounts).values(credential_version=highest, sub_ver=highest))


Mutant = tuple[str, Callable[..., Any], str, str, bool, str]
MUTANTS: dict[str, Mutant] = {
    # step, what it does instead, mode, ring, without Redis, what works again
    "versions by one": ("raise_versions", _by_one, "in-place", "directory", True, "refresh"),
    "no time": ("raise_versions", _without_time, "in-place", "directory", True, "refresh"),
    "no versions": ("raise_versions", _nothing, "in-place", "directory", True, "refresh"),
    "resets kept": ("forget_resets", _nothing, "in-place", "directory", False, "reset"),
    "codes kept": ("forget_codes", _nothing, "in-place", "directory", False, "recovery code"),
    "no epoch": ("declare_epoch", _nothing, "in-place", "directory", True, "access"),
    "ring kept": ("replace_ring", _nothing, "in-place", "database", False, "stolen key"),
    "keys forgotten": ("keep_revoked", _nothing, "file", "directory", False, "stolen key"),
}


@stacks.anywhere
@pytest.mark.parametrize("mutant", MUTANTS)
def test_each_step_is_needed(
    make_issuer: Callable[..., IssuerApp],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mutant: str,
) -> None:
    """Without any one of them, something of before works again, and is seen to."""
    step, instead, mode, ring, without_redis, works = MUTANTS[mutant]
    monkeypatch.setattr(restoring, step, instead)
    lost = LostTime(make_issuer(**RINGS[ring]), tmp_path / "backup")
    lost.begin()
    lost.go_on()
    lost.restore(mode, without_redis=without_redis)
    assert works in lost.violations()


@stacks.anywhere
@pytest.mark.parametrize("ring", ["directory"], indirect=True)
@pytest.mark.parametrize("mutant", [False, True], ids=["", "mutant"])
def test_an_issuer_that_read_before_the_commit(
    lost: LostTime, monkeypatch: pytest.MonkeyPatch, mutant: bool
) -> None:
    """What it signs after the first watermark, from the older row, is refused too."""
    issuer, services = lost.issuer, lost.issuer.services
    late: list[str] = []
    if mutant:
        monkeypatch.setattr(
            restoring,
            "raise_epoch",
            lambda _engine, settings, now: (restoring._epoch(settings, "", now - 20).level, now),
        )
    (family, *_) = services.families.of_subject(issuer.account.id)
    read = services.accounts.by_id(issuer.account.id)
    assert read is not None

    def visit(name: str) -> None:
        if name == "restore.made_safe":
            issuer.clock.advance(20)
            late.append(grant(services, family, read, services.clock()).access_token)

    lost.put_back()
    watch(visit)
    restore(services.settings, None, clock=services.clock)
    lost.start_issuer()
    assert lost.accepts(late[0]) is mutant


@pytest.mark.parametrize("ring", ["directory"], indirect=True)
@pytest.mark.parametrize("mode", MODES)
def test_what_an_operator_is_told(lost: LostTime, mode: str) -> None:
    """When the backup was made, and what went back with it, as far as anything still shows."""
    services = lost.issuer.services
    services.accounts.add("bob@example.org", NEW_PASSWORD)
    row_id = services.clients.disable("kiosk", watermark=int(services.clock()), expires=2**40)
    services.revoker.complete_id(row_id)
    made = int(services.clock()) - 1
    report = lost.restore(mode)
    assert report.made == (made if mode == "file" else None)
    assert report.accounts == 1
    assert report.changed == (USERNAME,)
    assert report.missing == (("bob@example.org",) if mode == "file" else ())
    assert report.clients == ("kiosk",)
    told = "\n".join(describe(report, str))
    assert all(word in told for word in (USERNAME, "kiosk", str(report.watermark)))


@pytest.mark.parametrize("mode", MODES)
def test_a_client_revoked_before_the_backup_is_no_news(
    make_issuer: Callable[..., IssuerApp], tmp_path: Path, mode: str
) -> None:
    """Revoked and enabled again by then: nothing of that was lost."""
    lost = LostTime(make_issuer(), tmp_path / "backup")
    services = lost.issuer.services
    row_id = services.clients.disable("kiosk", watermark=int(services.clock()), expires=2**40)
    services.revoker.complete_id(row_id)
    services.clients.enable("kiosk")
    lost.issuer.clock.advance(1)
    lost.begin()
    lost.go_on()
    assert lost.restore(mode).clients == ()


@stacks.on_redis
@pytest.mark.parametrize("ring", ["directory"], indirect=True)
@pytest.mark.parametrize("left", ["families", "denylist"])
def test_a_change_shows_in_redis_alone(lost: LostTime, left: str) -> None:
    """A session of a later version, or the denylist's entry, tells of a password that changed."""
    services = lost.issuer.services
    if left == "families":
        services.denylist.replace(0)
    else:
        services.families.clear(below=1 << 50)
    assert lost.restore("in-place").changed == (USERNAME,)
    assert lost.restore("in-place").changed == ()


@pytest.mark.parametrize("ring", ["directory"], indirect=True)
def test_followers_of_the_old_feed_are_told(lost: LostTime) -> None:
    """The epoch is announced there before the feed goes, so that a replica refuses at once."""
    services = lost.issuer.services
    replica = Replica(services.denylist)
    replica.step(block=0)
    told: list[int] = []

    def visit(name: str) -> None:
        if name == "restore.announced":
            replica.step(block=0)
            told.append(replica._copy.watermark)

    watch(visit)
    report = lost.restore("file")
    assert told == [report.watermark]


@pytest.mark.parametrize("ring", ["directory"], indirect=True)
def test_redis_holds_no_family_of_before(lost: LostTime) -> None:
    """They are removed, not only outdated; a session of since then stays."""
    services = lost.issuer.services
    assert list(services.families.versions())
    lost.restore("file")
    assert list(services.families.versions()) == []
    lost.start_issuer()
    grant = lost.issuer.grant()
    assert services.families.clear(below=int(services.clock())) == 0
    assert granted(lost.issuer.refresh(grant["refresh_token"]))


@stacks.anywhere
@pytest.mark.parametrize("ring", ["directory"], indirect=True)
@pytest.mark.parametrize("mutant", [False, True], ids=["", "mutant"])
def test_a_key_directory_that_went_back_too(
    lost: LostTime, monkeypatch: pytest.MonkeyPatch, mutant: bool
) -> None:
    """A key that the denylist knows as revoked is refused for good, and leaves the ring again."""
    services = lost.issuer.services
    stolen = lost.stolen
    assert stolen is not None
    services.key_store.update(lambda _ring: KeyRing((stolen,)))
    if mutant:
        monkeypatch.setattr(restoring, "take_out_revoked", _nothing)
    lost.restore("in-place")
    assert (stolen.kid in services.key_store.load().verification_keys()) is mutant
    assert lost.violations() == set()
    (row,) = services.journal.find(Kind.KEY, stolen.kid)
    assert row.done


@pytest.mark.parametrize("ring", ["directory"], indirect=True)
def test_run_again_after_it_died(lost: LostTime) -> None:
    """The same file is completed where it was begun; a later backup of it would be refused."""
    services = lost.issuer.services
    backup = BackupFile(lost.path)
    _empty(lost)

    def dies(name: str) -> None:
        if name == "restore.committed":
            raise KeyboardInterrupt

    watch(dies)
    with pytest.raises(KeyboardInterrupt):
        restore(services.settings, backup, clock=services.clock)
    watch(crash_points._pass_by)
    assert lost.issuer.undone() == ["restore"]
    report = restore(services.settings, backup, clock=services.clock)
    assert report.completed
    assert report.changed == (USERNAME,), "told again"
    assert lost.issuer.undone() == []
    with pytest.raises(BackupError, match="not empty"):
        restore(services.settings, backup, clock=services.clock)
    assert lost.violations() == {"stolen key"}, "its row was in a database that is gone"


def _empty(lost: LostTime) -> None:
    with lost.issuer.services.engine.begin() as connection:
        for table in metadata.sorted_tables:
            if table.name != "formats":
                connection.execute(sa.delete(table))


@pytest.mark.parametrize("ring", ["directory"], indirect=True)
@pytest.mark.parametrize("mutant", [False, True], ids=["", "mutant"])
@pytest.mark.parametrize("mode", MODES)
def test_the_place_in_the_old_feed_is_forgotten(
    lost: LostTime, monkeypatch: pytest.MonkeyPatch, mode: str, mutant: bool
) -> None:
    """It belongs to another history, which no store will ever hold again."""
    if mutant:
        monkeypatch.setattr(restoring, "forget_positions", _nothing)
    position = {"id": 1, "epoch": "of before", "seq": 99, "chain": "c"}
    lost.rows["denylist_positions"] = [position]
    table = metadata.tables["denylist_positions"]
    with lost.issuer.services.engine.begin() as connection:
        connection.execute(sa.delete(table))
        connection.execute(sa.insert(table).values(**position))
    lost.restore(mode, without_redis=True)
    assert (position in lost.issuer.rows("denylist_positions")) is mutant


@stacks.anywhere
@pytest.mark.parametrize("ring", ["directory"], indirect=True)
def test_a_snapshot_of_an_older_version(lost: LostTime, tmp_path: Path) -> None:
    """A database that was put back is brought up to date in the same transaction."""
    services = lost.issuer.services
    url = f"sqlite:///{tmp_path / 'older.db'}"
    engine = open_engine(url)
    with writing(engine) as connection:
        upgrade(connection, "0001")
        connection.execute(sa.insert(metadata.tables["accounts"]), lost.rows["accounts"])
    settings = services.settings.model_copy(update={"database_url": url})
    assert restore(settings, None, clock=services.clock).changed == (USERNAME,)
    require_schema(engine)
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE schema_version SET version_num = '0099'"))
    engine.dispose()
    with pytest.raises(BackupError, match="0099 is of another version"):
        restore(settings, None, clock=services.clock)


# Refused, and nothing changed


def refused_unchanged(lost: LostTime, error: type[Exception], match: str, **options: Any) -> None:
    """A restore that is refused, before anything was changed anywhere."""
    services = lost.issuer.services
    before = lost.issuer.everything()
    settings = options.pop("settings", services.settings)
    in_place = options.pop("in_place", False)
    with pytest.raises(error, match=match):
        restore(
            settings,
            None if in_place else BackupFile(lost.path),
            clock=services.clock,
            **options,
        )
    assert lost.issuer.everything() == before


def _set_header(**changes: Any) -> Callable[[list[Any]], None]:
    return lambda lines: lines[0].update(changes)


def _accounts(lines: list[Any]) -> int:
    """Where the accounts begin."""
    (index,) = (
        number
        for number, line in enumerate(lines)
        if isinstance(line, dict) and line.get("table") == "accounts"
    )
    return int(index)


UNFIT: dict[str, tuple[Callable[[list[Any]], Any], str]] = {
    "newer format": (_set_header(format=2), "is of format 2, this version knows 1"),
    "newer schema": (_set_header(revision="0099"), "0099 is of another version"),
    "older schema": (
        _set_header(revision="0001"),
        "the backup's schema is 0001, the database's 0003",
    ),
    "another kind": (_set_header(kind="something"), "no whole backup"),
    "no revision": (lambda lines: lines[0].pop("revision"), "no whole backup"),
    "a line less": (lambda lines: lines.pop(), "no whole backup"),
    "a line more": (lambda lines: lines.append(["surplus"]), "no whole backup"),
    "a table left out": (
        lambda lines: lines.append({"table": "formats", "columns": []}),
        "no whole backup",
    ),
    "a table more": (lambda lines: lines.append({"table": "x", "columns": []}), "no whole backup"),
    "another column": (
        lambda lines: lines[_accounts(lines)]["columns"].__setitem__(0, "x"),
        "columns are not those",
    ),
    "a null": (lambda lines: lines[_accounts(lines) + 1].__setitem__(1, None), "do not fit"),
}


@stacks.anywhere
@pytest.mark.parametrize("ring", ["directory"], indirect=True)
def test_a_file_that_does_not_fit(lost: LostTime) -> None:
    """Refused in a line that says why; nothing has changed, in SQL or in Redis."""
    whole = lost.path.read_bytes()
    for edit, match in UNFIT.values():
        lost.path.write_bytes(whole)
        rewrite(lost.path, edit)
        refused_unchanged(lost, BackupError, match, replace_rows=True)


@stacks.anywhere
@pytest.mark.parametrize("ring", ["directory"], indirect=True)
def test_a_file_that_was_cut_off_or_altered(lost: LostTime) -> None:
    """At any length, and with any byte another, it is refused before anything is touched."""
    whole = lost.path.read_bytes()
    spoilt = [whole[:length] for length in range(0, len(whole), 37)]
    for place in range(10, len(whole), 41):
        spoilt.append(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    before = lost.issuer.everything()
    for octets in spoilt:
        lost.path.write_bytes(octets)
        with pytest.raises(BackupError, match="no whole backup"):
            BackupFile(lost.path)
    assert lost.issuer.everything() == before
    lost.path.write_bytes(whole)
    assert BackupFile(lost.path).counts["accounts"] == 1


@stacks.anywhere
@pytest.mark.parametrize("ring", ["directory"], indirect=True)
def test_content_that_was_altered_and_packed_again(lost: LostTime) -> None:
    """The digest tells what gzip's own check does not."""
    plain = gzip.decompress(lost.path.read_bytes())
    lost.path.write_bytes(
        gzip.compress(plain.replace(USERNAME.encode(), b"m" + USERNAME[1:].encode()))
    )
    refused_unchanged(lost, BackupError, "no whole backup", replace_rows=True)


@stacks.anywhere
@pytest.mark.parametrize("ring", ["directory"], indirect=True)
def test_a_database_that_is_not_empty(lost: LostTime) -> None:
    """Its rows are replaced on request only."""
    refused_unchanged(lost, BackupError, "not empty; --replace")


@stacks.anywhere
@pytest.mark.parametrize("ring", ["directory"], indirect=True)
def test_a_database_without_anything(lost: LostTime, tmp_path: Path) -> None:
    """There is nothing in it that could be made safe, and a backup goes into it."""
    settings = lost.issuer.services.settings.model_copy(
        update={"database_url": f"sqlite:///{tmp_path / 'empty.db'}"}
    )
    clock = lost.issuer.services.clock
    with pytest.raises(BackupError, match="holds nothing"):
        restore(settings, None, clock=clock)
    assert restore(settings, BackupFile(lost.path), clock=clock).accounts == 1


@stacks.anywhere
@pytest.mark.parametrize("ring", ["directory"], indirect=True)
@pytest.mark.parametrize("in_place", [False, True], ids=MODES)
@pytest.mark.parametrize("which", ["redis_url", "denylist_url"])
def test_redis_that_does_not_answer(
    lost: LostTime, tmp_path: Path, which: str, in_place: bool
) -> None:
    """Found out before anything is changed; the line says what else can be done."""
    settings = lost.issuer.services.settings
    urls = {"redis_url": settings.redis_url, "denylist_url": settings.denylist}
    urls[which] = f"unix://{tmp_path / 'nobody.sock'}"
    refused_unchanged(
        lost,
        FamilyUnavailable if which == "redis_url" else DenylistUnavailable,
        "nothing was changed; --without-redis",
        settings=settings.model_copy(update=urls),
        in_place=in_place,
        replace_rows=not in_place,
    )


@stacks.anywhere
@pytest.mark.parametrize("ring", ["database"], indirect=True)
@pytest.mark.parametrize("in_place", [False, True], ids=MODES)
def test_a_ring_that_does_not_open(lost: LostTime, in_place: bool) -> None:
    """Without the secret of then its keys cannot be named, and so not be refused."""
    settings = lost.issuer.services.settings.model_copy(
        update={"keys_secret": SecretStr("another passphrase than it was")}
    )
    refused_unchanged(
        lost,
        KeyStoreError,
        "does not open with this secret",
        settings=settings,
        in_place=in_place,
        replace_rows=not in_place,
    )


HOSTILE = [
    ("accounts", "roles", None),
    ("accounts", "roles", [1]),
    ("accounts", "username", "\ud800"),
    ("accounts", "sub_ver", "abc"),
    ("accounts", "created", 1 << 70),
    ("accounts", "id", []),
    ("journal", "kind", "abc"),
    ("journal", "level", -1),
    ("journal", "expires", 1.5),
    ("key_rings", "octets", "abc"),
    ("key_rings", "octets", 1),
]


@pytest.mark.parametrize("ring", ["database"], indirect=True)
def test_rows_that_no_issuer_could_work_with_are_refused(lost: LostTime) -> None:
    """SQLite takes anything; a journal of such rows would keep every issuer from being ready."""
    issuer = lost.issuer
    path = lost.path.with_name("hostile")
    write_backup(issuer.services.engine, path, issuer="https://id.example", now=1)
    whole = path.read_bytes()
    before = issuer.everything()
    for table, column, value in HOSTILE:

        def spoil(
            lines: list[Any], table: str = table, column: str = column, value: object = value
        ) -> None:
            at = next(
                n
                for n, line in enumerate(lines)
                if isinstance(line, dict) and line.get("table") == table
            )
            lines[at + 1][lines[at]["columns"].index(column)] = value

        path.write_bytes(whole)
        rewrite(path, spoil)
        with pytest.raises(BackupError):
            restore(issuer.services.settings, BackupFile(path), replace_rows=True)
        assert issuer.everything() == before, (table, column, value)
