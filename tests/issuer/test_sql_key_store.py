"""The shared key ring in SQL: encrypted, atomic, rotated by one issuer at a time."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from harness.processes import Process

from issuer.database import migrate, open_engine
from issuer.database.tables import key_rings
from issuer.sql_key_store import SqlKeyStore
from keys import KeyRing, KeyState, KeyStoreError, RotationPolicy, rotate

SECRET = "a passphrase that only this test knows"
POLICY = RotationPolicy()
NOW = int(time.time())


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated database of each kind."""
    url: str = (
        f"sqlite:///{tmp_path / 'keys.sqlite'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    return url


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


def started(ring: KeyRing) -> KeyRing:
    return rotate(ring, NOW, POLICY)


def test_an_empty_store_is_an_empty_ring(engine: sa.Engine) -> None:
    """Nothing written yet means no keys, not an error."""
    assert SqlKeyStore(engine, SECRET).load().keys == ()


def test_what_was_written_is_read_by_another_issuer(engine: sa.Engine) -> None:
    """A second store on the same database, with the same secret, sees the very same keys."""
    written = SqlKeyStore(engine, SECRET).update(started)
    read = SqlKeyStore(engine, SECRET).load()
    assert [key.kid for key in read.keys] == [key.kid for key in written.keys]
    assert read.sealing().private == written.sealing().private


def test_the_row_holds_no_key_in_the_clear(engine: sa.Engine) -> None:
    """What lies in the database is encrypted: neither kid nor secret can be read off it."""
    ring = SqlKeyStore(engine, SECRET).update(started)
    with engine.connect() as connection:
        octets = connection.scalar(sa.select(key_rings.c.octets))
    assert isinstance(ring.sealing().private, bytes)
    assert octets is not None
    assert ring.sealing().private not in octets
    assert all(key.kid.encode() not in octets for key in ring.keys)


def test_another_passphrase_opens_nothing(engine: sa.Engine) -> None:
    """A wrong secret is an error that shows neither of the two, and changes nothing."""
    ring = SqlKeyStore(engine, SECRET).update(started)
    with pytest.raises(KeyStoreError) as refusal:
        SqlKeyStore(engine, "another passphrase altogether").update(started)
    assert SECRET not in str(refusal.value)
    assert SqlKeyStore(engine, SECRET).load().keys[0].kid == ring.keys[0].kid


def test_an_update_that_raises_changes_nothing(engine: sa.Engine) -> None:
    """The transaction of a failed update leaves the old ring."""
    store = SqlKeyStore(engine, SECRET)
    ring = store.update(started)

    def broken(_ring: KeyRing) -> KeyRing:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        store.update(broken)
    assert SqlKeyStore(engine, SECRET).load().keys[0].kid == ring.keys[0].kid


def test_issuers_that_start_at_once_share_one_ring(database_url: str) -> None:
    """Three processes that all find no keys end with the keys of one of them, each exactly once."""
    script = textwrap.dedent(
        f"""
        import sys
        from issuer.database import open_engine
        from issuer.sql_key_store import SqlKeyStore
        from keys import RotationPolicy, rotate
        store = SqlKeyStore(open_engine({database_url!r}), {SECRET!r})
        sys.stdin.readline()
        ring = store.update(lambda ring: rotate(ring, {NOW}, RotationPolicy()))
        print(*sorted(key.kid for key in ring.keys))
        """
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    answers = [child.communicate("go\n", timeout=60)[0] for child in children]
    assert len(set(answers)) == 1
    assert len(answers[0].split()) == 2


def test_a_rotating_issuer_that_dies_holds_nobody_up(database_url: str, engine: sa.Engine) -> None:
    """SIGKILL within the update: the old ring stands, and the next issuer rotates at once."""
    before = SqlKeyStore(engine, SECRET).update(started)
    script = textwrap.dedent(
        f"""
        import sys, time
        from issuer.database import open_engine
        from issuer.sql_key_store import SqlKeyStore
        store = SqlKeyStore(open_engine({database_url!r}), {SECRET!r})
        def hang(ring):
            print("holding", flush=True)
            time.sleep(600)
        store.update(hang)
        """
    )
    with Process([sys.executable, "-c", script]) as holder:
        holder.wait_for_line("holding")
        holder.kill()
    later = NOW + POLICY.signing_period
    after = SqlKeyStore(engine, SECRET).update(lambda ring: rotate(ring, later, POLICY))
    assert [key.kid for key in before.keys] == [key.kid for key in after.keys[: len(before.keys)]]
    assert any(key.state is KeyState.PENDING for key in after.keys)


def test_a_database_that_is_down_is_a_key_store_error(tmp_path: Path) -> None:
    """The scheduler, which keeps its last good ring, sees the error that it expects."""
    engine = open_engine(f"sqlite:///{tmp_path / 'nowhere' / 'keys.sqlite'}")
    with pytest.raises(KeyStoreError):
        SqlKeyStore(engine, SECRET).load()
