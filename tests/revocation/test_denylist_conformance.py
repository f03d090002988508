"""What every denylist promises, held against each store and each way of connecting to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise

import pytest
from harness.denylists import (
    CALLS,
    HITS,
    KID,
    HandClock,
    Store,
    Token,
    contents,
    feed,
    in_threads,
    start_of,
)

from revocation import (
    NEVER,
    DenylistLost,
    DenylistNotReady,
    DenylistReplaced,
    DenylistUnavailable,
    DenylistWentBack,
    Entry,
    FeedGap,
    HeartbeatLate,
    Kind,
    Position,
    Probe,
)
from revocation.entry import record_key, unpack
from revocation.feed import next_chain

YEAR = 365 * 86_400

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


# --- heartbeats ----------------------------------------------------------------------------------


def test_one_heartbeat_an_interval_whoever_writes_it(store: Store, clock: HandClock) -> None:
    """Of eight issuers that beat in one moment one writes, and the next beat waits its time."""
    denylists = [store.ready(clock) for _ in range(8)]
    expected = 0
    for wait, beats in ((0, 1), (0.999, 0), (0.001, 1), (0.5, 0), (7, 1)):
        clock.advance(wait)
        positions = in_threads(8, lambda number: denylists[number].heartbeat(1.0))
        expected += beats
        assert len(set(positions)) == 1
        assert positions[0].seq == expected
    items = feed(denylists[0])
    assert all(item.is_heartbeat for item in items)
    assert items[-1].sent == int(clock.now * 1000)


@pytest.mark.parametrize("step", [0.001, 1.0])
def test_a_clock_that_was_put_back_silences_no_heartbeat(
    store: Store, clock: HandClock, step: float
) -> None:
    """The first beat after a small step backwards is written."""
    denylist = store.ready(clock)
    denylist.heartbeat(1.0)
    clock.advance(-step)
    assert denylist.heartbeat(1.0).seq == 2
    assert denylist.heartbeat(1.0).seq == 2


@pytest.mark.parametrize("step", [1.001, 3600.0])
def test_a_clock_that_was_ahead_has_let_entries_expire(
    store: Store, clock: HandClock, step: float
) -> None:
    """Put back by more than entries outlive their tokens, it asks for a replay, once."""
    denylist = store.ready(clock)
    denylist.heartbeat(1.0)
    clock.advance(-step)
    with pytest.raises(DenylistWentBack):
        denylist.heartbeat(1.0)
    assert not denylist.state().ready
    denylist.mark_ready()
    assert denylist.heartbeat(1.0).seq == 2
    assert denylist.heartbeat(1.0).seq == 2


@pytest.mark.parametrize(("interval", "waited"), [(0.25, 1.0), (1.0, 1.0), (5.0, 5.0)])
def test_a_heartbeat_goes_by_what_was_read_within_an_interval(
    store: Store, clock: HandClock, interval: float, waited: float
) -> None:
    """Of whoever stood still for longer nothing is written; nor of one who asked another clock."""
    denylist = store.ready(clock)
    asked = denylist.time()
    clock.advance(waited)
    assert denylist.heartbeat(interval, None, asked).seq == 1
    assert denylist.heartbeat(interval, None, asked - 60).seq == 1
    clock.advance(0.01 + waited)
    for wrong in (asked, clock.now + 0.01):
        with pytest.raises(HeartbeatLate):
            denylist.heartbeat(interval, None, wrong)
    assert denylist.state().position.seq == 1
    assert denylist.heartbeat(interval, None, denylist.time()).seq == 2


def test_a_heartbeat_is_written_where_the_feed_holds_what_was_seen(store: Store) -> None:
    """A position that the feed passed through is no cause for alarm."""
    denylist = store.ready()
    begun = denylist.state().position
    first = denylist.heartbeat(0, begun)
    denylist.add([Entry.key("k")])
    for known in (first, denylist.state().position, None):
        before = denylist.state().position.seq
        assert denylist.heartbeat(0, known).seq == before + 1


def missed(here: Position, how: str) -> Position:
    """A position that somebody saw and the denylist that stands at `here` does not hold."""
    return {
        "shorter": Position(here.epoch, here.seq + 5, "0" * 40),
        "another history": Position(here.epoch, here.seq, "0" * 40),
        "another epoch": Position("another", here.seq, here.chain),
    }[how]


WAYS_BACK = ["shorter", "another history", "another epoch"]


@pytest.mark.parametrize("how", WAYS_BACK)
@pytest.mark.parametrize("write", ["heartbeat", "add", "check"])
def test_nothing_is_written_into_the_past(store: Store, how: str, write: str) -> None:
    """Where the feed lacks what was seen, nothing is written or vouched for until refilled."""
    denylist = store.ready()
    denylist.heartbeat(0)
    here = denylist.heartbeat(0)
    seen = missed(here, how)
    writes: dict[str, Callable[[], object]] = {
        "heartbeat": lambda: denylist.heartbeat(0, seen),
        "add": lambda: denylist.add([Entry.key("k")], seen),
        "check": lambda: denylist.add([], seen),
    }
    with pytest.raises(DenylistWentBack) as refusal:
        writes[write]()
    assert refusal.value.code == "denylist_went_back"
    assert denylist.state().position == here
    assert contents(denylist) == {}
    assert not denylist.state().ready
    with pytest.raises(DenylistNotReady):
        denylist.heartbeat(0, here)
    with pytest.raises(DenylistNotReady):
        denylist.lookup(Token().probe(denylist))
    denylist.mark_ready()
    assert denylist.heartbeat(0, here).seq == here.seq + 1


@pytest.mark.parametrize("how", WAYS_BACK)
def test_no_question_is_answered_from_the_past(store: Store, how: str) -> None:
    """Who has seen more than the denylist holds gets an error rather than "not revoked"."""
    denylist = store.ready()
    here = denylist.heartbeat(0)
    probe = Token().probe(denylist)
    assert denylist.lookup(probe, here) is None
    with pytest.raises(DenylistWentBack):
        denylist.lookup(probe, missed(here, how))
    assert denylist.lookup(probe, here) is None


def test_a_refilled_feed_goes_on_above_all_that_was_seen(store: Store) -> None:
    """Within an epoch `seq` only rises, also over what a store from the past has forgotten."""
    denylist = store.ready()
    here = denylist.heartbeat(0)
    lost = Position(here.epoch, here.seq + 40, "0" * 40)
    reached = denylist.mark_ready(here.epoch, lost)
    assert reached.seq == lost.seq + 1
    assert denylist.add([], reached) == reached
    assert denylist.mark_ready(here.epoch, lost) == reached
    assert denylist.mark_ready(here.epoch, Position("another", 1_000, "")) == reached
    with pytest.raises(FeedGap):
        denylist.tail(here, 0)
    with pytest.raises(DenylistWentBack):
        denylist.add([], lost)


def test_a_replaced_denylist_is_another_epoch_and_empty(store: Store) -> None:
    """`replace` leaves nothing of what was there, and vouches for nothing yet."""
    denylist = store.ready()
    denylist.add([Entry.key("k"), Entry.session("s", 1 << 33)])
    old = denylist.state()
    new = denylist.replace(watermark=77)
    assert new.position.epoch != old.position.epoch
    assert new.salt != old.salt
    assert (new.position.seq, new.watermark, new.ready) == (0, 77, False)
    assert contents(denylist) == {}
    denylist.mark_ready()
    denylist.add([Entry.session("s", 1 << 33)])
    assert len(contents(denylist)) == 1
    assert [item.seq for item in feed(denylist)] == [1]


def test_what_was_acknowledged_is_not_trimmed(store: Store, clock: HandClock) -> None:
    """However long ago it was, the position that others go by stays in the feed."""
    denylist = store.ready(clock)
    denylist.heartbeat(0)
    known = denylist.add([Entry.key("k")])
    for _ in range(3):
        clock.advance(2_000)
        denylist.heartbeat(0, known)
    assert denylist.add([], known).seq == known.seq + 3
    assert denylist.tail(known, 0)[0].seq == known.seq + 1
    clock.advance(2_000)
    newer = denylist.heartbeat(0, known)
    denylist.heartbeat(0, newer)
    # An issuer that was stopped after reading it must not take the store for one from the past.
    assert denylist.heartbeat(0, known).seq > newer.seq
    clock.advance(2_000)
    newest = denylist.heartbeat(0, newer)
    denylist.heartbeat(0, newest)
    with pytest.raises(DenylistWentBack):
        denylist.add([], known)


# --- expiry --------------------------------------------------------------------------------------


def test_an_entry_that_can_hit_nothing_is_not_taken(store: Store, clock: HandClock) -> None:
    """An entry is dropped from the very second of its expiry on."""
    denylist = store.ready(clock)
    denylist.add([Entry.session("gone", clock.after(0)), Entry.session("long", clock.after(-1))])
    assert (contents(denylist), feed(denylist)) == ({}, [])
    denylist.add([Entry.session("last", clock.after(1))])
    assert len(contents(denylist)) == len(feed(denylist)) == 1


def test_an_expired_entry_raises_nothing(store: Store, clock: HandClock) -> None:
    """A repetition that comes after its own expiry changes nothing, even of what stays for good."""
    denylist = store.ready(clock)
    timed = Entry.subject("u", 9, clock.after(60))
    denylist.add([timed])
    clock.advance(600)
    position = denylist.add([Entry.subject("u", 3, NEVER)])
    assert denylist.add([timed]) == position
    denylist.heartbeat(0)
    assert list(contents(denylist).values()) == [(3, NEVER)]


@pytest.mark.parametrize("lifetime", [1, 59, 60, 61, 120, 299, 300])
def test_an_entry_holds_until_its_expiry(store: Store, clock: HandClock, lifetime: int) -> None:
    """It refuses up to the end of its bucket, never before its expiry, and then no more."""
    denylist = store.ready(clock)
    expires = clock.after(lifetime)
    denylist.add([Entry.session(Token.sid, expires)])
    probe = Token().probe(denylist)
    end = store.end(expires)
    assert expires <= end < expires + store.width
    for moment, kind in (
        (expires - 1, Kind.SESSION),
        (end - 0.001, Kind.SESSION),
        (end, None),
        (end + 1, None),
    ):
        clock.now = max(clock.now, moment)
        assert denylist.lookup(probe) is kind
    denylist.heartbeat(1)
    assert contents(denylist) == {}


def test_a_later_expiry_prolongs_an_entry(store: Store, clock: HandClock) -> None:
    """The higher level of an earlier entry lives on with the later expiry of a lower one."""
    denylist = store.ready(clock)
    denylist.add([Entry.subject(Token.sub, 9, clock.after(60))])
    denylist.add([Entry.subject(Token.sub, 6, clock.after(600))])
    probe = Token(sub_ver=8).probe(denylist)
    clock.advance(599)
    denylist.heartbeat(1)
    assert denylist.lookup(probe) is Kind.SUBJECT
    clock.advance(1)
    assert denylist.lookup(probe) is None


def test_what_has_expired_lends_its_level_to_nothing(store: Store, clock: HandClock) -> None:
    """An entry that follows an expired one of its name is held as it was announced."""
    denylist = store.ready(clock)
    denylist.add([Entry.subject("u", 9, clock.after(60))])
    clock.advance(60)
    denylist.add([Entry.subject("u", 3, clock.after(60))])
    (record,) = unpack(feed(denylist)[1].records)
    denylist.heartbeat(0)
    assert contents(denylist)[record.key] == (record.level, record.expires)
    assert denylist.lookup(Token(sub="u", sub_ver=3).probe(denylist)) is None


def test_a_key_stays_refused_for_good(store: Store, clock: HandClock) -> None:
    """An entry without expiry is there ten years later, where a timed one is not."""
    denylist = store.ready(clock)
    denylist.add([Entry.key(KID), Entry.session("s", clock.after(300))])
    clock.advance(10 * YEAR)
    denylist.heartbeat(1)
    assert denylist.lookup(Token().probe(denylist)) is Kind.KEY
    assert list(contents(denylist).values()) == [(1, NEVER)]


def test_what_stays_for_good_stays_at_its_highest_level(store: Store, clock: HandClock) -> None:
    """Timed entries of the same name merge into one without expiry, whichever came first."""
    denylist = store.ready(clock)
    denylist.add([Entry.subject("first", 9, clock.after(60)), Entry.subject("last", 3, NEVER)])
    denylist.add([Entry.subject("first", 3, NEVER), Entry.subject("last", 9, clock.after(60))])
    clock.advance(600)
    denylist.heartbeat(1)
    for name in ("first", "last"):
        assert denylist.lookup(Token(sub=name, sub_ver=8).probe(denylist)) is Kind.SUBJECT
        assert denylist.lookup(Token(sub=name, sub_ver=9).probe(denylist)) is None
    assert set(contents(denylist).values()) == {(9, NEVER)}


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


# --- snapshot and feed ---------------------------------------------------------------------------


def test_the_feed_goes_on_where_the_snapshot_stood(store: Store, clock: HandClock) -> None:
    """What is added while a snapshot is being read is in the feed after its position."""
    denylist = store.ready(clock)
    denylist.add([Entry.session(f"before-{n}", clock.after(60 * n)) for n in range(1, 20)])
    snapshot = denylist.snapshot()
    records = iter(snapshot.records)
    seen = {next(records).key}
    late = [Entry.session(f"while-{n}", clock.after(60 * n)) for n in range(1, 20)]
    denylist.add(late)
    seen |= {record.key for record in records}
    for item in denylist.tail(snapshot.state.position, block=0):
        seen |= {record.key for record in unpack(item.records)}
    assert seen == set(contents(denylist))
    assert len(seen) == 38


def test_tail_waits_for_news(store: Store) -> None:
    """A reader at the end of the feed is answered as soon as something is added."""
    denylist, other = store.ready(), store.open()
    position = denylist.state().position
    assert denylist.tail(position, block=0.01) == []
    heard: list[int] = []

    def listen() -> None:
        while not heard:
            heard.extend(item.seq for item in denylist.tail(position, block=1))

    thread = threading.Thread(target=listen)
    thread.start()
    other.add([Entry.key("k")])
    thread.join(timeout=30)
    assert heard == [1]


def test_tail_gives_only_what_is_new(store: Store) -> None:
    """From each position the items after it come in order."""
    denylist = store.ready()
    positions = [denylist.state().position] + [denylist.heartbeat(0) for _ in range(5)]
    for before, after in pairwise(positions):
        assert after.seq == before.seq + 1
        seqs = [item.seq for item in denylist.tail(before, block=0)]
        assert seqs == list(range(after.seq, 6))


def test_a_position_that_is_not_of_this_feed_is_a_gap(store: Store) -> None:
    """Another epoch, a place in the future and another history are told from a quiet feed."""
    denylist = store.ready()
    denylist.heartbeat(0)
    here = denylist.heartbeat(0)
    assert denylist.tail(here, block=0) == []
    for stranger in (
        Position("another-epoch", here.seq, here.chain),
        Position(here.epoch, here.seq + 1, here.chain),
        Position(here.epoch, here.seq, "0" * 40),
    ):
        with pytest.raises(FeedGap):
            denylist.tail(stranger, block=0)


def test_the_feed_is_kept_for_its_window(store: Store, clock: HandClock) -> None:
    """A heartbeat trims what is older than the window; a reader from before has a gap."""
    denylist = store.ready(clock, feed_window=10, feed_cap=1_000)
    positions = [start_of(denylist)]
    for _ in range(4):
        positions.append(denylist.heartbeat(0))
        clock.advance(5)
    # The items are 20, 15, 10 and 5 seconds old; exactly the window is not past it.
    denylist.heartbeat(0)
    for stale in positions[:2]:
        with pytest.raises(FeedGap):
            denylist.tail(stale, block=0)
    assert [item.seq for item in denylist.tail(positions[2], block=0)] == [3, 4, 5]


def test_the_feed_is_capped(store: Store, clock: HandClock) -> None:
    """However much is added in a moment, the cap holds to within one block of the stream."""
    denylist = store.ready(clock, feed_window=900, feed_cap=200)
    positions = [start_of(denylist)]
    positions += [denylist.add([Entry.key(f"k{n}")]) for n in range(500)]
    denylist.heartbeat(0)
    for early in (positions[0], positions[200]):
        with pytest.raises(FeedGap):
            denylist.tail(early, block=0)
    assert [item.seq for item in denylist.tail(positions[400], block=0)] == list(range(401, 502))


def test_closing_may_be_repeated(store: Store) -> None:
    """A closed denylist may be closed again."""
    denylist = store.ready()
    denylist.close()
    denylist.close()
