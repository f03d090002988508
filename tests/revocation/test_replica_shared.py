"""A copy in a file: whoever writes it, and however that ends, what was taken in is there."""

from __future__ import annotations

import logging
import os
import random
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.denylists import KID, FaultyDenylist, Heart, Store, Token, seconds_until
from harness.processes import Process, short_directory

from revocation import Entry, Record, Replica, ReplicaStale, Snapshot, TokenRevoked
from revocation.packed_copy import PackedCopy
from revocation.packed_table import PackedTable, Word, capacity_for, size_of
from revocation.shared_reader import SharedReader
from revocation.table_storage import SharedFile

LATE = 1 << 33
INTERVAL = 0.1
OWNER = bytes(16)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A private one."""
    made = short_directory("gp-shared-")
    yield made
    shutil.rmtree(made)


def shared_file(directory: Path) -> SharedFile:
    """The copy's file, of one denylist."""
    return SharedFile(directory / "replica", OWNER)


def entries(count: int) -> list[Record]:
    return [Record(b"s" + secrets.token_bytes(16), 1, LATE) for _ in range(count)]


class Watched(FaultyDenylist):
    """Counts its snapshots."""

    snapshots = 0

    def snapshot(self) -> Snapshot:
        self.snapshots += 1
        return super().snapshot()


@pytest.fixture
def replica(directory: Path) -> Iterator[Callable[[Watched], Replica]]:
    """Makes replicas that share the file, started."""
    made: list[Replica] = []

    def make(denylist: Watched) -> Replica:
        replica = Replica(
            denylist,
            shared=directory / "replica",
            owner="tests",
            heartbeat_interval=INTERVAL,
            max_staleness=3.0,
        )
        replica.start()
        made.append(replica)
        return replica

    yield make
    for one in made:
        one.stop()


def verdict(replica: Replica, sid: str = Token.sid) -> str:
    try:
        replica.check(Token(sid=sid), KID)
    except TokenRevoked:
        return "revoked"
    except ReplicaStale:
        return "stale"
    return "passed"


# --- who takes over ---------------------------------------------------------------------------


def test_who_takes_over_goes_on_from_where_the_one_before_was(
    near_store: Store, replica: Callable[[Watched], Replica]
) -> None:
    """It reads no snapshot, and at no moment is the copy too old for anybody."""
    lines = [Watched(near_store.ready()) for _ in range(2)]
    with Heart(near_store.open(), INTERVAL):
        first = replica(lines[0])
        assert first.wait_in_step(30)
        second = replica(lines[1])
        assert second.wait_in_step(30)
        near_store.open().add([Entry.session("before", LATE)])
        seconds_until(lambda: verdict(second, "before") == "revoked", 30)
        first.stop()
        near_store.open().add([Entry.session("after", LATE)])
        seen = set()
        begun = turned = time.monotonic()
        stood_still = False
        while verdict(second, "after") != "revoked" or second.position is None:
            now = time.monotonic()
            assert now - begun < 30
            # Where this loop stands still, so does the machine: until the next heartbeat.
            stood_still = stood_still or now - turned > 1
            turned = now
            said = verdict(second)
            stood_still = stood_still and said == "stale"
            if not stood_still:
                seen.add(said)
        assert seen <= {"passed"}
        assert verdict(second, "before") == "revoked"
        assert [line.snapshots for line in lines] == [1, 0]


def test_a_snapshot_is_read_where_the_feed_does_not_go_on(
    near_store: Store, replica: Callable[[Watched], Replica]
) -> None:
    """Who takes over after a new epoch was declared keeps the old one's entries too."""
    issuer = near_store.ready()
    line = Watched(near_store.open())
    with Heart(issuer, INTERVAL):
        first = replica(line)
        assert first.wait_in_step(30)
        issuer.add([Entry.session("before", LATE), Entry.subject("ann", 9, LATE)])
        seconds_until(lambda: verdict(first, "before") == "revoked", 30)
        first.stop()
        issuer.replace(watermark=0)
        issuer.mark_ready()
        first.start()
        seconds_until(lambda: line.snapshots == 2 and verdict(first) == "passed", 30)
        with pytest.raises(TokenRevoked):
            first.check(Token(sub="ann"), KID)
        assert verdict(first, "before") == "revoked"


@pytest.mark.parametrize("what", ["replica", "replica.lock"])
def test_what_is_removed_by_hand_is_made_again(
    directory: Path, near_store: Store, replica: Callable[[Watched], Replica], what: str
) -> None:
    """Without losing anything, even where two follow for a moment."""
    issuer = near_store.ready()
    with Heart(issuer, INTERVAL):
        both = [replica(Watched(near_store.open())) for _ in range(2)]
        issuer.add([Entry.session("before", LATE)])
        for one in both:
            seconds_until(lambda one=one: verdict(one, "before") == "revoked", 30)
        old = (directory / what).stat().st_ino
        (directory / "spare").hardlink_to(directory / what)  # so that its number is not used again
        (directory / what).unlink()
        seconds_until((directory / what).exists, 30)
        issuer.add([Entry.session("after", LATE)])
        for one in both:
            seconds_until(lambda one=one: verdict(one, "after") == "revoked", 30)
            assert verdict(one, "before") == "revoked"
            assert verdict(one) == "passed"
        assert (directory / what).stat().st_ino != old
        seconds_until(lambda: sum(one.position is not None for one in both) == 1, 30)


def test_a_file_that_others_may_read_is_replaced(
    directory: Path, near_store: Store, replica: Callable[[Watched], Replica]
) -> None:
    """A change of its permissions does not shut out the processes that begin after it."""
    with Heart(near_store.ready(), INTERVAL):
        first = replica(Watched(near_store.open()))
        assert first.wait_in_step(30)
        (directory / "replica").chmod(0o644)
        second = replica(Watched(near_store.open()))
        for one in (second, first):
            seconds_until(lambda one=one: verdict(one) == "passed", 30)
        assert (directory / "replica").stat().st_mode & 0o777 == 0o600


def test_a_file_whose_writer_died_before_it_said_so_is_left(directory: Path) -> None:
    """Readers look at the name, not only at what the old file says."""
    file = shared_file(directory)
    PackedCopy(file).vouch(1.0)
    reader = SharedReader(file)
    assert reader.fresh_at == 1.0
    # Dies between taking the name and marking the old one.
    heir = PackedCopy(shared_file(directory))
    heir.vouch(2.0)
    assert reader.fresh_at == 1.0
    reader.look()
    assert reader.fresh_at == 2.0


def test_a_writer_that_was_only_stopped_cannot_write_into_its_heir_s_table(
    directory: Path,
) -> None:
    """Each writes a file of its own, and readers go by the heir's."""
    file = shared_file(directory)
    before, after, late = entries(3)
    stopped = PackedCopy(file)
    stopped.merge([before])
    heir = PackedCopy(shared_file(directory), held=file.open(write=True))
    reader = SharedReader(file)
    heir.vouch(5.0)
    heir.merge([after])
    stopped.merge([late])
    stopped.vouch(900.0)
    assert reader.fresh_at == 5.0
    assert [reader.level_of(record.key) for record in (before, after, late)] == [1, 1, 0]


# --- a writer that dies -----------------------------------------------------------------------

_WRITER = """
import secrets, sys
from pathlib import Path
from revocation import Position, Record
from revocation.packed_copy import PackedCopy
from revocation.table_storage import SharedFile

file = SharedFile(Path(sys.argv[1]), bytes(16))
copy = PackedCopy(file, held=file.open(write=True))
number = 0
while True:
    number += 1
    record = Record(b"s" + secrets.token_bytes(16), 1, 1 << 33)
    copy.merge([record])
    if number % 7 == 0:
        copy.begin(bytes([number % 251]) * 32)
        copy.raise_watermark(number)
        copy.reach(Position("epoch", number, "f" * 40))
    if number % 50 == 0:
        copy.sweep(0)
    print(record.key.hex(), copy.watermark, flush=True)
"""


def test_a_writer_may_be_killed_at_any_moment(directory: Path) -> None:
    """Killed again and again while it adds, grows and sweeps, nothing that it took in is lost."""
    choose = random.Random(5)
    told: list[tuple[bytes, int]] = []
    for _ in range(12):
        process = Process([sys.executable, "-c", _WRITER, str(directory / "replica")])
        with process:
            process.wait_until(lambda process=process: process.stdout().count("\n") > 20, "entries")
            time.sleep(choose.random() / 20)
            process.kill()
        # The last line may be cut off.
        lines = process.stdout().rpartition("\n")[0].splitlines()
        told += [(bytes.fromhex(key), int(mark)) for key, mark in map(str.split, lines)]
        table = shared_file(directory).open()
        assert table is not None
        assert all(table.level_of(key) == 1 for key, _ in told)
        assert table.told().watermark >= max(watermark for _, watermark in told)
        copy = PackedCopy(shared_file(directory), held=shared_file(directory).open(write=True))
        held = {record.key for record in copy.table.records()}
        assert held >= {key for key, _ in told}
        assert len(held) == len(copy)
        assert len(copy.salt) == 32


def test_readers_never_miss_what_is_there_while_it_grows(directory: Path) -> None:
    """Another process grows the table and sweeps it; what was there at first is always found."""
    file = shared_file(directory)
    copy = PackedCopy(file)
    known, strangers = entries(50), entries(50)
    copy.merge(known)
    copy.vouch(1.0)
    reader = SharedReader(file)
    tables = set()
    process = Process([sys.executable, "-c", _WRITER, str(directory / "replica")])
    with process:
        while len(tables) < 4:
            assert process.running, process.describe()
            assert reader.fresh_at == 1.0
            assert all(reader.level_of(record.key) == 1 for record in known)
            assert not reader.may_hold(tuple(record.key for record in strangers))
            tables.add(reader._inode)


# --- memory -----------------------------------------------------------------------------------

_READER = """
import sys
from pathlib import Path
from revocation.shared_reader import SharedReader
from revocation.table_storage import SharedFile

def private():
    return sum(int(line.split()[1]) for line in open("/proc/self/smaps_rollup")
               if line.startswith(("Private_", "Swap:")))

reader = SharedReader(SharedFile(Path(sys.argv[1]), bytes(16)))
before = private()
assert reader.fresh_at == 1.0
found = sum(octet != 0 for octet in reader._table._buffer)
print(private() - before, found, flush=True)
sys.stdin.read()
"""


def test_memory_does_not_grow_with_the_processes(directory: Path) -> None:
    """Each reads a copy of twelve megabytes, and has less than one of its own for it."""
    file = shared_file(directory)
    copy = PackedCopy(file)
    copy.merge(entries(250_000))
    copy.vouch(1.0)
    assert size_of(copy.table.capacity) > 10_000_000
    for _ in range(3):
        process = Process([sys.executable, "-c", _READER, str(directory / "replica")])
        with process:
            assert process.wait() == 0, process.describe()
        kilobytes, found = map(int, process.stdout().split())
        assert found > 4_000_000
        assert kilobytes < 1_000


def test_a_file_system_that_is_full_is_an_error(directory: Path) -> None:
    """Its pages are reserved: none that is missing later ends the process that touches it."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        import resource

        answer = b"no error"
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            copy = PackedCopy(shared_file(directory))
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            copy.merge(entries(5_000))
        except OSError as error:
            answer = type(error).__name__.encode()
        finally:
            os.write(writer, answer)
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 100) == b"OSError"
    made = (directory / "replica").stat()
    assert made.st_blocks * 512 >= made.st_size
    os.close(reader)
    os.close(writer)
    assert [path.name for path in directory.iterdir()] == ["replica"]


def test_a_reader_maps_it_for_reading_alone(directory: Path) -> None:
    """What goes wrong in a gateway cannot change what the others go by."""
    file = shared_file(directory)
    PackedCopy(file)
    table = file.open()
    assert isinstance(table, PackedTable)
    with pytest.raises(TypeError, match="read-only"):
        table.words[Word.FRESH_AT] = 1


def test_the_log_says_who_follows(
    near_store: Store, replica: Callable[[Watched], Replica], caplog: pytest.LogCaptureFixture
) -> None:
    """Once for each who does."""
    caplog.set_level(logging.INFO, "gatepass.revocation")
    with Heart(near_store.ready(), INTERVAL):
        both = [replica(Watched(near_store.open())) for _ in range(2)]
        assert all(one.wait_in_step(30) for one in both)
    assert caplog.text.count("this process keeps the shared replica") == 1


def test_capacity_is_what_the_page_says() -> None:
    """Whoever maps it elsewhere counts on this."""
    for count in (0, 5, 1_000_000):
        capacity = capacity_for(count)
        assert size_of(capacity) == 4096 + 29 * (-(-capacity // 8) * 8)
