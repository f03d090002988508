"""A revocation counts once it is where it was asked to be: on disk, and on so many replicas."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from harness.denylists import contents
from harness.other_servers import redis_8, valkey
from harness.processes import until
from harness.redis_server import RedisServer

from revocation import Denylist, DenylistUnavailable, Entry, TooFewConfirmations, open_denylist
from revocation.redis_confirmation import Confirmation

KINDS = {
    "Redis 7.0": (lambda: None, "wait"),
    "Redis 8": (redis_8, "waitaof"),
    "Valkey": (valkey, "waitaof"),
}
ENTRY = [Entry.key("k")]


@dataclass(frozen=True)
class Kind:
    """A kind of server, and the command by which it confirms."""

    binary: str | None
    command: str

    def server(self, **changes: str) -> RedisServer:
        # No waiting: for more replicas before one is served, for a late one before it stops.
        quick = {"repl-diskless-sync-delay": "0", "shutdown-timeout": "0"}
        return RedisServer(tcp=True, binary=self.binary, config={**quick, **changes})

    def replica_of(self, master: RedisServer) -> RedisServer:
        # Only WAITAOF asks for the replica's file, and a server does not stop while it begins one.
        file = "yes" if self.command == "waitaof" else "no"
        return self.server(replicaof=f"127.0.0.1 {master.port}", appendonly=file)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of server that is supported."""
    find, command = KINDS[request.param]
    return Kind(find(), command)


@pytest.fixture(params=["Redis 8", "Valkey"])
def newer_kind(request: pytest.FixtureRequest) -> Kind:
    """Those that can say what is on disk."""
    find, command = KINDS[request.param]
    return Kind(find(), command)


@contextlib.contextmanager
def denylist_on(server: RedisServer, replicas: int = 0) -> Iterator[Denylist]:
    """A denylist that is ready."""
    denylist = open_denylist(server.tcp_url, replicas=replicas)
    with contextlib.closing(denylist):
        denylist.initialise(watermark=0)
        denylist.mark_ready()
        yield denylist


def calls(server: RedisServer, command: str) -> int:
    """How often a server has been given a command."""
    told = server.client().info("commandstats")
    return int(told.get(f"cmdstat_{command}", {"calls": 0})["calls"])


def added(denylist: Denylist, entries: list[Entry]) -> int:
    """How many calls it takes until an entry is confirmed: one, unless the machine stands still."""
    for attempts in range(1, 6):
        with contextlib.suppress(TooFewConfirmations):
            denylist.add(entries)
            return attempts
    raise AssertionError("never confirmed")


def test_a_revocation_counts_once_a_replica_holds_it(kind: Kind) -> None:
    """While the replica is away the entry stays, unacknowledged; the same call succeeds later."""
    with kind.server() as master, kind.replica_of(master) as replica:
        replica.wait_in_step()
        with denylist_on(master, replicas=1) as denylist:
            added(denylist, ENTRY)
            replica.pause()
            later = [Entry.key("later")]
            try:
                with pytest.raises(TooFewConfirmations) as refusal:
                    denylist.add(later)
                assert (refusal.value.found, refusal.value.wanted) == (0, 1)
                assert len(contents(denylist)) == 2
            finally:
                replica.resume()
            for _ in until(30, "the confirmation"):
                with contextlib.suppress(TooFewConfirmations):
                    denylist.add(later)
                    break
            assert len(contents(denylist)) == 2
            assert calls(master, kind.command) >= 3


def test_a_confirmation_that_does_not_wait_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: without the wait, the test above finds a revocation that nobody confirmed."""
    monkeypatch.setattr(Confirmation, "wait", lambda _: None)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test_a_revocation_counts_once_a_replica_holds_it(Kind(None, "wait"))


def test_on_disk_means_synchronised(newer_kind: Kind) -> None:
    """With `everysec` it waits for the next time; with `no` nobody knows, hence no confirmation."""
    with newer_kind.server(appendfsync="everysec") as server, denylist_on(server) as denylist:
        attempts = added(denylist, ENTRY)
        assert calls(server, "waitaof") == attempts
        server.client().config_set("appendfsync", "no")
        with pytest.raises(TooFewConfirmations, match="0 of 1 disks"):
            denylist.add([Entry.key("other")])


def test_no_file_no_claim(newer_kind: Kind) -> None:
    """Without an append-only file nothing is waited for; one that is switched off is noticed."""
    with newer_kind.server(appendonly="no") as server, denylist_on(server) as denylist:
        denylist.add(ENTRY)
        assert calls(server, "waitaof") == calls(server, "wait") == 0
    with newer_kind.server() as server, denylist_on(server) as denylist:
        denylist.add(ENTRY)
        server.client().config_set("appendonly", "no")
        with pytest.raises(DenylistUnavailable, match="ResponseError"):
            denylist.add(ENTRY)
        denylist.add(ENTRY)


def test_nothing_to_add_is_nothing_to_confirm(private_redis: RedisServer) -> None:
    """A look whether the feed holds a position waits for no replica."""
    with denylist_on(private_redis, replicas=1) as denylist:
        denylist.add([])
        assert calls(private_redis, "wait") == 0
