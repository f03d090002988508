"""How much of the HTTP feed is taken, given out, waited for and kept."""

from __future__ import annotations

import gc
import gzip
import itertools
import logging
import operator
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.denylists import KID, Heart, Token
from harness.feed_between import EXPIRES, Between, answering, basic, plain
from harness.feed_server import serving
from harness.processes import monotonic, until
from harness.web import ask

from issuer.feed import FeedOverloaded
from revocation import (
    Denylist,
    DenylistUnavailable,
    Entry,
    FeedGap,
    Record,
    Replica,
    ReplicaStale,
    SnapshotTooLarge,
    StalePolicy,
    http_snapshot,
)
from revocation.entry import pack
from revocation.http_denylist import HttpDenylist
from revocation.http_stream import Event, EventStream, _Dechunker, _EventParser


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
        for _ in range(600):
            time.sleep(0.1)
            yield b"x"

    between.tricks["state"] = drip
    begun = monotonic()
    with pytest.raises(DenylistUnavailable):
        feed.state()
    assert monotonic() - begun < 20


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
