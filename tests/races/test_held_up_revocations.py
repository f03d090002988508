"""A revocation that waits before its commit still stops what was issued while it waited."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from harness.issuer_process import IssuerFleet, reaches
from harness.processes import until
from harness.redis_server import RedisServer

from revocation import TokenRevoked, open_denylist

PASSWORD = "seven violet otters juggle 91"
NEW_PASSWORD = "an unlikely brass kettle 4417"
LONGER_THAN_ANY_ENTRY = 400
"""Seconds: access lifetime, leeway, skew and the width of a bucket."""

HOLDS = {
    "password": "SELECT 1 FROM accounts FOR UPDATE",
    "logout": "LOCK TABLE journal IN EXCLUSIVE MODE",
}
"""What keeps a revocation from its commit, while reading goes on."""


@contextmanager
def held(database_url: str, statement: str) -> Iterator[Callable[[], None]]:
    """Hold a lock; gives a function that waits until somebody waits for it."""
    url = database_url.replace("+psycopg", "")
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as watcher:
        holder.execute(statement)

        def until_somebody_waits() -> None:
            for _ in until(10, "somebody waiting for the lock"):
                query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                if watcher.execute(query).fetchone() != (0,):
                    return

        yield until_somebody_waits
        holder.rollback()


@pytest.mark.parametrize("what", HOLDS)
def test_what_was_issued_before_the_commit_is_refused(
    make_fleet: Callable[..., IssuerFleet], private_redis: RedisServer, what: str
) -> None:
    """The entry lasts for tokens made just before the commit, not before the request began."""
    fleet = make_fleet(shifted=True)
    fleet.add_account("alice", PASSWORD)
    slow, quick = fleet.issuers
    first = slow.login("alice", PASSWORD).granted()

    def revoke() -> int:
        if what == "logout":
            return slow.ask("/logout", {"refresh_token": first["refresh_token"]}).status
        return slow.change_password(first["access_token"], PASSWORD, NEW_PASSWORD).status

    with fleet.verifier() as verifier, ThreadPoolExecutor(1) as background:
        with held(fleet.database_url, HOLDS[what]) as until_somebody_waits:
            revoked = background.submit(revoke)
            until_somebody_waits()
            fleet.advance(LONGER_THAN_ANY_ENTRY)
            late = quick.refresh(first["refresh_token"]).granted()["access_token"]
            assert verifier.verify(late)
            assert quick.introspect(late)
        assert revoked.result() == 200
        denylist = open_denylist(fleet.redis_url)
        reaches(verifier.replica, denylist.state().position)
        denylist.close()
        assert not quick.introspect(late)
        with pytest.raises(TokenRevoked):
            verifier.verify(late)
        # A gateway that starts now learns it from the snapshot, and from the journal where the
        # denylist was lost.
        with fleet.verifier() as another, pytest.raises(TokenRevoked):
            another.verify(late)
        private_redis.client().flushall()
        with fleet.verifier() as another, pytest.raises(TokenRevoked):
            another.verify(late)
