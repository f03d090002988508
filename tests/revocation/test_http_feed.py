"""The HTTP feed: how it is read, and who may read it."""

from __future__ import annotations

import gzip
import itertools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from harness.denylists import KID, Heart, Store, Token, contents
from harness.feed_between import EXPIRES, Between, answering, basic, plain
from harness.feed_server import NAME, SECRET, serving, verify
from harness.processes import monotonic, until
from harness.redis_copies import RestoredCopy
from harness.redis_server import RedisServer
from harness.web import ask

from revocation import (
    BadDenylistUrl,
    Denylist,
    DenylistReadOnly,
    DenylistUnavailable,
    Entry,
    FeedGap,
    Kind,
    Replica,
    StalePolicy,
    TokenRevoked,
    open_denylist,
)
from revocation.http_connection import Connections, FeedAddress, with_credentials

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
        began = turned = monotonic()
        stood_still = 0.0
        for number in itertools.count():
            denylist.add([Entry.session(f"s{number}", EXPIRES)])
            staleness = replica.staleness()
            # Where this loop stands still, so does the machine.
            stood_still = max(stood_still, monotonic() - turned)
            turned = monotonic()
            assert staleness < 2.0 + stood_still
            time.sleep(0.01)
            if monotonic() - began > 1.0:
                break
        for _ in until(10, "every entry"):
            if len(replica) == number + 1:
                break
        replica.stop()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_has_a_stream_of_its_own(denylist: Denylist) -> None:
    """Two processes that read one stream would each miss half."""
    asked: list[str] = []

    def noting(feed: Any) -> Any:
        def application(environ: Any, start_response: Any) -> Any:
            asked.append(environ["PATH_INFO"])
            return feed(environ, start_response)

        return application

    with serving(denylist, between=noting) as server:
        feed = server.open()
        position = feed.state().position
        assert feed.tail(position, 0) == []
        child = in_child(lambda: feed.tail(position, 20))
        for _ in until(20, "a stream of the child's"):
            if asked.count("/revocations/events") == 2:
                break
        denylist.add([Entry.key("a")])
        assert len(feed.tail(position, 20)) == 1
        assert succeeded(child)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_has_connections_of_its_own() -> None:
    """On one that two processes share, each would get the other's answers."""
    ports: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            ports.append(self.client_address[1])
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/revocations"
        connections = Connections(FeedAddress.parse(with_credentials(url, NAME, SECRET)))
        for _ in range(2):
            connections.ask("/state")
        assert succeeded(in_child(lambda: connections.ask("/state")))
        connections.ask("/state")
        connections.close()
        server.shutdown()
    first, second, childs, last = ports
    assert first == second == last != childs


def in_child(work: Callable[[], object]) -> int:
    """Fork a process that does this; its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = 0 if work() else 2
    finally:
        os._exit(code)


def succeeded(child: int) -> bool:
    """Whether something came of what it did, once it has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


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


def test_who_has_another_history_is_told_to_read_afresh(denylist: Denylist) -> None:
    """It has been overtaken since, as after a failover that lost what it had read."""
    with serving(denylist) as server:
        reader = server.open()
        positions = [denylist.add([Entry.key(key)]) for key in "abc"]
        for lost in positions:
            assert len(reader.tail(lost, 1)) == positions[-1].seq - lost.seq
            with pytest.raises(FeedGap):
                reader.tail(replace(lost, chain=lost.chain[::-1]), 1)


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


def test_a_replica_follows_into_a_history_that_lost_what_it_had_read(
    redis_store: Store, redis_server: RedisServer
) -> None:
    """As after a failover. What was kept of the lost one is of no use, though overtaken since."""
    denylist = redis_store.ready()
    earlier = RestoredCopy(redis_server)
    earlier.take()
    with serving(denylist, lasting=1000.0) as server:
        replica = Replica(server.open(), heartbeat_interval=1.0)
        replica.start()
        for key in "abc":
            denylist.add([Entry.key(key)])
        lost = server.open().snapshot().state.position
        for _ in until(20, "the replica there"):
            if replica.position == lost:
                break
        earlier.put_back()
        while denylist.state().position.seq <= lost.seq:
            denylist.add([Entry.session(Token.sid, EXPIRES + denylist.state().position.seq * 600)])
        assert server.open().snapshot().state == denylist.state()
        with pytest.raises(FeedGap):
            server.open().tail(lost, 1)
        for _ in until(20, "the replica in the other history"):
            if replica.position == denylist.state().position:
                break
        with pytest.raises(TokenRevoked):
            replica.check(Token(), KID, StalePolicy.OPEN)
        replica.stop()


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


def test_the_kinds_come_through_a_lookup(denylist: Denylist) -> None:
    """Policy `ask` hears of each kind by name."""
    with serving(denylist) as server:
        feed = server.open()
        probe = Token().probe(denylist)
        assert feed.lookup(probe) is None
        denylist.add([Entry.subject(Token.sub, Token.sub_ver + 1, EXPIRES)])
        assert feed.lookup(probe, denylist.state().position) is Kind.SUBJECT
