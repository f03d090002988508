"""One replica for all verifying processes of a host, which any of them may leave at any moment."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness.bound import Bound, MakeBound
from harness.processes import short_directory, until
from harness.redis_server import RedisServer
from harness.watching_gateway import WatchingGateway

from revocation import Replica, open_denylist
from revocation.shared_reader import SharedReader
from revocation.table_storage import SharedFile

SIZE = 4


@dataclass
class Host:
    """Gateways that name the same file."""

    bound: Bound
    gateways: list[WatchingGateway]
    path: Path
    store: RedisServer

    def leader(self) -> WatchingGateway:
        """The one that follows: it holds the lock."""
        for _ in until(20, "somebody to follow"):
            inode = self.path.with_name("replica.lock").stat().st_ino
            found = re.findall(rf"FLOCK +ADVISORY +WRITE (\d+) \S+:{inode} ", _locks())
            for gateway in self.gateways:
                if gateway.process.running and str(gateway.process.pid) in found:
                    return gateway
        raise AssertionError("unreachable")


def _locks() -> str:
    return Path("/proc/locks").read_text()


@pytest.fixture
def host(make_bound: MakeBound) -> Iterator[Host]:
    """All running."""
    directory = short_directory("gp-shared-")
    with RedisServer(tcp=True) as store, ExitStack() as stack:
        bound = make_bound(store.unix_url)
        shared = {"shared": str(directory / "replica")}
        gateways = [stack.enter_context(bound.gateway(store.tcp_url, shared)) for _ in range(SIZE)]
        yield Host(bound, gateways, directory / "replica", store)
    shutil.rmtree(directory)


def test_all_go_by_what_one_reads(host: Host) -> None:
    """Each refuses what is revoked; one connection follows for them, and one file holds it."""
    bound = host.bound
    sessions = {id(gateway): bound.watched(gateway, 2) for gateway in host.gateways}
    for gateway in host.gateways:
        gone, live = sessions[id(gateway)]
        bound.revoke(gone)
        gateway.waits_until(gone.access, "revoked")
        gateway.waits_until(live.access, "accepted")
    for gateway in host.gateways:
        assert str(host.path) in Path(f"/proc/{gateway.process.pid}/maps").read_text()
    # The issuer's own readers come through the socket.
    clients = host.store.client().client_list()
    reading = [one for one in clients if one["cmd"] == "xread" and ".sock" not in one["addr"]]
    assert len(reading) <= 1
    host.leader()


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_nobody_misses_the_one_who_follows(host: Host, how: str) -> None:
    """Guarantee: when it dies, or is stopped, no other accepts what is revoked, or forgets any."""
    bound, leader = host.bound, host.leader()
    others = [gateway for gateway in host.gateways if gateway is not leader]
    first, second, live = bound.watched(others[0])
    for gateway in others[1:]:
        for session in (first, second, live):
            gateway.watch(session.access)
            gateway.waits_until(session.access, "accepted")
    bound.revoke(first)
    for gateway in others:
        gateway.waits_until(first.access, "revoked")
    leader.process.kill() if how == "kill" else leader.process.pause()
    bound.revoke(second)
    bound.dwells()
    for gateway in others:
        bound.holds(gateway)
        if how == "pause":
            assert gateway.said(live.access).now == "replica_stale"
            assert gateway.said(first.access).now in {"replica_stale", "revoked"}
    if how == "pause":
        leader.process.resume()
    for gateway in others:
        bound.recovers(gateway, live)
        assert set(gateway.said(first.access).counts) <= {"accepted", "revoked", "replica_stale"}


def test_a_row_of_leaders_may_die(host: Host) -> None:
    """Each takes up what the one before held, and the last one alone still refuses all of it."""
    bound = host.bound
    last = host.gateways[-1]
    sessions = bound.watched(last, SIZE)
    for session in sessions[:-1]:
        bound.revoke(session)
        last.waits_until(session.access, "revoked")
        if (leader := host.leader()) is not last:
            leader.process.kill()
    bound.dwells()
    bound.recovers(last, sessions[-1])


# --- what is not trusted ----------------------------------------------------------------------


@pytest.fixture
def directory() -> Iterator[Path]:
    """A private one."""
    made = short_directory("gp-shared-")
    yield made
    shutil.rmtree(made)


def led(directory: Path, owner: str = "one") -> Replica:
    """A shared replica of an empty denylist that this process follows, in step."""
    denylist = open_denylist(f"memory://{directory}")
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    replica = Replica(
        denylist,
        shared=directory / "replica",
        owner=owner,
        max_staleness=600,
        heartbeat_interval=0.1,
    )
    replica.start()
    for _ in until(20, "a copy in step", pause=0.05):
        denylist.heartbeat(0)
        if replica.staleness() < 600:
            return replica
    raise AssertionError("unreachable")


def reader(directory: Path, owner: str = "one") -> SharedReader:
    """Another process' view of the file."""
    stand_in = Replica(open_denylist("memory://nobody"), shared=directory / "replica", owner=owner)
    copy = stand_in._copy
    assert isinstance(copy, SharedReader)
    return copy


def test_a_file_that_others_may_read_or_write_is_not_read(directory: Path) -> None:
    """It is this user's alone, or it says nothing."""
    replica = led(directory)
    assert reader(directory).fresh_at is not None
    for mode in (0o640, 0o604, 0o660):
        (directory / "replica").chmod(mode)
        assert reader(directory).fresh_at is None
    (directory / "replica").chmod(0o600)
    assert reader(directory).fresh_at is not None
    replica.stop()


def test_a_link_to_a_file_is_not_followed(directory: Path) -> None:
    """Nobody points it elsewhere."""
    replica = led(directory)
    replica.stop()
    (directory / "replica").rename(directory / "elsewhere")
    (directory / "replica").symlink_to(directory / "elsewhere")
    assert reader(directory).fresh_at is None


def test_a_copy_of_another_denylist_is_not_read(directory: Path) -> None:
    """Two that name one file by mistake do not go by each other's."""
    replica = led(directory, owner="one")
    assert reader(directory, owner="two").fresh_at is None
    replica.stop()


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("rediss://u:new@h:1/0?db=2", True),
        ("rediss://h:1/0?db=2&username=u&password=new", True),
        ("rediss://u:old@h:1/0?db=3", False),
        ("rediss://u:old@other:1/0?db=2", False),
    ],
)
def test_whoever_has_another_password_reads_the_same_copy(
    directory: Path, other: str, same: bool
) -> None:
    """Passwords change while processes run; which denylist it is does not."""
    replica = led(directory, owner="gatepass rediss://u:old@h:1/0?db=2")
    assert (reader(directory, owner=f"gatepass {other}").fresh_at is not None) == same
    replica.stop()


def test_a_copy_from_before_the_machine_started_again_is_not_read(directory: Path) -> None:
    """Its clock has begun anew since then, so that its age would be a lie."""
    replica = led(directory)
    replica.stop()
    file = replica._copy._file
    table = file.open(write=True)
    table.identify(os.urandom(16), table.identity[1])
    assert reader(directory).fresh_at is None


@pytest.mark.parametrize("octets", [b"", b"GPCOPY01", bytes(4096), os.urandom(8192)], ids=len)
def test_a_file_of_something_else_is_replaced(directory: Path, octets: bytes) -> None:
    """It is no copy; whoever follows makes one."""
    path = directory / "replica"
    path.write_bytes(octets)
    path.chmod(0o600)
    assert reader(directory).fresh_at is None
    replica = led(directory)
    assert reader(directory).fresh_at is not None
    replica.stop()


def test_a_directory_that_others_may_write_to_is_refused(directory: Path) -> None:
    """They could put another file in its place."""
    directory.chmod(0o777)
    with pytest.raises(PermissionError, match="nobody else"):
        SharedFile(directory / "replica", bytes(16))
    directory.chmod(0o700)


def test_leftovers_of_a_writer_that_died_are_removed(directory: Path) -> None:
    """A table in the making is as large as the copy itself."""
    leftover = directory / f"replica.{'0' * 16}"
    leftover.write_bytes(bytes(100))
    replica = led(directory)
    assert not leftover.exists()
    replica.stop()
