"""Records of the rules: in memory and on Redis, each with an end, and none that grows."""

from __future__ import annotations

import json
import random
import secrets

import pytest
import redis
from harness.anomaly_events import CAFE, HOME, Watch, failed, refreshed, started, succeeded
from harness.redis_server import RedisServer

from issuer.anomalies import AnomaliesUnavailable, MemoryStates, States, open_states
from issuer.anomalies.redis_states import SHARDS
from issuer.anomalies.rules.rule import DAY
from issuer.audit import Event

MOST_BYTES = 6000
"""Of a record: two sketches, which only one record has; any other takes a third of it."""


@pytest.fixture(params=["memory", "redis", "cluster"])
def states(request: pytest.FixtureRequest) -> States:
    """An empty store of each kind."""
    if request.param == "memory":
        return open_states(f"memory://{secrets.token_hex(8)}")
    name = "redis_url" if request.param == "redis" else "redis_cluster_url"
    return open_states(request.getfixturevalue(name), namespace=secrets.token_hex(8))


def test_what_is_saved_is_loaded(states: States) -> None:
    """By any name, more than one at once, and the last text counts."""
    names = [f"s:{number}" for number in range(60)]
    states.save({name: (f"text of {name}", 60) for name in names})
    states.save({names[0]: ("another", 60), "everywhere": ("é", 60)})
    found = states.load([*names, "everywhere", "s:unknown"])
    assert found.pop("everywhere") == "é"
    assert found.pop(names[0]) == "another"
    assert found == {name: f"text of {name}" for name in names[1:]}
    assert states.load([]) == {}
    states.save({})
    states.close()


def test_opening_needs_a_store_of_a_known_kind() -> None:
    """As every other store."""
    with pytest.raises(ValueError, match="unknown scheme"):
        open_states("http://somewhere")


def test_memory_forgets_what_is_over() -> None:
    """At once for who asks, and soon for good."""
    now = [0.0]
    states = MemoryStates(clock=lambda: now[0])
    states.save({"s:1": ("text", 10), "s:2": ("text", 1000)})
    now[0] = 10.0
    assert states.load(["s:1", "s:2"]) == {"s:2": "text"}
    now[0] = 100.0
    states.save({"s:3": ("text", 1)})
    assert len(states) == 2


def busy(rng: random.Random) -> list[Event]:
    """Every kind of event, from everywhere, of a few accounts and sessions."""
    events: list[Event] = []
    for number in range(2000):
        fields = {
            "sub": f"person{rng.randrange(3)}",
            "address": f"62.{rng.randrange(40)}.{rng.randrange(9)}.1",
            "user_agent": f"agent{rng.randrange(60)}/1",
        }
        sid = f"s{rng.randrange(6)}"
        make = rng.choice((started, refreshed, failed, succeeded))
        fields["sid"] = None if make is failed else sid
        if make is refreshed:
            fields["why"] = rng.choice(("rotated", "repeated", "resent", "retried_late"))
        events.append(make(number * 15.0, **fields))
    return events


def test_every_record_ends_and_none_grows(redis_url: str) -> None:
    """Whatever comes: each key of Redis has a time to live, and a size that is bounded."""
    watch = Watch(open_states(redis_url, namespace="bounded"))
    watch.see(*busy(random.Random(1)), at_a_time=200)
    with redis.Redis.from_url(redis_url) as client:
        keys = list(client.scan_iter(match="bounded:{anomalies:*}:*"))
        assert 20 < len(keys) < 400
        for key in keys:
            assert 0 < client.ttl(key) <= 90 * DAY + 60
            text = client.hget(key, "record")
            assert isinstance(text, bytes)
            limit = MOST_BYTES if key.endswith(b"everywhere") else MOST_BYTES // 3
            assert len(text) < limit, (key, json.loads(text))
    watch.states.close()


def test_redis_holds_no_name_and_no_address(redis_url: str) -> None:
    """Accounts and networks are digests; what is kept of a user agent is its family."""
    watch = Watch(open_states(redis_url, namespace="private"))
    watch.see(started(0), refreshed(1, address=CAFE), failed(2, details={"account": "typed"}))
    with redis.Redis.from_url(redis_url) as client:
        text = b"".join(
            key + (client.hget(key, "record") or b"") for key in client.scan_iter(match="private:*")
        )
    for secret in (b"alice", b"typed", HOME.encode(), b"62.1.2", b"62.9.9", b"Mozilla"):
        assert secret not in text
    assert b"Chrome/Windows" in text
    watch.states.close()


def test_redis_that_is_away_is_said(private_redis: RedisServer) -> None:
    """Nothing is judged meanwhile; the same events are when it is back."""
    watch = Watch(open_states(private_redis.unix_url))
    batch = watch.numbered([started(0)])
    private_redis.stop()
    with pytest.raises(AnomaliesUnavailable):
        watch.give(batch)
    private_redis.start()
    watch.states.close()
    watch.states = open_states(private_redis.unix_url)
    assert SHARDS == 16
    watch.states.close()


def test_a_record_that_nobody_can_read_begins_anew() -> None:
    """A newer version's, or a damaged one: detection goes on."""
    for text in ("no JSON", "[]", '{"seq": "x"}', '{"seq": 1, "rules": {"follower": 3}}'):
        watch = Watch()
        watch.states.save({"s:s1": (text, 60)})
        watch.see(started(0), refreshed(240), refreshed(244, "resent", address=CAFE))
        assert "follower" in watch.states.load(["s:s1"])["s:s1"]
