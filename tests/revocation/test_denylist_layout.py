"""What a denylist leaves in Redis: under which keys, for how long, and in how little memory."""

from __future__ import annotations

import base64
import hashlib
import logging
import re

import pytest
from harness.denylists import BUCKET, FAR_BUCKET, HandClock, Token, contents, feed, strings_in
from harness.redis_server import RedisServer

from revocation import Denylist, Entry, Kind, Replica, open_denylist
from revocation.entry import to_record
from revocation.packed_copy import PackedCopy
from revocation.packed_table import size_of
from revocation.redis_client import load_script
from revocation.redis_denylist import RedisDenylist


def ready(url: str) -> Denylist:
    """An initialised, ready denylist."""
    denylist = open_denylist(url)
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    return denylist


# --- what it leaves in Redis ---------------------------------------------------------------------


def test_every_key_has_the_tag_and_every_bucket_its_end(redis_server: RedisServer) -> None:
    """One hash tag holds them all; what is timed expires with its bucket, by Redis itself."""
    redis_server.reset()
    clock = HandClock()
    client = redis_server.client()
    denylist = RedisDenylist(client, clock=clock)
    denylist.initialise(watermark=0)
    expiries = [clock.after(seconds) for seconds in (1, 60, 61, 299)]
    denylist.add([Entry.session(f"s{expires}", expires) for expires in expiries])
    denylist.add([Entry.key("k")])
    names = {name.decode() for name in client.scan_iter()}
    assert all(name.startswith("gatepass:{denylist}") for name in names)
    timed = {name for name in names if re.search(r":\d+:\d+$", name)}
    assert {name.removeprefix("gatepass:{denylist}") for name in names - timed} == {
        "",
        ":feed",
        ":shards",
        ":forever",
        ":buckets",
    }
    ends = sorted(client.pexpiretime(name) for name in timed)
    assert ends == sorted(-(-expires // BUCKET) * BUCKET * 1000 for expires in expiries)
    assert {client.pexpiretime(name) for name in names - timed} == {-1}


def test_names_of_what_has_passed_are_forgotten(redis_server: RedisServer) -> None:
    """A heartbeat drops the names of buckets and shards that are over, and no others."""
    redis_server.reset()
    clock = HandClock()
    client = redis_server.client()
    denylist = RedisDenylist(client, clock=clock)
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    denylist.add([Entry.session(f"s{n}", clock.after(60 * n)) for n in range(1, 6)])
    clock.advance(180)
    denylist.heartbeat(1)
    for name in ("shards", "buckets"):
        assert client.zcard(f"gatepass:{{denylist}}:{name}") == 2


def test_the_server_s_own_clock_counts_where_no_other_is_given(redis_server: RedisServer) -> None:
    """Without an injected clock, Redis says what has expired and when items were written."""
    redis_server.reset()
    client = redis_server.client()
    denylist = RedisDenylist(client)
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    seconds, micros = client.time()
    denylist.add([Entry.session("gone", seconds), Entry.session("here", seconds + 600)])
    (item,) = feed(denylist)
    assert item.sent >= seconds * 1000 + micros // 1000
    assert len(contents(denylist)) == 1


def test_nobody_is_named(private_redis: RedisServer) -> None:
    """No value, key, feed item or log of Redis holds a name, or a digest without the salt."""
    denylist = ready(private_redis.unix_url)
    names = ["ann@example.com", "shop-client", "signing-key-of-2030", "session/of/ann"]
    late = 1 << 33
    denylist.add(
        [
            Entry.subject(names[0], 3, late),
            Entry.client(names[1], 1_000, late),
            Entry.key(names[2]),
            Entry.session(names[3], late),
        ]
    )
    denylist.heartbeat(1)
    denylist.lookup(Token(sub=names[0], client_id=names[1]).probe(denylist, names[2]))
    stored = b"\0".join(strings_in(private_redis.client()))
    logged = b"".join(path.read_bytes() for path in private_redis.directory.rglob("*.aof"))
    assert b"feed" in stored
    assert b"feed" in logged
    for name in names:
        raw = name.encode()
        traces = {
            raw,
            *(word for word in re.findall(rb"\w{3,}", raw) if word not in {b"key", b"session"}),
            raw.hex().encode(),
            base64.b64encode(raw).rstrip(b"="),
            *(
                trace
                for digest in (
                    hashlib.sha256(raw),
                    hashlib.sha1(raw),
                    hashlib.md5(raw),
                    hashlib.blake2b(raw, digest_size=16),
                    *(hashlib.blake2b(raw, digest_size=16, person=p) for p in (b"u", b"c", b"k")),
                )
                for trace in (digest.digest()[:16], digest.hexdigest()[:32].encode())
            ),
        }
        assert [trace for trace in traces if trace in stored or trace in logged] == []
    denylist.close()


def test_another_epoch_has_another_salt(redis_server: RedisServer) -> None:
    """The same person stands under another key in a denylist that was made anew."""
    redis_server.reset()
    denylist = RedisDenylist(redis_server.client())
    keys = []
    for _ in range(2):
        redis_server.client().flushall()
        denylist.initialise(watermark=0)
        denylist.add([Entry.subject("ann", 3, 1 << 33)])
        keys += list(contents(denylist))
    assert len(set(keys)) == 2


def test_an_entry_far_ahead_slows_no_other(redis_server: RedisServer) -> None:
    """A search visits only the buckets that hold something, wherever they lie."""
    redis_server.reset()
    client = redis_server.client()
    denylist = RedisDenylist(client, clock=(clock := HandClock()))
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    ten_years = 10 * 365 * 86_400
    denylist.add(
        [Entry.session("far", clock.after(ten_years)), Entry.session("near", clock.after(9))]
    )
    client.config_resetstat()
    denylist.lookup(Token().probe(denylist))
    assert client.info("commandstats")["cmdstat_hget"]["calls"] < 40
    clock.advance(ten_years - 1)
    assert denylist.lookup(Token(sid="far").probe(denylist)) is Kind.SESSION


def test_entries_of_an_hour_share_wider_buckets(redis_server: RedisServer) -> None:
    """What expires late is kept a few minutes longer, so that a search visits a third of them."""
    redis_server.reset()
    client = redis_server.client()
    clock = HandClock()
    denylist = RedisDenylist(client, clock=clock)
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    ends = {f"s{minute}": clock.after(60 * minute) for minute in range(1, 61)}
    denylist.add([Entry.session(name, end) for name, end in ends.items()])
    assert client.zcard("gatepass:{denylist}:buckets") <= 21
    for record in denylist.snapshot().records:
        end = next(end for name, end in ends.items() if record_key_of(denylist, name) == record.key)
        assert end <= record.expires <= end + (0 if end <= clock() + 600 else FAR_BUCKET)
    # Told again as time goes by, an entry stays where it is.
    clock.advance(1_800)
    before = denylist.state().position
    denylist.add([Entry.session("s45", ends["s45"])])
    assert denylist.state().position == before


def record_key_of(denylist: RedisDenylist, name: str) -> bytes:
    """The key under which a session of this name stands."""
    return to_record(Entry.session(name, 1), denylist.state().salt).key


# --- memory --------------------------------------------------------------------------------------


def test_a_hundred_thousand_entries_stay_packed(private_redis: RedisServer) -> None:
    """Entries of one minute take at most 60 bytes each beside the feed, in packed hashes."""
    count = 100_000
    client = private_redis.client()
    clock = HandClock()
    denylist = RedisDenylist(client, clock=clock)
    denylist.initialise(watermark=0)
    expires = clock.after(300)
    denylist.add([Entry.subject("first", 2, expires)])

    def used() -> int:
        client.delete("gatepass:{denylist}:feed")
        return int(client.info("memory")["used_memory"])

    before = used()
    for start in range(0, count, 1_000):
        denylist.add([Entry.subject(f"user-{start + n}", 2, expires) for n in range(1_000)])
    per_entry = (used() - before) / count
    assert sum(1 for _ in denylist.snapshot().records) == count + 1
    shards = client.zrange("gatepass:{denylist}:shards", 0, 20)
    assert {client.object("encoding", shard) for shard in shards} == {b"listpack"}
    assert per_entry <= 60


FILL = """
local random = math.random
for i = 1, tonumber(ARGV[2]) do
  -- The first two bytes choose the shard; a count makes each key another one.
  local key = struct.pack('>c1I2I2I4I8', 's', random(0, 65535), random(0, 65535), i, ARGV[5])
  store(tonumber(ARGV[3]) + random(0, tonumber(ARGV[4]) - 1), key, '1')
end
"""
COUNT = """
local count = 0
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  count = count + redis.call('HLEN', name)
end
return count
"""


@pytest.mark.parametrize("buckets", [5, 1], ids=["five minutes", "one minute"])
def test_a_million_entries_take_forty_bytes_each(
    private_redis: RedisServer, buckets: int, caplog: pytest.LogCaptureFixture
) -> None:
    """At most, the feed apart: spread over an access token's life, and all within one minute.

    In a replica they take 48 bytes each at most, and its log tells how far it is.
    """
    client = private_redis.client()
    client.config_set("appendonly", "no")
    base = "gatepass:{denylist}"
    keys = [base, *(f"{base}:{part}" for part in ("feed", "shards", "forever", "buckets"))]
    denylist = RedisDenylist(client)
    denylist.initialise(watermark=0)
    before = int(client.info("memory")["used_memory"])
    # Stored by the script that `add` stores with, without a round trip for each.
    fill = client.register_script(load_script("revocation", "prelude") + FILL)
    first = int(client.time()[0]) // BUCKET + 10
    for part in range(20):
        fill(keys=keys, args=["", 50_000, first, buckets, part])
    used = int(client.info("memory")["used_memory"]) - before
    assert client.eval(COUNT, 1, f"{base}:shards") == 1_000_000
    assert used / 1_000_000 <= 40
    if buckets == 1:
        return
    denylist.mark_ready()
    replica = Replica(denylist)
    caplog.set_level(logging.INFO, "gatepass.revocation")
    replica.step(0)
    assert len(replica) == 1_000_000
    copy = replica._copy
    assert isinstance(copy, PackedCopy)
    assert size_of(copy.table.capacity) / len(replica) <= 48
    assert re.search(r"has read \d+ of about \d{6,7} entries", caplog.text)
