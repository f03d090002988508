"""The revocation check of a gateway, and the denylist on Redis, beside a blocklist in Redis.

The peer is the pattern that flask-jwt-extended documents: one key for each revoked `jti`, asked
for on every request.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from revocation import Denylist, Entry, Probe, Replica, open_denylist
from tokens import AccessVerifier

from .lab import Lab
from .material import ACCESS_LIFETIME, Signer, claims, random_id
from .signatures import verify_pyjwt
from .timing import Contender, Row

REVOCATION = "revocation"
DENYLIST = "denylist"

_KID = random_id()
_BATCH = 1000
_BEAT = 1.0
_IN_STEP_TIMEOUT = 30.0
_MAX_STALENESS = 60.0
"""Seconds; generous, so that a busy machine measures slowly rather than not at all."""
_BLOCKLIST_DB = 1


@dataclass(frozen=True, slots=True)
class Revoked:
    """As many revocations on both sides: ours, followed by a replica, and the peer's keys."""

    denylist: Denylist
    replica: Replica
    blocklist: redis.Redis
    url: str
    namespace: str


@contextmanager
def revoked(lab: Lab, entries: int) -> Iterator[Revoked]:
    """Fill both sides, and follow ours as a gateway does: by a thread of this process."""
    lab.say(f"revoking {entries:,} on both sides")
    url = lab.redis.url
    with (
        closing(open_denylist(url, namespace=f"bench-{entries}")) as denylist,
        closing(lab.redis.client(db=_BLOCKLIST_DB, decode_responses=True)) as blocklist,
    ):
        denylist.initialise(0)
        denylist.mark_ready()
        _fill(denylist, entries)
        _fill_blocklist(blocklist, entries)
        replica = Replica(denylist, heartbeat_interval=_BEAT, max_staleness=_MAX_STALENESS)
        with _beating(url, entries):
            replica.start()
            try:
                if not replica.wait_in_step(_IN_STEP_TIMEOUT):
                    raise RuntimeError("the replica did not come into step")
                yield Revoked(denylist, replica, blocklist, url, f"bench-{entries}")
            finally:
                replica.stop()


def _fill(denylist: Denylist, entries: int) -> None:
    expires = int(time.time()) + ACCESS_LIFETIME
    for start in range(0, entries, _BATCH):
        make = (Entry.session, Entry.token)[start // _BATCH % 2]
        size = min(_BATCH, entries - start)
        denylist.add([make(random_id(), expires) for _ in range(size)])


def _fill_blocklist(blocklist: redis.Redis, entries: int) -> None:
    blocklist.flushdb()
    for start in range(0, entries, _BATCH):
        pipeline = blocklist.pipeline(transaction=False)
        for _ in range(min(_BATCH, entries - start)):
            pipeline.set(str(uuid.uuid4()), "", ex=ACCESS_LIFETIME)
        pipeline.execute()


@contextmanager
def _beating(url: str, entries: int) -> Iterator[None]:
    """The issuer's part: heartbeats, without which a replica vouches for nothing."""
    stopping = threading.Event()
    with closing(open_denylist(url, namespace=f"bench-{entries}")) as denylist:

        def beat() -> None:
            while not stopping.wait(_BEAT / 4):
                denylist.heartbeat(_BEAT)

        thread = threading.Thread(target=beat, name="bench-heart", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join(timeout=10)


def revocation(lab: Lab) -> Iterator[Row]:
    """The check alone at several sizes, and the whole path of a gateway at some of them."""
    scale = lab.scale
    signer = Signer.new("ES256")
    checked = [claims() for _ in range(scale.fast)]
    for entries in scale.entries:
        with revoked(lab, entries) as both:
            in_redis = is_blocked(both.blocklist)
            yield from lab.compare(
                REVOCATION,
                f"revocation check alone, {entries:,} entries",
                [
                    Contender("Replica.check", _check(both.replica), checked),
                    Contender("redis-py GET", in_redis, [one.jti for one in checked]),
                ],
                count=scale.fast,
            )
            if entries not in scale.gateway_entries:
                continue
            tokens = signer.tokens(scale.total_slow)
            yield from lab.compare(
                REVOCATION,
                f"verify + revocation check, ES256, {entries:,} entries",
                [
                    Contender(
                        "AccessVerifier + Replica",
                        _gateway(signer.verifier(), both.replica),
                        tokens,
                    ),
                    Contender("PyJWT + redis-py GET", peer_gateway(signer, in_redis), tokens),
                ],
            )


def _check(replica: Replica) -> Callable[[Any], object]:
    return lambda item: replica.check(item, _KID)


def _gateway(verifier: AccessVerifier, replica: Replica) -> Callable[[Any], object]:
    def step(token: str) -> None:
        verified, kid = verifier.verify_with_key(token)
        replica.check(verified, kid)

    return step


def is_blocked(blocklist: redis.Redis) -> Callable[[str], bool]:
    return lambda jti: blocklist.get(jti) is not None


def peer_gateway(signer: Signer, blocked: Callable[[str], bool]) -> Callable[[Any], object]:
    verify = verify_pyjwt(signer)
    return lambda token: blocked(verify(token)["jti"])


def denylist(lab: Lab) -> Iterator[Row]:
    """Write one revocation, and ask the server itself for one token."""
    expires = int(time.time()) + ACCESS_LIFETIME
    with revoked(lab, lab.scale.entries[0]) as both:
        entries = [Entry.token(random_id(), expires) for _ in range(lab.scale.total_slow)]
        keys = [str(uuid.uuid4()) for _ in range(lab.scale.total_slow)]
        yield from lab.compare(
            DENYLIST,
            "revoke one token, durably",
            [
                Contender("Denylist.add", lambda entry: both.denylist.add([entry]), entries),
                Contender(
                    "redis-py SET",
                    lambda key: both.blocklist.set(key, "", ex=ACCESS_LIFETIME),
                    keys,
                ),
            ],
        )
        salt = both.denylist.state().salt
        asked = [claims() for _ in range(lab.scale.slow)]
        yield from lab.compare(
            DENYLIST,
            "ask the server for one token",
            [
                Contender(
                    "Denylist.lookup",
                    lambda item: both.denylist.lookup(Probe.of(item, _KID, salt)),
                    asked,
                ),
                Contender("redis-py GET", is_blocked(both.blocklist), [one.jti for one in asked]),
            ],
        )
