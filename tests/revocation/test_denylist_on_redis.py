"""The denylist on a real Redis: how it loses, fails and comes back."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections.abc import Callable

import pytest
import redis
from harness import denylists
from harness.denylists import (
    CALLS,
    FAR_BUCKET,
    KID,
    Store,
    Token,
    contents,
    feed,
    in_threads,
)
from harness.processes import Process, until
from harness.redis_server import RedisServer

from revocation import (
    Denylist,
    DenylistLost,
    DenylistUnavailable,
    DenylistWentBack,
    Entry,
    Kind,
    Position,
    open_denylist,
)
from revocation.entry import to_record, unpack
from revocation.feed import next_chain
from revocation.redis_client import ANSWER_TIMEOUT
from revocation.redis_denylist import RedisDenylist

ALL_CALLS: dict[str, Callable[[Denylist], object]] = {
    **CALLS,
    "initialise": lambda denylist: denylist.initialise(watermark=0),
}


def impatient(server: RedisServer, **options: object) -> RedisDenylist:
    """A denylist that gives a silent server a fifth of a second."""
    return RedisDenylist(server.client(socket_timeout=0.2, retry=None, **options))


def ready(url: str) -> Denylist:
    """An initialised, ready denylist."""
    denylist = open_denylist(url)
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    return denylist


# --- loss and failure ----------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
def test_a_flushed_denylist_is_lost(
    redis_store: Store, redis_server: RedisServer, call: str
) -> None:
    """After FLUSHALL every method says so instead of answering from nothing."""
    denylist = redis_store.ready()
    denylist.add([Entry.key(KID)])
    redis_server.client().flushall()
    with pytest.raises(DenylistLost) as loss:
        CALLS[call](denylist)
    assert loss.value.code == "denylist_lost"


def test_a_new_epoch_takes_a_lost_one_s_place(
    redis_store: Store, redis_server: RedisServer
) -> None:
    """After a loss `initialise` makes another epoch, which is empty and not ready."""
    denylist = redis_store.ready()
    denylist.add([Entry.key(KID)])
    old = denylist.state()
    redis_server.client().flushall()
    new = denylist.initialise(watermark=77)
    assert new.position.epoch != old.position.epoch
    assert new.salt != old.salt
    assert (new.position.seq, new.watermark, new.ready) == (0, 77, False)
    assert contents(denylist) == {}


def test_a_torn_store_starts_its_feed_anew(redis_store: Store, redis_server: RedisServer) -> None:
    """A feed whose epoch was lost is not taken for the new epoch's."""
    denylist = redis_store.ready()
    for _ in range(3):
        denylist.heartbeat(0)
    redis_server.client().delete(f"{redis_store.name}:{{denylist}}")
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    denylist.add([Entry.key(KID)])
    assert [item.seq for item in feed(denylist)] == [1]


def test_what_begins_a_replay_is_no_heartbeat(
    redis_store: Store, redis_server: RedisServer
) -> None:
    """Of a copy whose feed lacks its last item a reader hears nothing before it has been filled."""
    denylist = redis_store.ready()
    for _ in range(3):
        denylist.heartbeat(0)
    before = denylist.state()
    redis_server.client().xdel(f"{redis_store.name}:{{denylist}}:feed", "3-0")
    assert denylist.initialise(watermark=0).position.seq == 4
    (item,) = denylist.tail(before.position, 0)
    assert not item.is_heartbeat
    assert [record.level for record in unpack(item.records)] == [before.watermark]
    assert denylist.state().watermark == before.watermark


def test_what_ends_a_replay_is_no_heartbeat(redis_store: Store) -> None:
    """Nor that it goes on above all that was seen: nobody has held it against SQL by then."""
    denylist = redis_store.ready()
    here = denylist.heartbeat(0)
    lost = Position(here.epoch, here.seq + 40, here.chain)
    denylist.mark_ready(here.epoch, lost)
    (item,) = denylist.tail(lost, 0)
    assert not item.is_heartbeat


def test_a_feed_that_went_further_than_its_meta_goes_on(
    redis_store: Store, redis_server: RedisServer
) -> None:
    """A copy that was not taken in one moment can be filled, and is another history to readers."""
    denylist = redis_store.ready()
    for _ in range(3):
        denylist.heartbeat(0)
    items, before = feed(denylist), denylist.state()
    meta = {"seq": 2, "chain": items[1].chain}
    redis_server.client().hset(f"{redis_store.name}:{{denylist}}", mapping=meta)
    assert denylist.initialise(watermark=0).position.seq == 4
    denylist.add([Entry.key(KID)])
    assert [item.seq for item in feed(denylist)] == [1, 2, 3, 4, 5]
    fourth = feed(denylist)[3]
    assert fourth.chain != next_chain(before.position.chain, 4, fourth.records)


def test_entries_for_a_lost_epoch_go_into_the_one_that_took_its_place(
    redis_store: Store, redis_server: RedisServer
) -> None:
    """The salt that was read before is no good any more; the entry is made again with the new."""
    denylist = redis_store.ready()
    entry = Entry.subject("ann", 3, 1 << 33)
    denylist.add([entry])
    redis_server.client().flushall()
    with contextlib.closing(redis_store.open()) as other:
        salt = other.initialise(watermark=0).salt
    denylist.add([entry])
    assert list(contents(denylist)) == [to_record(entry, salt).key]


@pytest.mark.parametrize("call", ALL_CALLS)
def test_a_server_that_is_down_is_told_without_its_address(
    redis_server: RedisServer, call: str
) -> None:
    """Each method raises `DenylistUnavailable`; its text has no host, port, path or password."""
    redis_server.reset()
    port, socket = redis_server.port, redis_server.socket
    redis_server.kill()
    for url in (
        f"redis://issuer:hunter2@127.0.0.1:{port}/0",
        f"redis://issuer:hunter2@localhost:{port}/0",
        f"unix://issuer:hunter2@{socket}?db=0",
        f"unix://issuer:hunter2@{socket}.none",
    ):
        with contextlib.closing(open_denylist(url)) as denylist:
            with pytest.raises(DenylistUnavailable) as refusal:
                ALL_CALLS[call](denylist)
            assert refusal.value.code == "denylist_unavailable"
            assert not re.search(
                rf"hunter2|issuer|127\.|localhost|{port}|sock\b|/", str(refusal.value)
            )


def test_a_wrong_password_is_told_without_it(private_redis: RedisServer) -> None:
    """A server that wants another password is unavailable, and its answer is not passed on."""
    private_redis.client().config_set("requirepass", "correct horse")
    denylist = open_denylist(f"redis://:hunter2@127.0.0.1:{private_redis.port}/0")
    with contextlib.closing(denylist), pytest.raises(DenylistUnavailable) as refusal:
        denylist.state()
    assert not re.search(r"hunter2|horse|127\.", str(refusal.value))


def test_a_paused_server_is_unavailable(private_redis: RedisServer) -> None:
    """A server that is silent for as long as the client waits is as good as down."""
    denylist = impatient(private_redis)
    denylist.initialise(watermark=0)
    private_redis.pause()
    for call in ALL_CALLS.values():
        with pytest.raises(DenylistUnavailable):
            call(denylist)
    private_redis.resume()
    for _ in until(10, "an answer"):
        with contextlib.suppress(DenylistUnavailable):
            denylist.add([Entry.key("k")])
            break
    assert len(contents(denylist)) == 1


def test_a_quiet_feed_is_not_a_dead_server(redis_store: Store) -> None:
    """A reader that would wait for longer than the client's own timeout gets an empty answer."""
    denylist = redis_store.ready()
    position = denylist.heartbeat(0)
    assert denylist.tail(position, block=10 * ANSWER_TIMEOUT) == []


def test_a_full_server_takes_an_entry_whole_or_not_at_all(private_redis: RedisServer) -> None:
    """Without memory an entry is refused, and neither contents nor feed have a part of it."""
    client = private_redis.client()
    denylist = RedisDenylist(client)
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    denylist.add([Entry.key("before")])
    before = contents(denylist), feed(denylist), denylist.state()
    client.config_set("maxmemory", "1")
    for entry in (Entry.key("k"), Entry.session("s", 1 << 33), Entry.epoch("e", 5)):
        with pytest.raises(DenylistUnavailable):
            denylist.add([entry])
    with pytest.raises(DenylistUnavailable):
        denylist.heartbeat(0)
    client.config_set("maxmemory", "0")
    assert (contents(denylist), feed(denylist), denylist.state()) == before


def test_scripts_come_back_by_themselves(redis_store: Store, redis_server: RedisServer) -> None:
    """A server that forgot its scripts is given them again."""
    denylist = redis_store.ready()
    redis_server.client().script_flush()
    assert denylist.add([Entry.key("k")]).seq == 1
    redis_server.client().script_flush()
    assert denylist.lookup(Token().probe(denylist, "k")) is Kind.KEY


def test_sigkill_loses_nothing_that_was_acknowledged(private_redis: RedisServer) -> None:
    """Four writers, a kill -9 in their midst, a new start: every answered entry is there."""
    epoch = ready(private_redis.unix_url).state().position.epoch
    acknowledged: list[Entry] = []
    enough = threading.Event()

    def write(number: int) -> None:
        denylist = open_denylist(private_redis.unix_url)
        with contextlib.closing(denylist), contextlib.suppress(DenylistUnavailable):
            for n in range(100_000):
                entry = Entry.session(f"{number}:{n}", (1 << 33) + n)
                denylist.add([entry])
                acknowledged.append(entry)
                if len(acknowledged) > 300:
                    enough.set()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    assert enough.wait(60)
    private_redis.kill()
    for writer in writers:
        writer.join()
    private_redis.start()
    with contextlib.closing(open_denylist(private_redis.unix_url)) as denylist:
        for _ in until(10, "an answer"):
            with contextlib.suppress(DenylistUnavailable):
                state = denylist.state()
                break
        assert state.position.epoch == epoch
        # It may have lost something for all that it knows.
        assert not state.ready
        denylist.mark_ready()
        model = denylists.Model(lambda expires: -(-expires // FAR_BUCKET) * FAR_BUCKET)
        model.add(acknowledged)
        held = contents(denylist)
        assert model.contents(state.salt).items() <= held.items()
        # The one entry of each writer that was under way may be there too.
        assert len(acknowledged) <= len(held) == state.position.seq <= len(acknowledged) + 4
        chain = ""
        for item in feed(denylist):
            chain = next_chain(chain, item.seq, item.records)
            assert item.chain == chain
        assert chain == state.position.chain


CHILD = """
import sys
import redis
from revocation import open_denylist
url, number = sys.argv[1], int(sys.argv[2])
denylist = open_denylist(url)
client = redis.Redis.from_url(url)
client.rpush("here", number)
client.blpop("go")
state = denylist.initialise(watermark=number)
print(state.position.epoch, state.salt.hex(), state.watermark, flush=True)
"""


def test_twenty_processes_make_one_epoch(redis_url: str, redis_server: RedisServer) -> None:
    """Twenty processes that initialise in one moment print one and the same state."""
    client = redis_server.client()
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(Process([sys.executable, "-c", CHILD, redis_url, str(number)]))
            for number in range(20)
        ]
        for _ in until(60, "twenty processes"):
            if client.llen("here") == 20:
                break
        client.rpush("go", *range(20))
        lines = {child.wait_for_line(r"^\S+ \S+ \d+$").group() for child in children}
        assert len(lines) == 1
    with contextlib.closing(open_denylist(redis_url)) as denylist:
        assert lines.pop().split()[0] == denylist.state().position.epoch


@pytest.mark.usefixtures("unhurried")
def test_threads_share_one_denylist(redis_store: Store) -> None:
    """Sixteen threads on one object each get their own answer."""
    denylist = redis_store.ready()
    denylist.add([Entry.key(f"k{n}") for n in range(0, 16, 2)])

    def ask(number: int) -> list[Kind | None]:
        return [denylist.lookup(Token().probe(denylist, f"k{number}")) for _ in range(20)]

    answers = in_threads(16, ask)
    assert answers == [[None if number % 2 else Kind.KEY] * 20 for number in range(16)]


def test_a_snapshot_is_of_one_history(redis_store: Store, redis_server: RedisServer) -> None:
    """Where another server takes over between state and records, nothing is taken from it."""
    denylist = redis_store.ready()
    client = redis_server.client()
    denylist.add([Entry.session("s", 1 << 33), Entry.key("k")])
    meta = f"{redis_store.name}:{{denylist}}"
    # A laggard, one of another epoch, and one that was emptied.
    for changes in ({"seq": 0}, {"epoch": "another"}, None):
        kept = client.hgetall(meta)
        snapshot = denylist.snapshot()
        if changes is None:
            client.delete(meta)
        else:
            client.hset(meta, mapping=changes)
        with pytest.raises(DenylistWentBack):
            list(snapshot.records)
        client.hset(meta, mapping=kept)
    assert len(list(denylist.snapshot().records)) == 2


def test_a_redis_error_of_any_kind_becomes_ours(
    redis_store: Store, redis_server: RedisServer
) -> None:
    """A key of another type under our name is an unavailable denylist, not a stray exception."""
    denylist = redis_store.ready()
    client: redis.Redis = redis_server.client()
    client.set(f"{redis_store.name}:{{denylist}}", "not a hash")
    for call in ALL_CALLS.values():
        with pytest.raises(DenylistUnavailable):
            call(denylist)
