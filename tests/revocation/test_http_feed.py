"""The HTTP feed: what a gateway believes of it, whoever sits in between, and how it is bounded."""

from __future__ import annotations

import base64
import gc
import gzip
import io
import itertools
import json
import logging
import operator
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.denylists import KID, HandClock, Heart, Token, contents
from harness.feed_server import NAME, SECRET, FeedServer, serving, verify
from harness.processes import monotonic, until
from harness.web import ask

from issuer.feed import FeedOverloaded
from revocation import (
    BadDenylistUrl,
    Denylist,
    DenylistNotReady,
    DenylistReadOnly,
    DenylistUnavailable,
    Entry,
    FeedGap,
    Kind,
    Record,
    Replica,
    ReplicaStale,
    SnapshotTooLarge,
    StalePolicy,
    TokenRevoked,
    http_snapshot,
    open_denylist,
)
from revocation.entry import pack
from revocation.http_connection import FeedAddress, with_credentials
from revocation.http_denylist import HttpDenylist
from revocation.http_stream import Event, EventStream, _Dechunker, _EventParser
from revocation.memory_denylist import MemoryDenylist

YEAR = 365 * 86_400
EXPIRES = int(time.time()) + YEAR


@pytest.fixture
def denylist() -> MemoryDenylist:
    """A ready denylist that an issuer writes to."""
    made = MemoryDenylist()
    made.initialise(watermark=0)
    made.mark_ready()
    return made


def basic(name: str = NAME, secret: str = SECRET) -> dict[str, str]:
    """A gateway's header."""
    address = FeedAddress.parse(with_credentials("http://127.0.0.1/revocations", name, secret))
    return {"Authorization": address.authorization}


# --- what sits in between ------------------------------------------------------------------------


class Between:
    """A proxy that passes everything on until it is told what to do to a path."""

    def __init__(self) -> None:
        self.tricks: dict[str, Callable[[Any, Any, Any], Any]] = {}
        self.kept: dict[str, tuple[str, list[tuple[str, str]], bytes]] = {}
        self.held = False

    def __call__(self, feed: Any) -> Any:
        def application(environ: Any, start_response: Any) -> Any:
            what = environ["PATH_INFO"].removeprefix("/revocations").strip("/") or "snapshot"
            trick = self.tricks.get(what)
            if trick is not None:
                return trick(feed, environ, start_response)
            if what == "events":
                return self._stream(feed(environ, start_response))
            return self._keep(what, feed, environ, start_response)

        return application

    def _keep(self, what: str, feed: Any, environ: Any, start_response: Any) -> Any:
        self.kept[what] = whole(feed, environ)
        return self.replay(what, start_response)

    def replay(self, what: str, start_response: Any) -> list[bytes]:
        """An answer that was given before."""
        status, headers, body = self.kept[what]
        start_response(status, headers)
        return [body]

    def _stream(self, events: Any) -> Iterator[bytes]:
        for event in events:
            while self.held:
                time.sleep(0.01)
                yield b":\n\n"
            yield event


def whole(feed: Any, environ: Any) -> tuple[str, list[tuple[str, str]], bytes]:
    """One answer, read to its end."""
    head: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        head[:] = [status, headers]

    answer = feed(environ, start)
    try:
        body = b"".join(answer)
    finally:
        answer.close()
    return head[0], head[1], body


def answering(
    body: bytes, status: str = "200 OK", **headers: str
) -> Callable[[Any, Any, Any], list[bytes]]:
    """A trick: this answer, whatever is asked."""

    def trick(_: Any, __: Any, start_response: Any) -> list[bytes]:
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        start_response(status, [*named, ("Content-Length", str(len(body)))])
        return [body]

    return trick


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write",
    [
        lambda feed: feed.initialise(0),
        lambda feed: feed.replace(0),
        lambda feed: feed.mark_ready(),
        lambda feed: feed.add([Entry.key("k")]),
        lambda feed: feed.heartbeat(1.0),
    ],
)
def test_a_gateway_writes_nothing(denylist: Denylist, write: Callable[[Denylist], object]) -> None:
    """Every method that writes says that this is for reading."""
    with serving(denylist) as server:
        before = denylist.state()
        with pytest.raises(DenylistReadOnly):
            write(server.open())
        assert denylist.state() == before


def test_a_stream_ends_and_its_reader_goes_on(denylist: Denylist) -> None:
    """Streams of a fifth of a second lose nothing, and the replica stays in step throughout."""
    with serving(denylist, lifetime=0.2) as server, Heart(denylist, 0.05):
        replica = Replica(server.open(), heartbeat_interval=0.05, max_staleness=2.0)
        replica.start()
        assert replica.wait_in_step(20)
        began = monotonic()
        for number in itertools.count():
            denylist.add([Entry.session(f"s{number}", EXPIRES)])
            assert replica.staleness() < 2.0
            time.sleep(0.01)
            if monotonic() - began > 1.0:
                break
        for _ in until(10, "every entry"):
            if len(replica) == number + 1:
                break
        replica.stop()


def test_any_issuer_continues_from_a_cursor(denylist: Denylist) -> None:
    """A position from one issuer's feed is one of every other's."""
    with serving(denylist) as here, serving(denylist) as there:
        first, second = here.open(), there.open()
        after = first.snapshot().state.position
        denylist.add([Entry.key("a")])
        (item,) = first.tail(after, 5)
        reached = denylist.state().position
        assert (item.seq, item.chain) == (reached.seq, reached.chain)
        denylist.add([Entry.key("b")])
        assert [item.seq for item in second.tail(reached, 5)] == [reached.seq + 1]


def test_a_snapshot_is_shared_and_led_on(denylist: Denylist) -> None:
    """An old one is given out again, and still holds all that was there when it was asked for."""
    with serving(denylist, lasting=1000.0) as server:
        denylist.add([Entry.session("a", EXPIRES), Entry.epoch("e", 7)])
        tag = ask("GET", plain(server), headers=basic()).headers["etag"]
        denylist.add([Entry.session("b", EXPIRES), Entry.epoch("e", 8)])
        answer = ask("GET", plain(server), headers={**basic(), "If-None-Match": tag})
        assert (answer.status, answer.content) == (304, b"")
        snapshot = server.open().snapshot()
        assert snapshot.state == denylist.state()
        assert contents(server.open()) == contents(denylist)
        assert snapshot.state.watermark == 8


def test_a_snapshot_of_another_epoch_is_not_given_out(denylist: Denylist) -> None:
    """Where the denylist was replaced, a kept one is of no use."""
    with serving(denylist, lasting=1000.0) as server:
        server.open().snapshot()
        denylist.replace(watermark=5)
        denylist.mark_ready()
        assert server.open().snapshot().state == denylist.state()


def test_who_cannot_decompress_gets_the_same(denylist: Denylist) -> None:
    """Without `Accept-Encoding: gzip` the snapshot comes plain, under a tag of its own."""
    with serving(denylist, lasting=1000.0) as server:
        denylist.add([Entry.session(f"s{n}", EXPIRES) for n in range(5000)])
        squeezed = ask("GET", plain(server), headers={**basic(), "Accept-Encoding": "gzip"})
        whole = ask("GET", plain(server), headers=basic())
        assert gzip.decompress(squeezed.content) == whole.content
        assert squeezed.headers["etag"] != whole.headers["etag"]
        assert {squeezed.headers["vary"], whole.headers["vary"]} == {"Accept-Encoding"}
        assert squeezed.headers["cache-control"] == "private, no-cache"


def plain(server: FeedServer, path: str = "") -> str:
    """An address without credentials."""
    return f"http://127.0.0.1:{server.server.server_port}/revocations{path}"


def test_a_replica_follows_into_another_epoch(denylist: Denylist) -> None:
    """After a replacement streams end, and a running replica is in step with the new epoch."""
    with serving(denylist) as server, Heart(denylist, 0.05):
        replica = Replica(server.open(), heartbeat_interval=0.05)
        replica.start()
        assert replica.wait_in_step(20)
        epoch = denylist.replace(watermark=1_000).position.epoch
        denylist.mark_ready()
        for _ in until(20, "the new epoch"):
            position = replica.position
            if position is not None and position.epoch == epoch and replica.staleness() < 2:
                break
        with pytest.raises(TokenRevoked):
            replica.check(Token(iat=1_000), KID)
        replica.stop()


# --- what is believed ----------------------------------------------------------------------------


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


@pytest.fixture
def attacked(denylist: Denylist) -> Iterator[tuple[Between, Denylist, HttpDenylist]]:
    """A feed behind a proxy that is not to be trusted."""
    between = Between()
    with serving(denylist, between=between) as server:
        feed = server.open()
        assert isinstance(feed, HttpDenylist)
        yield between, denylist, feed
        between.held = False
        feed.close()


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


# --- who may ask ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "secret"), [(NAME, "wrong"), ("nobody", SECRET), ("é", "x")])
def test_a_wrong_secret_opens_nothing_and_is_not_quoted(
    denylist: Denylist, name: str, secret: str
) -> None:
    """401 for each question; the error names neither name, secret nor address."""
    with serving(denylist) as server:
        feed = server.open_as(name, secret)
        position = denylist.state().position
        for question in (
            feed.state,
            feed.snapshot,
            lambda: feed.tail(position, 1),
            lambda: feed.lookup(Token().probe(denylist)),
        ):
            with pytest.raises(DenylistUnavailable) as refusal:
                question()
            assert "name or secret" in str(refusal.value)
            for hidden in (secret, "127.0.0.1", str(server.server.server_port)):
                assert hidden not in repr(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        f"http://edge:{NAME}-x@id.example/revocations",
        "https://id.example/revocations",
        "https://edge@id.example/revocations",
        "https://:secret-x@id.example/revocations",
        "https://edge:secret-x@/revocations",
        "https://edge:secret-x@id.example:x/revocations",
        "https://edge:secret-x@id.example/revocations?verify=0",
        "https://edge:secret-x@id.example/revocations?cafile",
        "https://edge:secret-x@id.example/revocations#x",
        "https://edge:secret-x@id.example/revocations?cafile=/nowhere.pem",
    ],
)
def test_a_bad_address_is_refused_and_not_quoted(url: str) -> None:
    """Plain http to another machine, missing credentials and unknown options are errors."""
    with pytest.raises(BadDenylistUrl) as refusal:
        open_denylist(url, verify=verify)
    assert "-x" not in str(refusal.value)
    assert "id.example" not in str(refusal.value)


def test_an_address_shows_no_secret() -> None:
    """Neither the address nor a refusal to read without signatures holds it."""
    url = with_credentials("https://id.example/revocations", NAME, SECRET)
    assert SECRET not in repr(FeedAddress.parse(url))
    assert FeedAddress.parse(url).secret == SECRET
    with pytest.raises(BadDenylistUrl) as refusal:
        open_denylist(url)
    assert "secret" not in str(refusal.value)


def test_credentials_go_nowhere_else(denylist: Denylist) -> None:
    """A redirection is an error, and the place that it names is never asked."""
    between, beyond = Between(), Between()
    with serving(denylist, between=beyond) as other, serving(denylist, between=between) as server:
        leading = answering(b"", "302 Found", Location=plain(other, "/state?nonce=" + "n" * 22))
        between.tricks = {"state": leading, "events": leading}
        feed = server.open()
        with pytest.raises(DenylistUnavailable, match="answers 302"):
            feed.state()
        with pytest.raises(DenylistUnavailable, match="answers 302"):
            feed.tail(denylist.state().position, 1)
        assert beyond.kept == {}


# --- bounds --------------------------------------------------------------------------------------


def test_a_bomb_is_not_unpacked(denylist: Denylist) -> None:
    """A small answer that would fill the memory is refused at its limit."""
    between = Between()
    with serving(denylist, between=between) as server:
        bomb = gzip.compress(b"\0" * 50_000_000)
        between.tricks["snapshot"] = answering(bomb, Content_Encoding="gzip")
        feed = server.open()
        assert isinstance(feed, HttpDenylist)
        feed._most = 30_000
        with pytest.raises(SnapshotTooLarge, match="more than 30000 entries"):
            feed.snapshot()


def test_a_snapshot_of_more_than_a_replica_holds_is_not_taken(
    attacked: tuple[Between, Denylist, HttpDenylist],
) -> None:
    """As many entries as it was made for, what the feed leads on with included, and none more."""
    between, denylist, feed = attacked
    entries = [Entry.session(f"s{n}", EXPIRES) for n in range(12)]
    denylist.add(entries[:10])
    feed._most = 9
    replica = Replica(feed, policy=StalePolicy.OPEN)
    with pytest.raises(SnapshotTooLarge):
        replica.step(block=0)
    with pytest.raises(ReplicaStale):
        replica.check(Token(), KID)
    feed._most = 11
    between.tricks["snapshot"] = lambda _feed, _environ, start: between.replay("snapshot", start)
    denylist.add(entries[10:11])
    assert len(list(feed.snapshot().records)) == 11
    denylist.add(entries[11:])
    with pytest.raises(SnapshotTooLarge):
        feed.snapshot()


def test_a_snapshot_is_no_list_of_objects(
    attacked: tuple[Between, Denylist, HttpDenylist],
) -> None:
    """How many there are is known at once, and each is made when it is taken in."""
    _, denylist, feed = attacked
    denylist.add([Entry.session(f"s{n}", EXPIRES) for n in range(5_000)])
    held = alive(Record)
    records = feed.snapshot().records
    assert operator.length_hint(records) == 5_000
    assert alive(Record) - held < 100
    assert len({record.key for record in records}) == 5_000


@pytest.mark.parametrize("body", [b"x" + bytes(32), b"t" + bytes(31), b"t" + bytes(33)])
def test_records_of_another_form_are_refused_before_any_is_taken(body: bytes) -> None:
    """An unknown kind, one byte too few, one too many: also behind good ones."""
    good = pack([Record(b"t" + bytes(16), 1, EXPIRES)])
    for signed in (body, good + body):
        with pytest.raises(ValueError, match="another form"):
            http_snapshot.SnapshotRecords(memoryview(signed), 10)


def alive(kind: type) -> int:
    """How many objects of this type there are; the store keeps some."""
    return sum(type(each) is kind for each in gc.get_objects())


def test_a_download_is_told_of(
    attacked: tuple[Between, Denylist, HttpDenylist],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That it begins, how much of how much has come, and how long it took."""
    caplog.set_level(logging.INFO, "gatepass.revocation")
    monkeypatch.setattr(http_snapshot, "_TELL_EVERY", 0.0)
    _, denylist, feed = attacked
    denylist.add([Entry.session(f"s{n}", EXPIRES) for n in range(20_000)])
    feed.snapshot()
    first, *between, last = caplog.messages
    assert first == "asking the feed for its snapshot"
    assert between
    for message in between:
        assert re.fullmatch(r"0\.\d of 0\.\d MB of the feed's snapshot have come", message)
    assert re.fullmatch(r"the feed's snapshot has come in \d+\.\d s", last)


def test_nothing_behind_the_end_of_a_snapshot_is_kept(
    attacked: tuple[Between, Denylist, HttpDenylist],
) -> None:
    """What goes on for ever after the compressed content is refused with its first piece."""
    between, _, feed = attacked
    feed.snapshot()
    body, sent = between.kept["snapshot"][2], []

    def endless(_feed: Any, _environ: Any, start: Any) -> Iterator[bytes]:
        start("200 OK", [("Content-Encoding", "gzip")])
        yield body
        for _ in range(300):
            sent.append(1)
            yield b"\0" * 65_536

    between.tricks["snapshot"] = endless
    with pytest.raises(DenylistUnavailable, match="behind its end"):
        feed.snapshot()
    assert len(sent) < 300


def test_streams_that_end_at_once_are_not_asked_for_without_a_pause(
    attacked: tuple[Between, Denylist, HttpDenylist],
) -> None:
    """A proxy that closes every stream is no reason to connect a thousand times a second."""
    between, denylist, feed = attacked
    asked = []

    def empty(*given: Any) -> list[bytes]:
        asked.append(1)
        return answering(b":\n\n", Content_Type="text/event-stream")(*given)

    between.tricks["events"] = empty
    with pytest.raises(DenylistUnavailable, match="ends its streams"):
        feed.tail(denylist.state().position, 2)
    assert len(asked) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[:-9],
        lambda body: body[:50] + b"x" + body[51:],
        lambda body: gzip.compress(gzip.decompress(body)[:-33]),
        lambda body: gzip.compress(gzip.decompress(body) + b"\0" * 33),
        lambda body: gzip.compress(gzip.decompress(body).partition(b"\n")[2]),
        lambda body: b"",
    ],
)
def test_a_damaged_snapshot_is_refused(
    attacked: tuple[Between, Denylist, HttpDenylist], damage: Callable[[bytes], bytes]
) -> None:
    """Cut short, altered, shorter or longer by an entry, without a head: none is taken."""
    between, denylist, feed = attacked
    denylist.add([Entry.session(f"s{n}", EXPIRES) for n in range(100)])
    feed.snapshot()
    body = between.kept["snapshot"][2]
    between.tricks["snapshot"] = answering(damage(body), Content_Encoding="gzip")
    with pytest.raises(DenylistUnavailable):
        feed.snapshot()


def test_an_endless_answer_is_cut_off(attacked: tuple[Between, Denylist, HttpDenylist]) -> None:
    """More bytes than any answer has, and an event that never ends, are errors."""
    between, denylist, feed = attacked
    between.tricks["state"] = answering(b"x" * 100_000)
    with pytest.raises(DenylistUnavailable, match="too many bytes"):
        feed.state()
    del between.tricks["state"]

    def endless(_feed: Any, _environ: Any, start: Any) -> Iterator[bytes]:
        start("200 OK", [("Content-Type", "text/event-stream")])
        return itertools.repeat(b"data: " + b"x" * 60_000)

    between.tricks["events"] = endless
    after = denylist.state().position
    denylist.add([Entry.key("k")])
    with pytest.raises(DenylistUnavailable, match="too large"):
        feed.tail(after, 5)


def test_an_answer_that_drips_is_given_up(
    attacked: tuple[Between, Denylist, HttpDenylist],
) -> None:
    """A byte now and then does not hold a request beyond the time for a whole answer."""
    between, _, feed = attacked

    def drip(_feed: Any, _environ: Any, start: Any) -> Iterator[bytes]:
        start("200 OK", [("Content-Length", "1000")])
        for _ in range(100):
            time.sleep(0.1)
            yield b"x"

    between.tricks["state"] = drip
    begun = monotonic()
    with pytest.raises(DenylistUnavailable):
        feed.state()
    assert monotonic() - begun < 4.0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_found_in_any_pieces(size: int) -> None:
    """However chunks and packets cut it, the same events come out."""
    events = [b": hello\n\n", b"id: 1\ndata: a\ndata: b\n\n", b"data:c\r\n\r\n", b"x: y\n\n"]
    body = b"".join(events)
    sent = b"".join(
        b"%x;a=b\r\n%s\r\n" % (len(body[at : at + 5]), body[at : at + 5])
        for at in range(0, len(body), 5)
    )
    chunks, parser = _Dechunker(), _EventParser()
    for at in range(0, len(sent), size):
        parser.feed(chunks.feed(sent[at : at + size]))
    assert not chunks.ended
    chunks.feed(b"0\r\n\r\n")
    assert chunks.ended
    found = list(iter(parser.take, None))
    assert found == [Event((b"a", b"b")), Event((b"c",))]


@pytest.mark.parametrize("sent", [b"x\r\n", b"-1\r\n", b"\r\n", b"fffffffff\r\n", b"1" * 300])
def test_chunks_that_are_none_are_refused(sent: bytes) -> None:
    """A chunk's length is a few hexadecimal digits (RFC 9112 section 7.1)."""
    with pytest.raises(DenylistUnavailable):
        _Dechunker().feed(sent)


def test_there_are_only_so_many_streams(denylist: Denylist) -> None:
    """A further reader is told to come again; one that leaves makes room."""
    with serving(denylist, streams=2) as server:
        position = denylist.state().position
        streams = [server.hub.open(position) for _ in range(2)]
        with pytest.raises(FeedOverloaded):
            server.hub.open(position)
        answer = ask("GET", plain(server, "/events?after=x.0."), headers=basic())
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        answer.refused(503, "feed_overloaded")
        assert ask("GET", plain(server), headers=basic()).status == 503
        # What takes but a moment is answered all the same.
        assert ask("GET", plain(server, "/state?nonce=" + "n" * 22), headers=basic()).status == 200
        streams[0].close()
        streams[0].close()
        server.hub.open(position).close()
        streams[1].close()


def test_places_come_back(denylist: Denylist) -> None:
    """Snapshots, refusals, HEAD requests and readers that are gone keep no place."""
    with serving(denylist, streams=1, lasting=1000.0) as server, Heart(denylist, 0.02):
        position = denylist.state().position
        cursor = f"{position.epoch}.{position.seq}.{position.chain}"

        def asked(method: str, path: str = "", **headers: str) -> Any:
            # A place may come back a moment after the answer's last byte.
            for _ in until(10, "a place"):
                answer = ask(method, plain(server, path), headers={**basic(), **headers})
                if answer.status != 503:
                    break
            return answer

        for _ in range(3):
            tag = asked("GET").headers["etag"]
            assert asked("GET", **{"If-None-Match": tag}).status == 304
            assert asked("HEAD").status == 200
            assert asked("HEAD", f"/events?after={cursor}").status == 200
            assert asked("GET", "/events?after=x.1.").status == 410
        feed = server.open()
        assert isinstance(feed, HttpDenylist)
        for _ in range(3):
            for _ in until(10, "a place", pause=0.01):
                try:
                    stream = EventStream(feed._connections, f"/events?after={position.epoch}.0.")
                    break
                except DenylistUnavailable:
                    continue
            assert stream.next(5) is not None
            stream.close()


def test_a_reader_that_lags_is_dropped(denylist: Denylist) -> None:
    """Whoever has not read what the backlog had to let go of gets the end of the stream."""
    with serving(denylist, backlog_bytes=20_000) as server:
        slow = server.hub.open(denylist.state().position)
        assert next(slow) == b":\n\n"
        denylist.add([Entry.key("k")])
        assert b"data:" in next(slow)
        joined = denylist.state().position
        for n in range(200):
            denylist.add([Entry.session(f"s{n}-{m}", EXPIRES) for m in range(20)])
        for _ in until(10, "the backlog to move on"):
            if not server.hub._covers(joined):
                break
        assert list(slow) == []
        assert server.hub._held <= 20_000 + 200_000


def test_what_is_not_an_items_successor_is_a_gap(denylist: Denylist) -> None:
    """A position of another history, of another epoch or ahead of the feed is a gap."""
    from revocation import Position

    with serving(denylist) as server:
        feed = server.open()
        denylist.add([Entry.key("k")])
        here = denylist.state().position
        for after in (
            Position("elsewhere", here.seq, here.chain),
            Position(here.epoch, here.seq + 5, here.chain),
            Position(here.epoch, here.seq, "0" * 40),
        ):
            for block in (0, 0.2):
                with pytest.raises(FeedGap):
                    feed.tail(after, block)


def test_the_kinds_come_through_a_lookup(denylist: Denylist) -> None:
    """Policy `ask` hears of each kind by name."""
    with serving(denylist) as server:
        feed = server.open()
        probe = Token().probe(denylist)
        assert feed.lookup(probe) is None
        denylist.add([Entry.subject(Token.sub, Token.sub_ver + 1, EXPIRES)])
        assert feed.lookup(probe, denylist.state().position) is Kind.SUBJECT
