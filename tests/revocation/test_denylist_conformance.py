"""What every denylist promises of its epoch, of adding and of looking up, on each store."""

from __future__ import annotations

import pytest
from harness.denylists import CALLS, HITS, KID, HandClock, Store, Token, contents, feed, in_threads

from revocation import (
    NEVER,
    DenylistLost,
    DenylistNotReady,
    DenylistReplaced,
    DenylistUnavailable,
    Entry,
    Kind,
    Position,
    Probe,
)
from revocation.entry import record_key, unpack
from revocation.feed import next_chain

# --- the epoch -----------------------------------------------------------------------------------


def test_initialise_sets_what_is_not_there(store: Store) -> None:
    """The first call makes epoch, salt and watermark; a later one changes nothing."""
    denylist = store.open()
    made = denylist.initialise(watermark=1_000)
    assert (made.position.seq, made.position.chain, made.watermark) == (0, "", 1_000)
    assert not made.ready
    assert len(made.salt) == 32
    denylist.add([Entry.key("k")])
    denylist.mark_ready()
    again = store.open().initialise(watermark=2_000)
    assert again == denylist.state()
    assert (again.position.epoch, again.salt) == (made.position.epoch, made.salt)
    assert (again.watermark, again.ready) == (1_000, True)


@pytest.mark.usefixtures("unhurried")
def test_twenty_racing_initialisers_agree(store: Store) -> None:
    """Of twenty that initialise in one moment one wins, and all see its epoch."""
    denylists = [store.open() for _ in range(20)]
    for denylist in denylists:
        with pytest.raises(DenylistLost):
            denylist.state()  # so that they race for the epoch, not for a connection
    states = in_threads(20, lambda number: denylists[number].initialise(watermark=number))
    assert len(set(states)) == 1
    assert denylists[0].state() == states[0]


@pytest.mark.parametrize("call", CALLS)
def test_without_an_epoch_it_is_lost(store: Store, call: str) -> None:
    """Every method but `initialise` refuses where there is no epoch."""
    with pytest.raises(DenylistLost):
        CALLS[call](store.open())


def test_until_it_is_ready_it_vouches_for_nothing(store: Store) -> None:
    """Before `mark_ready` it takes entries and shows them, but answers and announces nothing."""
    denylist = store.open()
    denylist.initialise(watermark=0)
    denylist.add([Entry.key(KID)])
    probe = Token().probe(denylist)
    start = Position(denylist.state().position.epoch, 0, "")
    for question in (
        lambda: denylist.heartbeat(1),
        lambda: denylist.lookup(probe),
        lambda: denylist.tail(start, 0),
    ):
        with pytest.raises(DenylistNotReady) as refusal:
            question()
        assert isinstance(refusal.value, DenylistUnavailable)
    assert len(contents(denylist)) == 1
    denylist.mark_ready()
    denylist.mark_ready()
    assert [item.seq for item in feed(denylist)] == [1]
    assert denylist.state().ready
    assert denylist.lookup(probe) is Kind.KEY
    assert denylist.heartbeat(1).seq == 2


def test_ready_is_said_of_the_epoch_that_was_filled(store: Store) -> None:
    """Who filled an epoch that is gone cannot vouch for the one that took its place."""
    denylist = store.open()
    epoch = denylist.initialise(watermark=0).position.epoch
    with pytest.raises(DenylistReplaced):
        denylist.mark_ready("an-epoch-that-is-gone")
    assert not denylist.state().ready
    denylist.mark_ready(epoch)
    assert denylist.state().ready


def test_the_watermark_only_rises(store: Store) -> None:
    """An epoch entry raises the watermark and is announced; a lower or equal one is neither."""
    denylist = store.ready()
    denylist.add([Entry.epoch("a", 500)])
    denylist.add([Entry.epoch("b", 499), Entry.epoch("c", 500)])
    assert denylist.state().watermark == 500
    (item,) = feed(denylist)
    assert [(record.kind, record.level) for record in unpack(item.records)] == [(Kind.EPOCH, 500)]
    assert contents(denylist) == {}


# --- adding --------------------------------------------------------------------------------------


def test_an_entry_and_its_announcement_are_one_step(store: Store, clock: HandClock) -> None:
    """One call is one feed item with every record that it changed, and the contents have them."""
    denylist = store.ready(clock)
    entries = [
        Entry.token("t", clock.after(70)),
        Entry.session("s", clock.after(80)),
        Entry.subject("u", 7, clock.after(90)),
        Entry.client("c", 1_000, clock.after(100)),
        Entry.key("k"),
        Entry.epoch("e", 2_000),
    ]
    position = denylist.add(entries)
    assert position == denylist.state().position
    (item,) = feed(denylist)
    assert (item.seq, item.chain) == (position.seq, position.chain)
    assert item.seq == 1
    assert item.sent == int(clock.now * 1000)
    assert not item.is_heartbeat
    salt = denylist.state().salt
    announced = {record.key: (record.level, record.expires) for record in unpack(item.records)}
    assert set(announced) == {record_key(entry.kind, entry.value, salt) for entry in entries}
    announced.pop(record_key(Kind.EPOCH, "e", salt))
    assert announced == contents(denylist)
    assert announced == {
        record_key(entry.kind, entry.value, salt): (entry.level, store.end(entry.expires))
        for entry in entries[:-1]
    }


def test_what_is_there_already_is_not_announced_again(store: Store, clock: HandClock) -> None:
    """A repetition, a lower level or an earlier expiry leaves contents and feed as they are."""
    denylist = store.ready(clock)
    entry = Entry.subject("u", 7, clock.after(300))
    first = denylist.add([entry, Entry.key("k")])
    before = contents(denylist)
    for again in (
        [entry],
        [entry, entry],
        [Entry.key("k")],
        [Entry.subject("u", 6, clock.after(300))],
        [Entry.subject("u", 7, clock.after(200))],
        [Entry.subject("u", 1, clock.after(1))],
        [Entry(Kind.KEY, "k", 1, clock.after(100))],
        [],
    ):
        assert denylist.add(again) == first
    assert contents(denylist) == before
    assert len(feed(denylist)) == 1


def test_only_what_changed_is_announced(store: Store, clock: HandClock) -> None:
    """Of a batch with something old and something new, the new is announced."""
    denylist = store.ready(clock)
    old, new = Entry.session("old", clock.after(300)), Entry.session("new", clock.after(300))
    denylist.add([old])
    denylist.add([old, new, old, new])
    records = list(unpack(feed(denylist)[1].records))
    assert [record.key for record in records] == [
        record_key(Kind.SESSION, "new", denylist.state().salt)
    ]


def test_what_is_announced_lasts_as_long_as_what_is_held(store: Store, clock: HandClock) -> None:
    """A later entry that changes nothing in the store has nothing to change in a reader."""
    denylist = store.ready(clock)
    salt = denylist.state().salt
    for expires in (clock.after(61), clock.after(100), clock.after(119), clock.after(120)):
        denylist.add([Entry.session("s", expires)])
        announced = {}
        for item in feed(denylist):
            for record in unpack(item.records):
                announced[record.key] = max(announced.get(record.key, 0), record.expires)
        assert announced[record_key(Kind.SESSION, "s", salt)] >= expires


@pytest.mark.parametrize(
    ("level", "expires"),
    [(-1, 1), (1, -1), (NEVER + 1, NEVER), (1, NEVER + 1), (1 << 64, 1), (1, 1 << 64)],
)
def test_a_level_or_expiry_out_of_bounds_is_no_entry(level: int, expires: int) -> None:
    """Numbers that a store could not keep exactly are refused where the entry is made."""
    with pytest.raises(ValueError, match="lie between"):
        Entry(Kind.SUBJECT, "u", level, expires)


def test_the_largest_level_is_kept_exactly(store: Store) -> None:
    """Levels up to 2^53 - 1 come back as they were."""
    denylist = store.ready()
    denylist.add([Entry(Kind.SUBJECT, "u", NEVER, NEVER)])
    assert list(contents(denylist).values()) == [(NEVER, NEVER)]
    (item,) = feed(denylist)
    assert [record.level for record in unpack(item.records)] == [NEVER]


@pytest.mark.usefixtures("unhurried")
def test_every_writer_gets_its_own_place_in_the_feed(store: Store, clock: HandClock) -> None:
    """Eight writers at once leave a contiguous, chained feed with every entry in it once."""
    store.ready(clock)
    denylists = [store.open(clock) for _ in range(8)]
    expires = clock.after(300)

    def write(number: int) -> list[Position]:
        denylist = denylists[number]
        positions = []
        for n in range(12):
            positions.append(denylist.add([Entry.session(f"{number}:{n}", expires)]))
            denylist.heartbeat(0)
        return positions

    positions = [position for own in in_threads(8, write) for position in own]
    items = feed(denylists[0])
    assert [item.seq for item in items] == list(range(1, 8 * 24 + 1))
    places = {item.seq: item.chain for item in items if not item.is_heartbeat}
    assert {position.seq: position.chain for position in positions} == places
    keys = [record.key for item in items for record in unpack(item.records)]
    assert len(keys) == len(set(keys)) == 96
    assert set(keys) == set(contents(denylists[0]))


def test_the_running_hash_is_chained(store: Store, clock: HandClock) -> None:
    """Each item's hash follows from the one before, and the last is the denylist's own."""
    denylist = store.ready(clock)
    for n in range(20):
        if n % 3:
            denylist.add([Entry.session(f"s{n}", clock.after(300)), Entry.key(f"k{n}")])
        else:
            denylist.heartbeat(0)
    chain = ""
    for item in feed(denylist):
        chain = next_chain(chain, item.seq, item.records)
        assert item.chain == chain
    assert denylist.state().position.chain == chain


# --- looking up ----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", HITS)
def test_what_an_entry_refuses(near_store: Store, clock: HandClock, case: str) -> None:
    """Each kind hits what it names, at its exact boundary, and nothing else."""
    make, kind = HITS[case]
    denylist = near_store.ready(clock)
    assert denylist.lookup(Token().probe(denylist)) is None
    denylist.add([make(clock.after(300))])
    assert denylist.lookup(Token().probe(denylist)) is kind


def test_every_kind_is_found_over_every_connection(store: Store, clock: HandClock) -> None:
    """Six tokens, each hit by one kind of entry, are refused, and a seventh is not."""
    denylist = store.ready(clock)
    late = clock.after(300)
    denylist.add(
        [
            Entry.token("jti", late),
            Entry.session("sid", late),
            Entry.subject("sub", 6, late),
            Entry.key("kid"),
            Entry.client("client", 1_000, late),
            Entry.epoch("epoch", 900),
        ]
    )
    found = [
        denylist.lookup(token.probe(denylist, kid))
        for token, kid in (
            (Token(jti="jti"), KID),
            (Token(sid="sid"), KID),
            (Token(sub="sub"), KID),
            (Token(), "kid"),
            (Token(client_id="client"), KID),
            (Token(iat=900), KID),
            (Token(), KID),
        )
    ]
    assert found == [*Kind, None]


def test_a_probe_of_another_epoch_is_not_answered(store: Store) -> None:
    """A salt that is not the denylist's finds nothing there, which must not pass for an answer."""
    denylist = store.ready()
    denylist.add([Entry.key(KID)])
    with pytest.raises(DenylistReplaced):
        denylist.lookup(Probe.of(Token(), KID, b"the salt of an epoch that is gone"))


def test_closing_may_be_repeated(store: Store) -> None:
    """A closed denylist may be closed again."""
    denylist = store.ready()
    denylist.close()
    denylist.close()
