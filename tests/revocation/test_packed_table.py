"""The packed table: a dictionary with maximum, in flat memory."""

from __future__ import annotations

import mmap
import secrets
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revocation import MOST_ENTRIES, NEVER, Position, Record, packed_copy
from revocation.packed_copy import PackedCopy
from revocation.packed_table import (
    BLOCK_SIZE,
    FULLEST,
    HEADER,
    PackedTable,
    Told,
    Word,
    capacity_for,
    size_of,
)
from revocation.table_storage import OwnMemory

MINUTE = 60


def table_for(count: int) -> PackedTable:
    capacity = capacity_for(count)
    return PackedTable(mmap.mmap(-1, size_of(capacity)), capacity=capacity)


def key_of(number: int, kind: bytes = b"s") -> bytes:
    return kind + number.to_bytes(16, "big")


# Few places for the first 8 bytes, so that searches run into one another.
keys = st.builds(
    lambda kind, place, rest: kind + place.to_bytes(8, "little") + bytes(7) + bytes([rest]),
    st.sampled_from([b"t", b"s", b"u"]),
    st.sampled_from([0, 1, 2, 1023, 1024, (1 << 64) - 1]),
    st.integers(0, 5),
)
steps = st.lists(
    st.one_of(
        st.tuples(keys, st.integers(1, 1 << 53), st.sampled_from([60, 61, 120, 6000, NEVER])),
        st.sampled_from([0, 59, 60, 119, 120, 180]),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_it_is_a_dictionary_of_maxima(told: list[tuple[bytes, int, int] | int]) -> None:
    """Whatever is merged and dropped in whatever order, each key has its plain maximum."""
    table, model = table_for(0), dict[bytes, tuple[int, int]]()
    for step in told:
        if isinstance(step, int):
            table.drop_expired(step, 0, table.capacity)
            model = {key: held for key, held in model.items() if held[1] > step}
            continue
        key, level, expires = step
        end = expires if expires == NEVER else -(-expires // MINUTE) * MINUTE
        old = model.get(key, (0, 0))
        model[key] = max(level, old[0]), max(end, old[1])
        assert table.merge(key, level, expires) == (model[key] != old)
        assert not table.merge(key, level, expires)
    assert {r.key: (r.level, r.expires) for r in table.records()} == model
    assert len(table) == len(model)
    for key, (level, _) in model.items():
        assert table.level_of(key) == level
        assert table.level_of(b"k" + key[1:]) == 0


def test_an_expiry_is_kept_to_its_end() -> None:
    """It is rounded up to the minute, never down, and gone then."""
    table = table_for(0)
    table.merge(key_of(1), 1, 61)
    table.drop_expired(119, 0, table.capacity)
    assert table.level_of(key_of(1)) == 1
    table.drop_expired(120, 0, table.capacity)
    assert table.level_of(key_of(1)) == 0


def test_what_never_expires_stays() -> None:
    """At whatever time."""
    table = table_for(0)
    table.merge(key_of(1), 1, NEVER)
    table.drop_expired(1 << 36, 0, table.capacity)
    assert table.level_of(key_of(1)) == 1


def test_a_table_that_is_all_deleted_places_still_ends_its_searches() -> None:
    """A search goes once round at most."""
    table = table_for(0)
    for number in range(table.capacity):
        table.merge(secrets.token_bytes(17), 1, 60)
        assert number < table.capacity
    table.drop_expired(60, 0, table.capacity)
    assert table.level_of(key_of(1)) == 0
    assert len(table) == 0


def test_a_buffer_of_something_else_is_refused() -> None:
    """Wrong magic, wrong size: not a table."""
    buffer = mmap.mmap(-1, size_of(1024))
    with pytest.raises(ValueError, match="format"):
        PackedTable(buffer)
    made = PackedTable(buffer, capacity=1024)
    assert PackedTable(buffer).capacity == 1024
    made.words[Word.CAPACITY] = 2048
    with pytest.raises(ValueError, match="size"):
        PackedTable(buffer)


def test_what_a_block_tells_is_read_as_it_was_told() -> None:
    """Watermark, salts and position, together; nothing at first."""
    table = table_for(0)
    assert table.told() == Told()
    told = Told(5, (b"a" * 32, b"b" * 32), Position("epoch", 7, "f" * 40))
    table.tell(told)
    assert table.told() == told
    without = Told(6, (b"a" * 32,), Position("e" * 65, 7, "f" * 40))
    table.tell(without)
    assert table.told() == Told(6, (b"a" * 32,), None)


def test_a_writer_that_dies_in_a_block_leaves_the_one_before() -> None:
    """What is half written is not the present one yet."""
    table = table_for(0)
    told = Told(5, (b"a" * 32,), Position("epoch", 7, "f" * 40))
    table.tell(told)
    for torn in range(BLOCK_SIZE):
        at = (table.words[Word.SEQUENCE] + 1) % 2 * BLOCK_SIZE
        table._blocks[at + torn] = 0xA5
        assert table.told() == told


def test_a_million_entries_take_at_most_48_bytes_each() -> None:
    """Just after it was made anew, and at every size up to the next time."""
    for count in (100_000, 1_000_000):
        assert size_of(capacity_for(count)) / count < 48
    assert HEADER == 4096
    assert FULLEST > 0.7


def entries(first: int, last: int, expires: int = 6000) -> list[Record]:
    return [Record(b"s" + secrets.token_bytes(16), 1, expires) for _ in range(first, last)]


@pytest.mark.parametrize("batch", [1, 7, 5000])
def test_it_grows_while_it_is_read(batch: int) -> None:
    """At every moment of its growth everything that was put in is found."""
    copy = PackedCopy()
    told = entries(0, 5000)
    for first in range(0, len(told), batch):
        copy.merge(told[first : first + batch])
        if batch > 1 or first % 500 == 499:
            assert all(copy.level_of(record.key) for record in told[: first + batch])
    assert len(copy) == 5000
    copy.sweep(0)
    assert size_of(copy._table.capacity) / 5000 < 50
    assert all(copy.level_of(record.key) for record in told)


def test_nobody_waits_for_it_to_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """No record has more to move than its share: a gateway would be behind for as long."""
    copy, moved, made = PackedCopy(), 0, 0
    take_from = PackedTable.take_from

    def counted(self: PackedTable, other: PackedTable, first: int, last: int) -> None:
        nonlocal moved
        moved += last - first
        take_from(self, other, first, last)

    monkeypatch.setattr(PackedTable, "take_from", counted)
    for _ in range(10_000):
        moved, before = 0, copy.table
        copy.merge([Record(secrets.token_bytes(17), 1, NEVER)])
        assert moved <= 64
        made += copy.table is not before
    assert made >= 3
    assert len(copy) == 10_000


def test_it_stays_small_while_entries_come_and_go() -> None:
    """Expired places are used again: the same number of live entries needs the same memory."""
    copy = PackedCopy()
    sizes = []
    for minute in range(1, 40):
        copy.merge(entries(0, 500, expires=60 * minute + 300))
        copy.sweep(60 * minute)
        sizes.append(copy._table.capacity)
        assert len(copy) <= 500 * 6
    assert max(sizes[10:]) <= capacity_for(500 * 6) * 1.4


LIFE = 8
"""Minutes that an entry stays."""
ARRIVALS: dict[str, Sequence[int]] = {
    "as many come as go": [1_500] * 24,
    "fewer and fewer come": [int(2_800 * 0.97**minute) for minute in range(30)],
    "many come at once, and then few": [2_400] * 8 + [1_400] * 12,
    "more come again": [*range(2_400, 1_300, -100), *range(1_300, 2_600, 100)],
}
"""How many in each minute."""


def bytes_each(arrivals: Sequence[int]) -> Iterator[float]:
    """Of a copy with so many entries, wherever no sweep is halfway and no table is made anew."""
    copy, least = PackedCopy(), 10_500  # below that the header counts
    for minute, count in enumerate(arrivals):
        told = entries(0, count, expires=MINUTE * (minute + LIFE))
        is_sweeping = True
        for first in range(0, count, 100):
            copy.merge(told[first : first + 100])
            if copy._next is None and not copy._swept_places and len(copy) > least:
                yield size_of(copy.table.capacity) / len(copy)
            is_sweeping = is_sweeping and copy.sweep(MINUTE * minute)


@pytest.mark.parametrize("arrivals", ARRIVALS.values(), ids=ARRIVALS)
def test_entries_that_come_and_go_leave_it_at_48_bytes_each(arrivals: Sequence[int]) -> None:
    """However many do, and in whatever order: what a sweep leaves is no larger than that."""
    found = list(bytes_each(arrivals))
    assert len(found) > 50
    assert max(found) <= 48


def test_a_table_that_is_left_too_large_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is a fifth larger than it needs to be, for instance."""
    monkeypatch.setattr(packed_copy, "_SPARE", 1.2)
    assert max(bytes_each(ARRIVALS["many come at once, and then few"])) > 48


def test_what_a_sweep_leaves_is_at_most_48_bytes_each_at_any_count() -> None:
    """The largest table that it leaves, and the largest that is made anew while full."""
    for count in (10_500, 50_000, 1_000_000, MOST_ENTRIES):
        left = int(packed_copy._SPARE * capacity_for(count))
        assert size_of(left) / count <= 48
        assert size_of(capacity_for(count + count // 32)) / count <= 48


def test_every_change_is_counted() -> None:
    """Who has looked something up need not look again while the number is the same."""
    copy = PackedCopy()
    seen = [copy.changes]
    record = Record(key_of(1), 1, 60)
    copy.merge([record])
    seen.append(copy.changes)
    copy.merge([record])
    assert copy.changes == seen[-1]
    copy.merge([Record(key_of(1), 2, 60)])
    seen.append(copy.changes)
    copy.raise_watermark(7)
    seen.append(copy.changes)
    copy.begin(b"s" * 32)
    seen.append(copy.changes)
    copy.merge(entries(0, 3000))
    seen.append(copy.changes)
    assert seen == sorted(set(seen))


def test_a_table_made_anew_keeps_salts_watermark_and_age() -> None:
    """Growth takes nothing away but the old memory."""
    copy = PackedCopy(OwnMemory())
    copy.begin(b"s" * 32)
    copy.begin(b"t" * 32)
    copy.raise_watermark(9)
    copy.vouch(12.5)
    copy.sweep(120.5)
    before = copy._table
    copy.merge(entries(0, 3000))
    assert copy._table is not before
    assert (copy.fresh_at, copy.swept) == (12.5, 120)
    assert copy.table.told() == Told(9, (b"t" * 32, b"s" * 32))
