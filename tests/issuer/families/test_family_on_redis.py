"""What is particular to families on Redis: they expire by themselves, and it may be away."""

from __future__ import annotations

import pytest
import redis
from harness.millisecond_clock import MillisecondClock
from harness.redis_server import RedisServer

from issuer.families import (
    FamilyStore,
    FamilyUnavailable,
    NewFamily,
    Rotated,
    RotationRules,
    Status,
    open_families,
)

FORGIVING = RotationRules(reuse_interval=0)


def new(sid: str, now: int, *, idle: int | None = None, absolute: int = 43_200) -> NewFamily:
    return NewFamily(
        sub="ann",
        sid=sid,
        client_id="web",
        credential_version=1,
        auth_time=now,
        amr=("pwd",),
        scope="",
        idle=idle,
        absolute_end=now + absolute,
    )


def expiry_of(client: redis.Redis, pattern: str) -> int:
    """When the one key of this pattern expires, in milliseconds."""
    (key,) = client.keys(pattern)
    expires: int = client.pexpiretime(key)
    return expires


@pytest.fixture
def client(redis_server: RedisServer) -> redis.Redis:
    return redis_server.client()


def test_a_record_expires_at_the_idle_end(redis_url: str, client: redis.Redis) -> None:
    """It moves with the person's activity and with nothing else."""
    clock = MillisecondClock()
    made = clock.ms
    store = open_families(redis_url, FORGIVING, clock=clock)
    store.create(new("one", made // 1000, idle=600))
    assert expiry_of(client, "*:family:one") == made + 600_000
    clock.wait(300)
    store.rotate("ann", "one", 1, credential_version=1)
    assert expiry_of(client, "*:family:one") == made + 600_000
    store.rotate("ann", "one", 2, credential_version=1, active_ago=100)
    assert expiry_of(client, "*:family:one") == made + 200_000 + 600_000
    store.close()


def test_a_record_expires_at_the_absolute_end(redis_url: str, client: redis.Redis) -> None:
    """Where that is first, or the only one."""
    clock = MillisecondClock()
    made = clock.ms
    store = open_families(redis_url, FORGIVING, clock=clock)
    store.create(new("one", made // 1000, absolute=900))
    store.create(new("two", made // 1000, absolute=900, idle=600))
    clock.wait(500)
    store.rotate("ann", "two", 1, credential_version=1, active_ago=0)
    assert expiry_of(client, "*:family:one") == made + 900_000
    assert expiry_of(client, "*:family:two") == made + 900_000
    store.close()


def test_an_end_that_passes_during_a_rotation_loses_no_answer(
    redis_url: str, client: redis.Redis
) -> None:
    """Redis drops the record as it is told to, and the rotation is answered as the last one."""
    clock = MillisecondClock(ahead=-5)
    store = open_families(redis_url, FORGIVING, clock=clock)
    store.create(new("one", clock.ms // 1000))
    (key,) = client.keys("*:family:one")
    # In the future of the clock that the script goes by, in the past of the one that Redis has.
    client.hset(key, "absolute", str(clock.ms + 1000))
    outcome = store.rotate("ann", "one", 1, credential_version=1)
    assert isinstance(outcome, Rotated)
    assert (outcome.family.sid, outcome.family.gen) == ("one", 2)
    assert not client.exists(key)
    store.close()


def test_an_ended_record_still_expires(redis_url: str, client: redis.Redis) -> None:
    """Neither an end nor reuse keeps it for ever."""
    clock = MillisecondClock()
    made = clock.ms
    store = open_families(redis_url, FORGIVING, clock=clock)
    store.create(new("one", made // 1000))
    store.create(new("two", made // 1000))
    store.mark("ann", "one", Status.ENDED)
    store.rotate("ann", "two", 5, credential_version=1)
    for sid in ("one", "two"):
        assert expiry_of(client, f"*:family:{sid}") == made + 43_200_000
    store.close()


def test_an_index_is_bounded(redis_url: str, client: redis.Redis) -> None:
    """It expires with its longest session, and drops what is past its end at each login."""
    clock = MillisecondClock()
    made = clock.ms
    store = open_families(redis_url, FORGIVING, clock=clock)
    store.create(new("long", made // 1000, absolute=43_200))
    store.create(new("short", made // 1000, absolute=900))
    assert expiry_of(client, "*:sessions") == made + 43_200_000
    clock.wait(900)
    store.create(new("last", clock.ms // 1000, absolute=900))
    (index,) = client.keys("*:sessions")
    assert client.zrange(index, 0, -1) == [b"last", b"long"]
    assert expiry_of(client, "*:sessions") == made + 43_200_000
    store.close()


def test_a_missing_family_leaves_no_key(redis_url: str, client: redis.Redis) -> None:
    """Not even half a record."""
    store = open_families(redis_url, FORGIVING)
    store.rotate("ann", "gone", 1, credential_version=1)
    for status in Status:
        store.mark("ann", "gone", status)
    assert client.keys("*") == []
    store.close()


def test_a_familys_keys_are_in_one_slot(redis_url: str, client: redis.Redis) -> None:
    """A subject's sessions and their index share a hash tag, and the namespace is the caller's."""
    clock = MillisecondClock()
    store = open_families(redis_url, FORGIVING, namespace="acme", clock=clock)
    for sid in ("one", "two"):
        store.create(new(sid, clock.ms // 1000))
    keys = [key.decode() for key in client.keys("*")]
    assert len(keys) == 3
    assert {key[: key.index("}")] for key in keys} == {keys[0][: keys[0].index("}")]}
    assert all(key.startswith("acme:{") for key in keys)
    store.close()


def test_two_issuers_share_their_families(redis_url: str) -> None:
    """What one rotated, the other resends."""
    clock = MillisecondClock()
    here, there = (open_families(redis_url, RotationRules(), clock=clock) for _ in range(2))
    made = here.create(new("one", clock.ms // 1000))
    assert there.get("ann", "one") == made
    clock.wait(60)
    assert isinstance(here.rotate("ann", "one", 1, credential_version=1), Rotated)
    resent = there.rotate("ann", "one", 1, credential_version=1)
    assert resent.family == here.get("ann", "one")
    here.close()
    there.close()


def test_a_restarted_server_keeps_what_it_acknowledged(private_redis: RedisServer) -> None:
    """A rotation survives SIGKILL, scripts that the server forgot are sent again."""
    clock = MillisecondClock()
    store = open_families(private_redis.unix_url, RotationRules(), clock=clock)
    store.create(new("one", clock.ms // 1000))
    clock.wait(60)
    rotated = store.rotate("ann", "one", 1, credential_version=1)
    private_redis.kill()
    private_redis.start()
    assert store.get("ann", "one") == rotated.family
    again = store.rotate("ann", "one", 1, credential_version=1)
    assert again.family == rotated.family
    store.close()


def everything(store: FamilyStore) -> list[object]:
    return [
        lambda: store.create(new("two", 1)),
        lambda: store.rotate("ann", "one", 1, credential_version=1),
        lambda: store.get("ann", "one"),
        lambda: store.of_subject("ann"),
        lambda: store.mark("ann", "one", Status.ENDED),
        store.ping,
    ]


def test_a_server_that_is_down_is_one_error(private_redis: RedisServer) -> None:
    """Every method raises `FamilyUnavailable`, and its text holds no address."""
    store = open_families(private_redis.unix_url, RotationRules())
    private_redis.kill()
    for call in everything(store):
        with pytest.raises(FamilyUnavailable) as caught:
            call()
        assert str(private_redis.socket) not in str(caught.value)
    store.close()


def test_an_unknown_scheme_is_refused() -> None:
    """By name."""
    with pytest.raises(ValueError, match="'ftp'"):
        open_families("ftp://somewhere", RotationRules())
