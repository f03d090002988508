"""Every denylist's entries hold for as long as a token that they can hit, and no longer."""

from __future__ import annotations

import pytest
from harness.denylists import KID, HandClock, Store, Token, contents, feed

from revocation import NEVER, Entry, Kind
from revocation.entry import unpack

YEAR = 365 * 86_400


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
