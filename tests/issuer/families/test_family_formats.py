"""Records of other versions' formats: read where they can be, and otherwise left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from harness.millisecond_clock import MillisecondClock
from harness.redis_server import RedisServer
from harness.rotation_machine import DEFAULT

from issuer.families import (
    FamilyStore,
    FamilyUnavailable,
    Gone,
    NewFamily,
    RefreshReuseDetected,
    Rotated,
    Status,
)
from issuer.families.redis_families import FORMAT, RedisFamilies
from revocation.redis_client import load_script

LATER_FIELDS = {"platform": "phone", "zz": b"\xff\x00"}


class Record:
    """One family and its hash in Redis."""

    def __init__(self, store: FamilyStore, client: redis.Redis, clock: MillisecondClock) -> None:
        self.store = store
        self.clock = clock
        now = clock.ms // 1000
        store.create(
            NewFamily(
                sub="ann",
                sid="one",
                client_id="web",
                credential_version=1,
                auth_time=now,
                amr=("pwd",),
                scope="",
                idle=1800,
                absolute_end=now + 43_200,
            )
        )
        self._client = client
        (self._key,) = client.keys("*:family:one")

    def fields(self) -> dict[bytes, bytes]:
        return self._client.hgetall(self._key)

    def write(self, **fields: Any) -> None:
        self._client.hset(self._key, mapping=fields)

    def drop(self, field: str) -> None:
        self._client.hdel(self._key, field)

    def expires(self) -> int:
        when: int = self._client.pexpiretime(self._key)
        return when

    def listed(self) -> bool:
        """Whether the index of the person's sessions has it."""
        (index,) = self._client.keys("*:sessions")
        return self._client.zscore(index, "one") is not None

    def present(self, gen: int) -> Any:
        """An ordinary refresh, some minutes after the last."""
        self.clock.wait(300)
        return self.store.rotate("ann", "one", gen, credential_version=1, active_ago=0)


@pytest.fixture
def open_record(
    open_redis: Callable[..., RedisFamilies], _quick_redis: RedisServer
) -> Callable[..., Record]:
    """Makes a family; `scripts` replaces the store's Lua."""

    def opened(**options: Any) -> Record:
        clock = MillisecondClock()
        return Record(open_redis(DEFAULT, clock, **options), _quick_redis.client(), clock)

    return opened


@pytest.fixture
def record(open_record: Callable[..., Record]) -> Record:
    return open_record()


def test_a_record_says_its_format(record: Record) -> None:
    """From its making on, and after each kind of change."""
    assert record.fields()[b"v"] == b"%d" % FORMAT
    record.present(1)
    record.store.mark("ann", "one", Status.ENDED)
    assert record.fields()[b"v"] == b"%d" % FORMAT


def test_a_record_without_a_format_is_of_the_first(record: Record) -> None:
    """What 0.1.0 has made is read, refreshed, judged and ended as ever."""
    record.drop("v")
    assert record.store.get("ann", "one") == record.store.of_subject("ann")[0]
    for gen in (1, 2):
        assert isinstance(record.present(gen), Rotated)
    assert isinstance(record.present(1), RefreshReuseDetected)
    record.store.mark("ann", "one", Status.ENDED)
    assert isinstance(record.present(3), Gone)
    assert b"v" not in record.fields()


def test_fields_of_later_versions_are_kept(record: Record) -> None:
    """No script and no reader minds them, and none loses them."""
    record.write(**LATER_FIELDS)
    for gen in (1, 2):
        assert isinstance(record.present(gen), Rotated)
    family = record.store.get("ann", "one")
    assert family is not None
    assert family.gen == 3
    assert isinstance(record.present(1), RefreshReuseDetected)
    record.store.mark("ann", "one", Status.ENDED)
    kept = record.fields()
    assert kept[b"status"] == b"ended"
    assert {name: kept[name.encode()] for name in LATER_FIELDS} == {
        "platform": b"phone",
        "zz": b"\xff\x00",
    }


def refuses_and_keeps(record: Record) -> None:
    """Every call on this record is refused as unavailable or does nothing, and changes nothing."""
    store = record.store
    before, expires = record.fields(), record.expires()
    for gen in (0, 1, 2, 9):
        with pytest.raises(FamilyUnavailable, match="newer"):
            record.present(gen)
    with pytest.raises(FamilyUnavailable, match="newer"):
        store.get("ann", "one")
    with pytest.raises(FamilyUnavailable, match="newer"):
        store.of_subject("ann")
    store.mark("ann", "one", Status.ENDING)
    store.mark("ann", "one", Status.ENDED)
    record.clock.wait(100_000)  # past its end, as far as this version can tell
    with pytest.raises(FamilyUnavailable, match="newer"):
        record.present(1)
    assert record.fields() == before
    assert record.expires() == expires
    assert record.listed()


@pytest.mark.parametrize("version", [str(FORMAT + 1), "1000000", "2b", "", "-1", "1.5"])
def test_a_record_of_a_later_format_is_left_to_those_who_know_it(
    record: Record, version: str
) -> None:
    """Neither accepted nor refused for good, and never written: a newer issuer will answer."""
    record.write(v=version)
    refuses_and_keeps(record)


def test_a_later_format_need_not_have_the_fields_of_this_one(record: Record) -> None:
    """The format is looked at before anything else."""
    record.write(v=FORMAT + 1, status="paused", gen="seven")
    for field in ("idle", "absolute", "sub"):
        record.drop(field)
    refuses_and_keeps(record)


MUTANTS = {
    "rotate without a look": ("rotate", "if is_newer() then", "if false then"),
    "mark without a look": ("mark", "if is_newer() then", "if false then"),
    "one format too many": ("prelude", "tonumber(v) > FORMAT", "tonumber(v) > FORMAT + 1"),
    "no number is none": ("prelude", "not string.match(v, '^%d+$') or ", ""),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_checks_catch_a_mutant(open_record: Callable[..., Record], mutant: str) -> None:
    """A script that works on a record of a later format is found out."""
    script, right, wrong = MUTANTS[mutant]

    def altered(name: str) -> str:
        text = load_script("issuer.families", name)
        assert name != script or right in text
        return text.replace(right, wrong) if name == script else text

    record = open_record(scripts=altered)
    record.write(v="-1" if mutant == "no number is none" else FORMAT + 1)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        refuses_and_keeps(record)
