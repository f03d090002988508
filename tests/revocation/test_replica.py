"""The local copy: how it follows, what it never forgets, and what it answers when it is old."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from harness.denylists import (
    HITS,
    KID,
    FaultyDenylist,
    HandClock,
    Store,
    Token,
    contents,
    feed,
    held_by,
    in_minutes,
)
from harness.redis_server import RedisServer
from harness.replicas import bring_in_step, in_step, refused, replica_of

from revocation import (
    NEVER,
    Denylist,
    DenylistLost,
    DenylistNotReady,
    DenylistReplaced,
    DenylistUnavailable,
    Entry,
    FeedItem,
    Kind,
    Replica,
    ReplicaStale,
    StalePolicy,
    TokenRevoked,
)


@pytest.fixture
def denylist(near_store: Store, clock: HandClock) -> Denylist:
    """A ready denylist in memory and on Redis."""
    return near_store.ready(clock)


# --- the check -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["snapshot", "tail"])
@pytest.mark.parametrize("case", HITS)
def test_what_an_entry_refuses(denylist: Denylist, clock: HandClock, case: str, way: str) -> None:
    """Each kind hits what it names, at its exact boundary, whichever way it came."""
    make, kind = HITS[case]
    if way == "snapshot":
        denylist.add([make(clock.after(300))])
    replica = in_step(denylist, clock)
    if way == "tail":
        assert refused(replica, Token()) is None
        denylist.add([make(clock.after(300))])
        replica.step(block=0)
    assert refused(replica, Token()) is kind


def test_a_refusal_says_what_hit(denylist: Denylist, clock: HandClock) -> None:
    """The error carries a stable code and the entry's kind."""
    replica = in_step(denylist, clock)
    denylist.add([Entry.session(Token.sid, clock.after(300))])
    replica.step(block=0)
    with pytest.raises(TokenRevoked) as refusal:
        replica.check(Token(), KID)
    assert (refusal.value.code, refusal.value.kind) == ("revoked", Kind.SESSION)


def test_the_watermark_of_the_epoch_counts(near_store: Store, clock: HandClock) -> None:
    """The watermark that an epoch begins with is a part of the snapshot."""
    denylist = near_store.open(clock)
    denylist.initialise(watermark=1_000)
    denylist.mark_ready()
    replica = in_step(denylist, clock)
    assert refused(replica, Token(iat=999)) is Kind.EPOCH
    assert refused(replica, Token(iat=1_000)) is Kind.EPOCH
    assert refused(replica, Token(iat=1_001)) is None


# --- following -----------------------------------------------------------------------------------


def test_it_holds_what_the_denylist_holds(store: Store, clock: HandClock) -> None:
    """A snapshot of many entries, then the feed, give exactly the denylist's contents."""
    denylist = store.ready(clock)
    denylist.add([Entry.session(f"s{n}", clock.after(n)) for n in range(1, 600)])
    denylist.add([Entry.key(f"k{n}") for n in range(50)])
    replica = in_step(denylist, clock)
    assert held_by(replica) == in_minutes(contents(denylist))
    for n in range(30):
        denylist.add([Entry.session(f"s{n}", clock.after(700)), Entry.subject(f"u{n}", 3, NEVER)])
    denylist.add([Entry.epoch("e", 900)])
    replica.step(block=0)
    assert held_by(replica) == in_minutes(contents(denylist))
    assert len(replica) == len(contents(denylist))
    assert refused(replica, Token(iat=900)) is Kind.EPOCH


def test_what_is_added_while_it_loads_is_not_missed(denylist: Denylist, clock: HandClock) -> None:
    """An entry between the state and the last record of a snapshot comes with the feed."""

    class Slow(FaultyDenylist):
        def _torn(self, records: object, count: int) -> Iterator[object]:
            self.inner.add([Entry.session(Token.sid, clock.after(300))])
            yield from ()

    slow = Slow(denylist)
    slow.snapshot_ends_after = 0
    replica = replica_of(slow, clock)
    replica.step(block=0)
    assert len(replica) == 0
    bring_in_step(replica, denylist)
    assert refused(replica, Token()) is Kind.SESSION


def lost(items: list[FeedItem]) -> list[FeedItem]:
    return items[1:]


def swapped(items: list[FeedItem]) -> list[FeedItem]:
    return items[::-1]


def repeated(items: list[FeedItem]) -> list[FeedItem]:
    return [items[0], *items]


def forged(items: list[FeedItem]) -> list[FeedItem]:
    first = items[0]
    return [FeedItem(first.seq, first.chain, b"", first.sent), *items[1:]]


@pytest.mark.parametrize("fault", [lost, swapped, repeated, forged])
def test_a_disturbed_feed_is_read_afresh(
    denylist: Denylist,
    clock: HandClock,
    fault: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A jump, a step back or another history sends it to a new snapshot, and nothing is missed."""
    line = FaultyDenylist(denylist)
    replica = in_step(line, clock)
    line.disturb = fault
    for n in range(3):
        denylist.add([Entry.session(f"s{n}", clock.after(300))])
    replica.step(block=0)
    assert "reading the denylist afresh" in caplog.text
    line.disturb = None
    replica.step(block=0)
    assert held_by(replica) == in_minutes(contents(denylist))
    assert len(replica) == 3


def test_a_reader_that_was_away_too_long_takes_a_snapshot(
    near_store: Store, clock: HandClock
) -> None:
    """Past the feed's window it loads again, and is out of step until the next heartbeat."""
    denylist = near_store.ready(clock, feed_window=10, feed_cap=1_000)
    replica = in_step(denylist, clock)
    denylist.add([Entry.session(Token.sid, clock.after(3_000))])
    clock.advance(100)
    denylist.heartbeat(1)
    replica.step(block=0)
    replica.step(block=0)
    assert replica.staleness() == float("inf")
    assert not replica.wait_in_step(0)
    bring_in_step(replica, denylist)
    assert replica.wait_in_step(0)
    assert refused(replica, Token()) is Kind.SESSION


def test_a_snapshot_that_breaks_off_loses_nothing(denylist: Denylist, clock: HandClock) -> None:
    """After a failed load the old copy is still there, and the next load completes it."""
    denylist.add([Entry.session(f"s{n}", clock.after(300)) for n in range(10)])
    line = FaultyDenylist(denylist)
    replica = in_step(line, clock)
    replica._follower._position = None
    before = held_by(replica)
    denylist.add([Entry.session(Token.sid, clock.after(300))])
    line.snapshot_ends_after = 3
    with pytest.raises(DenylistUnavailable):
        replica.step(block=0)
    assert before.items() <= held_by(replica).items()
    with pytest.raises(ReplicaStale):
        replica.check(Token(sid="s1"), KID)
    assert_open_refuses(replica, Token(sid="s1"))
    line.snapshot_ends_after = None
    bring_in_step(replica, denylist)
    assert held_by(replica) == in_minutes(contents(denylist))


def assert_open_refuses(replica: Replica, token: Token, kid: str = KID) -> None:
    with pytest.raises(TokenRevoked):
        replica.check(token, kid, StalePolicy.OPEN)


# --- a store that lost something -----------------------------------------------------------------


def dump(client: redis.Redis) -> dict[bytes, bytes]:
    return {name: client.dump(name) for name in client.scan_iter()}


def restore(client: redis.Redis, saved: dict[bytes, bytes]) -> None:
    client.flushall()
    for name, value in saved.items():
        client.restore(name, 0, value)


@pytest.mark.parametrize("catches_up", [False, True])
def test_a_store_that_went_back_in_time_takes_nothing_away(
    redis_store: Store, redis_server: RedisServer, clock: HandClock, catches_up: bool
) -> None:
    """Of the same epoch, but older: it reads afresh, and keeps what the snapshot lacks."""
    denylist = redis_store.ready(clock)
    replica = in_step(denylist, clock)
    client = redis_server.client()
    saved = dump(client)
    denylist.add([Entry.session(Token.sid, clock.after(300)), Entry.epoch("e", 500)])
    replica.step(block=0)
    reached = denylist.state().position.seq
    restore(client, saved)
    if catches_up:
        # As many items as were lost, and more, but another history.
        for n in range(3):
            denylist.add([Entry.key(f"k{n}")])
        assert denylist.state().position.seq > reached
    bring_in_step(replica, denylist)
    assert refused(replica, Token()) is Kind.SESSION
    assert refused(replica, Token(sid="other", iat=500)) is Kind.EPOCH
    assert denylist.lookup(Token().probe(denylist)) is None
    assert len(replica) == (4 if catches_up else 1)


def test_a_new_epoch_takes_nothing_away(
    redis_store: Store, redis_server: RedisServer, clock: HandClock
) -> None:
    """Entries of an epoch that was lost go on refusing, although the new salt hides their names."""
    denylist = redis_store.ready(clock)
    replica = in_step(denylist, clock)
    late = clock.after(3_000)
    tokens = {
        Kind.TOKEN: (Token(jti="jti"), KID),
        Kind.SESSION: (Token(sid=Token.jti), KID),
        Kind.SUBJECT: (Token(sub="sub"), KID),
        Kind.KEY: (Token(), "kid"),
        Kind.CLIENT: (Token(client_id="client"), KID),
        Kind.EPOCH: (Token(iat=400), KID),
    }
    denylist.add(
        [
            Entry.token("jti", late),
            Entry.session(Token.jti, late),
            Entry.subject("sub", 6, late),
            Entry.key("kid"),
            Entry.client("client", 1_000, late),
            Entry.epoch("epoch", 400),
        ]
    )
    replica.step(block=0)
    for _ in range(3):
        redis_server.client().flushall()
        with pytest.raises(DenylistLost):
            replica.step(block=0)
        denylist.initialise(watermark=0)
        denylist.mark_ready()
        bring_in_step(replica, denylist)
        assert {kind: refused(replica, *token) for kind, token in tokens.items()} == {
            kind: kind for kind in tokens
        }
        assert refused(replica, Token()) is None


def test_salts_of_lost_epochs_are_bounded(
    redis_store: Store, redis_server: RedisServer, clock: HandClock
) -> None:
    """A store that is lost again and again does not make every check longer without end."""
    denylist = redis_store.open(clock)
    replica = replica_of(denylist, clock)
    for _ in range(12):
        redis_server.client().flushall()
        denylist.initialise(watermark=0)
        replica._follower._position = None
        replica.step(block=0)
    assert len(replica._copy.older_salts) == 8
    assert replica._copy.salt == denylist.state().salt


def test_a_lost_denylist_leaves_the_copy_to_age(
    redis_store: Store, redis_server: RedisServer, clock: HandClock
) -> None:
    """While there is no epoch the copy stays, gets older, and refuses what it refused."""
    denylist = redis_store.ready(clock)
    replica = in_step(denylist, clock)
    denylist.add([Entry.key(KID)])
    replica.step(block=0)
    redis_server.client().flushall()
    clock.advance(2)
    with pytest.raises(DenylistLost):
        replica.step(block=0)
    assert replica.staleness() == 3.0
    assert refused(replica, Token()) is Kind.KEY


# --- too old -------------------------------------------------------------------------------------


def stale(denylist: Denylist, clock: HandClock, **options: object) -> Replica:
    """A replica that is a minute behind."""
    replica = in_step(denylist, clock, **options)
    clock.advance(60)
    return replica


def test_a_read_in_which_it_was_stopped_opens_nothing(
    denylist: Denylist, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lay in the socket is from before; the copy is believed once the rest is read, too."""
    replica = in_step(denylist, clock, max_staleness=5.0)
    clock.advance(0.9)
    tail = denylist.tail

    def stopped(*given: object) -> list[FeedItem]:
        denylist.heartbeat(0)
        items = tail(*given)  # type: ignore[arg-type]
        denylist.add([Entry.session(Token.sid, clock.after(300))])
        clock.advance(3.9)
        return items

    monkeypatch.setattr(denylist, "tail", stopped)
    replica.step(block=0)
    monkeypatch.undo()
    with pytest.raises(ReplicaStale):
        replica.check(Token(), KID)
    bring_in_step(replica, denylist)
    assert refused(replica, Token()) is Kind.SESSION


def test_closed_refuses_everything(denylist: Denylist, clock: HandClock) -> None:
    """By default a copy that is too old answers nothing, and says how old it is."""
    replica = stale(denylist, clock)
    with pytest.raises(ReplicaStale) as refusal:
        replica.check(Token(), KID)
    assert (refusal.value.staleness, refusal.value.limit) == (61.0, 5.0)
    assert refusal.value.code == "replica_stale"


def test_a_copy_that_nobody_vouched_for_has_no_age(denylist: Denylist) -> None:
    """It says so in words, not that it is infinitely old."""
    with pytest.raises(ReplicaStale, match="no copy yet that an issuer vouches for"):
        Replica(denylist).check(Token(), KID)


def test_open_goes_by_the_last_copy(denylist: Denylist, clock: HandClock) -> None:
    """What the copy refuses is refused however old it is, and the rest passes unseen."""
    denylist.add([Entry.key("old-key")])
    replica = stale(denylist, clock, policy=StalePolicy.OPEN)
    denylist.add([Entry.key(KID)])
    assert refused(replica, Token(), "old-key") is Kind.KEY
    assert refused(replica, Token()) is None


def test_ask_asks_once_for_what_the_copy_would_pass(denylist: Denylist, clock: HandClock) -> None:
    """A stale copy asks the denylist itself, once a check, and only if it does not refuse."""
    line = FaultyDenylist(denylist)
    denylist.add([Entry.key("old-key")])
    replica = stale(line, clock, policy=StalePolicy.ASK)
    denylist.add([Entry.key(KID)])
    assert refused(replica, Token(), "old-key") is Kind.KEY
    assert line.lookups == 0
    assert refused(replica, Token()) is Kind.KEY
    assert line.lookups == 1
    assert refused(replica, Token(), "good-key") is None
    assert line.lookups == 2


def test_ask_does_not_ask_while_in_step(denylist: Denylist, clock: HandClock) -> None:
    """A copy that can be vouched for answers from memory."""
    line = FaultyDenylist(denylist)
    replica = in_step(line, clock, policy=StalePolicy.ASK)
    assert refused(replica, Token()) is None
    assert line.lookups == 0


def test_ask_passes_nothing_when_nobody_answers(denylist: Denylist, clock: HandClock) -> None:
    """Where the denylist cannot be asked, the error is its own."""
    line = FaultyDenylist(denylist)
    replica = stale(line, clock, policy=StalePolicy.ASK)
    line.down = True
    with pytest.raises(DenylistUnavailable):
        replica.check(Token(), KID)


def test_ask_is_not_fooled_by_a_denylist_that_was_replaced(
    redis_store: Store, redis_server: RedisServer, clock: HandClock
) -> None:
    """A new epoch is not asked for names under the old one's salt, for it would know none."""
    denylist = redis_store.ready(clock)
    replica = stale(denylist, clock, policy=StalePolicy.ASK)
    redis_server.client().flushall()
    denylist.initialise(watermark=0)
    denylist.add([Entry.key(KID)])
    with pytest.raises(DenylistNotReady):
        replica.check(Token(), KID)
    denylist.mark_ready()
    with pytest.raises(DenylistReplaced):
        replica.check(Token(), KID)
    replica.step(block=0)
    replica.step(block=0)
    assert refused(replica, Token()) is Kind.KEY


def test_a_check_may_bring_its_own_policy(denylist: Denylist, clock: HandClock) -> None:
    """A route's policy outranks the replica's, either way."""
    closed = stale(denylist, clock)
    closed.check(Token(), KID, StalePolicy.OPEN)
    closed.check(Token(), KID, StalePolicy.ASK)
    opened = stale(denylist, clock, policy=StalePolicy.OPEN)
    with pytest.raises(ReplicaStale):
        opened.check(Token(), KID, StalePolicy.CLOSED)


@pytest.mark.parametrize("policy", StalePolicy)
def test_without_a_copy_nothing_passes(
    denylist: Denylist, clock: HandClock, policy: StalePolicy
) -> None:
    """Before the first snapshot every policy refuses: there is nothing to go by."""
    replica = replica_of(denylist, clock, policy=policy)
    assert replica.staleness() == float("inf")
    with pytest.raises(ReplicaStale):
        replica.check(Token(), KID)


def test_the_feed_seen_by_a_replica_is_the_store_s(denylist: Denylist, clock: HandClock) -> None:
    """After any number of steps its place in the feed is the denylist's own."""
    replica = in_step(denylist, clock)
    for n in range(10):
        denylist.add([Entry.key(f"k{n}")])
        replica.step(block=0)
        assert replica.position == denylist.state().position
    assert len(feed(denylist)) == 11
