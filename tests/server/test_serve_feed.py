"""`gatepass serve` with gateways that follow over HTTP: requests, reloads and stops go on."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from harness.certificates import make_certificates
from harness.issuer_app import migrated_sqlite
from harness.processes import monotonic, until
from harness.redis_server import RedisServer
from harness.served_issuer import ServedIssuer

from gateway import Verifier
from gateway.fetching import fetch_json
from revocation import DenylistUnavailable, TokenRevoked
from revocation.http_connection import Connections, FeedAddress, with_credentials
from revocation.http_stream import EventStream, StreamEnded

SECRET = "a secret of this gateway"
GATEWAYS = {"edge": {"secret_sha256": hashlib.sha256(SECRET.encode()).hexdigest()}}
STREAMS = 2
SOON = 15.0
"""Seconds; the server would wait for thirty for what is under way."""


def feed_url(issuer: ServedIssuer, options: str = "") -> str:
    """The feed's address for this gateway."""
    return with_credentials(f"{issuer.url}/revocations{options}", "edge", SECRET)


def made(directory: Path, redis_url: str, **options: object) -> ServedIssuer:
    """An issuer of one worker of two threads, and two more for gateways."""
    database = migrated_sqlite(directory / "issuer.db")
    changes = {"workers": 1, "threads": 2, "gateways": GATEWAYS, "feed_streams": STREAMS}
    return ServedIssuer(directory, f"sqlite:///{database}", redis_url, **{**changes, **options})


@pytest.fixture
def issuer(redis_server: RedisServer, issuer_directory: Path) -> Iterator[ServedIssuer]:
    """A running issuer with room for two gateways."""
    redis_server.reset()
    with made(issuer_directory, redis_server.unix_url) as running:
        running.add_account()
        yield running


def stream(issuer: ServedIssuer) -> EventStream:
    """One of the places, with nothing but a position that is the feed's own."""
    address = FeedAddress.parse(feed_url(issuer))
    verifier = Verifier(issuer=issuer.url, audience="api", denylist=feed_url(issuer))
    position = verifier._denylist.state().position
    verifier.stop()
    cursor = f"{position.epoch}.{position.seq}.{position.chain}"
    return EventStream(Connections(address), f"/events?after={cursor}")


def ends(streams: list[EventStream], within: float) -> None:
    """Each stream ends in time."""
    begun = monotonic()
    for one in streams:
        try:
            while monotonic() - begun < within:
                one.next(0.1)
        except (StreamEnded, DenylistUnavailable):
            continue
        finally:
            one.close()
        pytest.fail("a stream goes on")


def test_requests_do_not_starve_while_all_streams_are_taken(issuer: ServedIssuer) -> None:
    """A further gateway gets 503; everybody else is served, and a place that is free is given."""
    streams = [stream(issuer) for _ in range(STREAMS)]
    assert all(one.next(SOON) is not None for one in streams)
    with pytest.raises(DenylistUnavailable, match="503"):
        stream(issuer)
    begun = monotonic()
    for _ in range(20):
        token = issuer.login().granted()["refresh_token"]
        issuer.site.refresh(token).granted()
    assert monotonic() - begun < 20 * SOON
    assert all(one.next(SOON) is not None for one in streams)
    streams.pop().close()
    for _ in until(10, "a place"):
        try:
            streams.append(stream(issuer))
            break
        except DenylistUnavailable:
            continue
    for one in streams:
        one.close()


def test_a_reload_ends_streams_and_a_gateway_goes_on(issuer: ServedIssuer) -> None:
    """The old worker is gone at once, and a replica is in step all the while."""
    with Verifier(
        issuer=issuer.url,
        audience="api",
        denylist=feed_url(issuer),
        heartbeat_interval=0.25,
        max_staleness=SOON,
    ) as verifier:
        assert verifier.replica.wait_in_step(20)
        held = stream(issuer)
        issuer.reload()
        ends([held], SOON)
        for _ in until(30, "another worker"):
            assert verifier.replica.staleness() < SOON
            if issuer.started_workers() == 2:
                break
        session = issuer.login().granted()
        verifier.verify(session["access_token"])
        issuer.site.post("/logout", {"refresh_token": session["refresh_token"]}).granted()
        for _ in until(SOON, "the revocation"):
            try:
                verifier.verify(session["access_token"])
            except TokenRevoked:
                break


def test_a_stop_does_not_wait_for_streams(issuer: ServedIssuer) -> None:
    """SIGTERM ends every stream; the server exits in an orderly way long before its timeout."""
    streams = [stream(issuer) for _ in range(STREAMS)]
    begun = monotonic()
    issuer.process.signal(signal.SIGTERM)
    ends(streams, SOON)
    assert issuer.process.wait() == 0
    assert monotonic() - begun < 15


def test_more_streams_need_a_restart(issuer: ServedIssuer) -> None:
    """A reload that would take threads from requests is refused, and says which setting it was."""
    issuer.write(feed_streams=STREAMS + 1)
    issuer.reload()
    issuer.process.wait_for_line("Reload refused", stream="stderr")
    assert "feed_streams" in issuer.process.stderr()
    assert issuer.login().status == 200


def test_an_issuer_in_memory_is_followed_from_another_process(issuer_directory: Path) -> None:
    """Over TLS under an authority of one's own: verified, revoked, and refused at the gateway."""
    certificates = make_certificates(issuer_directory)
    with made(issuer_directory, "memory://served", certificates=certificates) as running:
        running.add_account()
        session = running.login().granted()
        url = feed_url(running, f"?cafile={certificates.authority}")
        fetch = partial(fetch_json, cafile=str(certificates.authority))
        with Verifier(
            issuer=running.url, audience="api", denylist=url, heartbeat_interval=0.25, fetch=fetch
        ) as verifier:
            assert verifier.replica.wait_in_step(20)
            verifier.verify(session["access_token"])
            running.site.post("/logout", {"refresh_token": session["refresh_token"]}).granted()
            for _ in until(SOON, "the revocation"):
                try:
                    verifier.verify(session["access_token"])
                except TokenRevoked:
                    break
        untrusting = Verifier(
            issuer=running.url, audience="api", denylist=feed_url(running), fetch=fetch
        )
        with pytest.raises(DenylistUnavailable, match="certificate is not trusted"):
            untrusting._denylist.state()
        untrusting.stop()
