"""The thread that follows: on real time, through failures, and quickly."""

from __future__ import annotations

import contextlib
import logging
import statistics
from collections.abc import Iterator

import pytest
from harness.denylists import KID, FaultyDenylist, HandClock, Heart, Store, Token, seconds_until
from harness.processes import until
from harness.redis_server import RedisServer

from revocation import (
    DEFAULT_MAX_STALENESS,
    Denylist,
    DenylistUnavailable,
    Entry,
    FeedItem,
    Position,
    Replica,
    ReplicaStale,
    TokenRevoked,
    open_denylist,
)

LATE = 1 << 33
INTERVAL = 0.1


@contextlib.contextmanager
def following(denylist: Denylist, **options: object) -> Iterator[Replica]:
    """A replica that follows in a thread and is in step."""
    replica = Replica(denylist, **{"heartbeat_interval": INTERVAL, **options})
    replica.start()
    try:
        assert replica.wait_in_step(30)
        yield replica
    finally:
        replica.stop()


def passes(replica: Replica, token: Token) -> bool:
    """Whether the token passes now; a copy that is too old passes nothing."""
    try:
        replica.check(token, KID)
    except (TokenRevoked, ReplicaStale):
        return False
    return True


def revoked(replica: Replica, token: Token) -> bool:
    """Whether an entry refuses the token now."""
    try:
        replica.check(token, KID)
    except TokenRevoked:
        return True
    except ReplicaStale:
        return False
    return False


def test_a_revocation_arrives_within_a_second(store: Store) -> None:
    """The guarantee holds for each of twenty revocations, and typically a second is plenty."""
    issuer, gateway = store.ready(), store.open()
    with (
        Heart(issuer, 1.0),
        following(gateway, heartbeat_interval=1.0) as replica,
    ):
        delays = []
        for number in range(20):
            token = Token(sid=f"session-{number}")
            seconds_until(lambda token=token: passes(replica, token), 30)
            issuer.add([Entry.session(token.sid, LATE)])
            delays.append(
                seconds_until(lambda token=token: revoked(replica, token), DEFAULT_MAX_STALENESS)
            )
    assert statistics.median(delays) < 1.0


def test_it_survives_a_restart_of_redis(
    private_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed and started again, Redis is followed again; nothing known before is forgotten."""
    caplog.set_level(logging.INFO, "gatepass.revocation")
    issuer, gateway = (open_denylist(private_redis.tcp_url) for _ in range(2))
    issuer.initialise(watermark=0)
    issuer.mark_ready()
    with (
        contextlib.closing(issuer),
        contextlib.closing(gateway),
        Heart(issuer, INTERVAL),
        following(gateway, max_staleness=2.0) as replica,
    ):
        issuer.add([Entry.session("before", LATE)])
        seconds_until(lambda: revoked(replica, Token(sid="before")), 30)
        for end in (private_redis.kill, private_redis.stop):
            end()
            seconds_until(lambda: "cannot follow" in caplog.text, 30)
            caplog.clear()
            private_redis.start()
            name = f"after-{end.__name__}"
            for _ in until(30, "an answer"):
                with contextlib.suppress(DenylistUnavailable):
                    issuer.add([Entry.session(name, LATE)])
                    break
            seconds_until(lambda: not passes(replica, Token()), 30)
            issuer.mark_ready()
            seconds_until(lambda name=name: revoked(replica, Token(sid=name)), 30)
            seconds_until(lambda: passes(replica, Token()), 30)
            assert revoked(replica, Token(sid="before"))
            assert "the replica follows again" in caplog.text


def test_its_log_names_no_address_and_no_password(
    private_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What it logs while Redis is away tells each failure once, not where nor with what secret."""
    denylist = open_denylist(f"redis://:hunter2@127.0.0.1:{private_redis.port}/0")
    private_redis.kill()
    replica = Replica(denylist, heartbeat_interval=INTERVAL)
    replica.start()
    seconds_until(lambda: "several times in a row" in caplog.text, 30)
    replica.stop()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == len(set(told)) == 2
    denylist.close()
    for secret in ("hunter2", "127.0.0.1", str(private_redis.port)):
        assert secret not in caplog.text


def test_it_waits_for_a_denylist_that_is_not_there_yet(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Started before any issuer, it comes into step once one has begun and is ready."""
    gateway, issuer = store.open(), store.open()
    replica = Replica(gateway, heartbeat_interval=INTERVAL)
    replica.start()
    seconds_until(lambda: "no epoch" in caplog.text, 30)
    assert not replica.wait_in_step(0)
    issuer.initialise(watermark=0)
    issuer.add([Entry.session("s", LATE)])
    with Heart(issuer, INTERVAL):
        issuer.mark_ready()
        assert replica.wait_in_step(30)
        assert revoked(replica, Token(sid="s"))
    replica.stop()


def test_it_outlives_any_surprise(near_store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """An exception that nobody foresaw is logged, and it starts again from a snapshot."""

    class Surprising(FaultyDenylist):
        surprises = 0

        def tail(self, after: Position, block: float) -> list[FeedItem]:
            items = super().tail(after, block)
            if self.surprises:
                self.surprises -= 1
                raise ZeroDivisionError
            return items

    denylist = Surprising(near_store.ready())
    with Heart(denylist, INTERVAL), following(denylist) as replica:
        denylist.surprises = 2
        seconds_until(lambda: denylist.surprises == 0, 30)
        denylist.add([Entry.session("s", LATE)])
        seconds_until(lambda: revoked(replica, Token(sid="s")), 30)
    assert "starts again from a snapshot" in caplog.text


def test_it_says_when_it_is_no_longer_in_step(near_store: Store) -> None:
    """Without heartbeats it falls out of step, and with them it comes back."""
    denylist = near_store.ready()
    clock = HandClock()
    with Heart(denylist, INTERVAL), following(denylist, clock=clock) as replica:
        pass
    replica.start()
    clock.advance(60)
    for _ in until(30, "being out of step"):
        if not replica.wait_in_step(0):
            break
    with Heart(denylist, INTERVAL):
        assert replica.wait_in_step(30)
    replica.stop()


def test_after_stop_the_copy_stays_and_ages(near_store: Store) -> None:
    """Stopped, it applies nothing more and forgets nothing; started, it goes on."""
    denylist = near_store.ready()
    with Heart(denylist, INTERVAL), following(denylist) as replica:
        denylist.add([Entry.session("before", LATE)])
        seconds_until(lambda: revoked(replica, Token(sid="before")), 30)
        replica.stop()
        size = len(replica)
        denylist.add([Entry.session("while", LATE)])
        assert revoked(replica, Token(sid="before"))
        assert len(replica) == size
        replica.start()
        seconds_until(lambda: revoked(replica, Token(sid="while")), 30)
    assert replica._follower._thread is None


def test_checks_run_beside_the_follower(near_store: Store, clock: HandClock) -> None:
    """While entries stream in, each check sees an entry wholly or not at all, and never fails."""
    denylist = near_store.ready()
    with Heart(denylist, INTERVAL), following(denylist, clock=lambda: 0.0) as replica:
        for level in range(1, 300):
            denylist.add([Entry.subject("ann", level, LATE)])
            replica.check(Token(sub="ann", sub_ver=level), KID)
        seconds_until(lambda: revoked(replica, Token(sub="ann", sub_ver=298)), 30)
