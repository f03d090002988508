"""What a gateway believes of the HTTP feed, whoever sits in between."""

from __future__ import annotations

import base64
import io
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from harness.denylists import KID, HandClock, Token
from harness.feed_between import Between, answering
from harness.feed_server import serving, verify

from revocation import (
    Denylist,
    DenylistNotReady,
    DenylistUnavailable,
    Entry,
    FeedGap,
    Replica,
    ReplicaStale,
)
from revocation.http_denylist import HttpDenylist
from revocation.memory_denylist import MemoryDenylist


def never_checks_nonces(self: HttpDenylist, answer: bytes, typ: str, _nonce: str) -> Any:
    return self._verify(answer.decode(), typ)


def never_checks_types(message: str, _typ: str) -> Any:
    for typ in ("state", "snapshot", "events", "lookup"):
        try:
            return verify(message, f"gatepass-{typ}+jwt")
        except DenylistUnavailable:
            continue
    raise DenylistUnavailable("of no type")


def never_leads_on(self: HttpDenylist) -> Any:
    from revocation import Snapshot
    from revocation.http_wire import read_state

    claims, records = self._download()
    return Snapshot(read_state(claims), records)


def replayed_state(between: Between, denylist: Denylist, feed: Denylist) -> None:
    feed.state()
    between.tricks["state"] = lambda _feed, _environ, start: between.replay("state", start)
    denylist.add([Entry.key("k")])
    with pytest.raises(DenylistUnavailable):
        feed.state()


def replayed_lookup(between: Between, denylist: Denylist, feed: Denylist) -> None:
    probe = Token().probe(denylist)
    assert feed.lookup(probe) is None
    between.tricks["lookup"] = lambda _feed, _environ, start: between.replay("lookup", start)
    denylist.add([Entry.key(KID)])
    with pytest.raises(DenylistUnavailable):
        feed.lookup(probe)


def swapped_question(between: Between, denylist: Denylist, feed: Denylist) -> None:
    """The proxy asks about another token, and passes on the issuer's fresh, signed verdict."""

    def swap(inner: Any, environ: Any, start: Any) -> Any:
        question = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        question["keys"] = [key[:2] + "00" * 16 for key in question["keys"]]
        body = json.dumps(question).encode()
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        return inner(environ, start)

    denylist.add([Entry.key(KID)])
    between.tricks["lookup"] = swap
    with pytest.raises(DenylistUnavailable):
        feed.lookup(Token().probe(denylist))


def message_of_another_type(between: Between, denylist: Denylist, feed: Denylist) -> None:
    """A state in a snapshot's place: its claims are the same but for the digest."""
    denylist.add([Entry.key(KID)])
    feed.state()
    message = between.kept["state"][2]
    between.tricks["snapshot"] = answering(message + b"\n")
    with pytest.raises(DenylistUnavailable) as refusal:
        feed.snapshot()
    assert "wrong_type" in str(refusal.value)


def old_snapshot(between: Between, denylist: Denylist, feed: Denylist) -> None:
    """A snapshot from before the revocation, and a stream that is held back."""
    feed.snapshot()
    denylist.add([Entry.key(KID)])
    between.tricks["snapshot"] = lambda _feed, _environ, start: between.replay("snapshot", start)
    between.held = True
    with pytest.raises(DenylistUnavailable):
        feed.snapshot()


ATTACKS: dict[Callable[[Between, Denylist, Denylist], None], tuple[str, Any] | None] = {
    replayed_state: ("_answered", never_checks_nonces),
    # Stopped by the digest of the question, too, which holds the nonce.
    replayed_lookup: None,
    swapped_question: None,
    message_of_another_type: ("_verify", staticmethod(never_checks_types)),
    old_snapshot: ("snapshot", never_leads_on),
}
"""What somebody in between may try, and a reader that falls for it."""


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_not_fresh_and_signed_is_refused(
    attacked: tuple[Between, Denylist, HttpDenylist], attack: Callable[..., None]
) -> None:
    """A replayed, swapped or outdated answer is none (RFC 8725 section 3.11)."""
    attack(*attacked)


@pytest.mark.parametrize("attack", [attack for attack, mutant in ATTACKS.items() if mutant])
def test_a_reader_without_the_check_falls_for_it(
    attacked: tuple[Between, Denylist, HttpDenylist], attack: Callable[..., None]
) -> None:
    """Each attack succeeds against a reader that lacks the one check that stops it."""
    mutant = ATTACKS[attack]
    assert mutant is not None
    name, code = mutant
    between, denylist, feed = attacked
    bound = code.__func__ if isinstance(code, staticmethod) else code.__get__(feed)
    setattr(feed, name, bound)
    with pytest.raises((pytest.fail.Exception, AssertionError)):
        attack(between, denylist, feed)


def altered_item(lines: list[bytes]) -> list[bytes]:
    body = bytearray(base64.b64decode(lines[2].removeprefix(b"data: ")))
    body[-1] ^= 1
    return [*lines[:2], b"data: " + base64.b64encode(bytes(body)), *lines[3:]]


def unsigned(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1][:-4] + b"AAAA", *lines[2:]]


def without_items(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1], *lines[3:]]


@pytest.mark.parametrize("alter", [altered_item, unsigned, without_items])
def test_an_altered_event_is_refused(denylist: Denylist, alter: Callable[..., Any]) -> None:
    """No item is taken from an event whose signature or digest does not fit."""

    def between(feed: Any) -> Any:
        def application(environ: Any, start_response: Any) -> Any:
            answer = feed(environ, start_response)
            if not environ["PATH_INFO"].endswith("/events"):
                return answer
            return (
                b"\n".join(alter(event.split(b"\n"))) if b"data:" in event else event
                for event in answer
            )

        return application

    with serving(denylist, between=between) as server:
        feed = server.open()
        after = denylist.state().position
        denylist.add([Entry.key("k")])
        with pytest.raises(DenylistUnavailable):
            feed.tail(after, 5)


def test_a_feed_that_is_held_back_shows_as_age(denylist: Denylist) -> None:
    """While a proxy holds events back, and answers questions, the copy ages and then refuses."""
    clock, between = HandClock(), Between()
    with serving(denylist, between=between) as server:
        replica = Replica(server.open(), clock=clock, wall_clock=clock)
        for _ in range(3):
            denylist.heartbeat(0)
            replica.step(block=0)
        assert replica.staleness() == 1.0
        between.held = True
        for _ in range(2):
            clock.advance(3)
            denylist.heartbeat(0)
            with pytest.raises(DenylistUnavailable):
                replica.step(block=0)
        assert replica.staleness() == 7.0
        with pytest.raises(ReplicaStale):
            replica.check(Token(), KID)
        between.held = False


def test_heartbeats_played_again_make_nothing_fresh(denylist: Denylist) -> None:
    """An old snapshot and all the events after it, signed as they are, never bring it in step."""
    clock, between = HandClock(), Between()
    with serving(denylist, between=between) as server:
        old = server.open()
        start = old.snapshot().state.position
        for _ in range(5):
            denylist.heartbeat(0)
        stream = [
            event for event in itertools.islice(server.hub.open(start), 2) if event != b":\n\n"
        ]
        denylist.add([Entry.key(KID)])
        between.tricks["snapshot"] = lambda _feed, _environ, begin: between.replay(
            "snapshot", begin
        )
        between.tricks["events"] = answering(b"".join(stream), Content_Type="text/event-stream")
        replica = Replica(server.open(), clock=clock, wall_clock=clock)
        with pytest.raises(DenylistUnavailable):
            replica.step(block=0)
        assert replica.staleness() == float("inf")


def test_a_history_that_was_given_up_is_not_believed(
    attacked: tuple[Between, MemoryDenylist, HttpDenylist],
) -> None:
    """What was signed before an older copy was put back comes again: neither half of it is taken.

    The old history goes further than the new one, in the same epoch.
    """
    between, denylist, feed = attacked
    denylist.heartbeat(0)
    start = denylist.state().position
    older = denylist._state, dict(denylist._records), denylist._feed.copy()
    for _ in range(5):
        denylist.heartbeat(0)
    given_up = [item.records for item in denylist.tail(start, 0)]
    assert len(given_up) == 5
    with serving(denylist) as other:
        events = b"".join(itertools.islice(other.hub.open(start), 2))
    feed.snapshot()
    denylist._state, denylist._records, denylist._feed = older
    denylist.add([Entry.key(KID)])
    between.tricks["events"] = answering(events, Content_Type="text/event-stream")
    feed.state()
    with pytest.raises(FeedGap, match="another history"):
        feed.tail(start, 1)
    between.tricks["snapshot"] = lambda _feed, _environ, begin: between.replay("snapshot", begin)
    with pytest.raises(DenylistUnavailable, match="another history"):
        feed.snapshot()


def test_an_issuer_that_vouches_for_nothing_is_believed(denylist: MemoryDenylist) -> None:
    """Where the denylist is no longer ready, a replica trusts its copy no more."""
    clock = HandClock()
    with serving(denylist) as server:
        replica = Replica(server.open(), clock=clock, wall_clock=clock)
        for _ in range(3):
            denylist.heartbeat(0)
            replica.step(block=0)
        assert replica.staleness() == 1.0
        denylist.replace(watermark=0)
        replica.step(block=0)  # another epoch: it forgets its place
        replica.step(block=0)
        with pytest.raises(DenylistNotReady):
            replica.step(block=0)
        assert replica.staleness() == float("inf")
