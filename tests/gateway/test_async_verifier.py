"""The asyncio path: whatever hangs, the event loop goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest
from harness.local_issuer import ALWAYS_OLD, SID, LocalIssuer, freshen
from harness.redis_server import RedisServer
from joserfc.jwk import ECKey

from gateway import KeysUnavailable, Verifier
from revocation import (
    Denylist,
    DenylistUnavailable,
    Entry,
    ReplicaStale,
    StalePolicy,
    TokenRevoked,
    open_denylist,
)
from tokens import Malformed, Recipient, UnknownKid, WrongAudience, WrongType, seal

LEAST_TURNS = 10
"""A loop that is held up takes none while what hangs here hangs; a free one takes hundreds."""
LATER = 4_000_000_000


async def watched(waiting: Awaitable[Any]) -> tuple[Any, bool]:
    """What comes of it, exception or not, and whether the loop took its turns meanwhile.

    A thread takes turns beside it: on a machine that had none for this process, neither has many.
    """
    turns, ticks, running = 0, 0, True

    def tick() -> None:
        nonlocal ticks
        while running:
            time.sleep(0.005)
            ticks += 1

    async def turn() -> None:
        nonlocal turns
        while running:
            await asyncio.sleep(0.005)
            turns += 1

    turning = asyncio.create_task(turn())
    await asyncio.sleep(0.02)
    before = turns
    ticking = threading.Thread(target=tick)
    ticking.start()
    try:
        outcome: Any = await waiting
    except Exception as error:
        outcome = error
    taken = turns - before
    running = False
    await turning
    ticking.join()
    return outcome, taken >= min(LEAST_TURNS, ticks // 5)


def run(test: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(test)


@pytest.fixture
def issuer() -> Iterator[LocalIssuer]:
    made = LocalIssuer()
    yield made
    made.answers.set()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def denylist(redis: RedisServer) -> Iterator[Denylist]:
    redis.client().flushall()
    opened = open_denylist(redis.unix_url)
    opened.initialise(watermark=0)
    opened.mark_ready()
    yield opened
    opened.close()


def in_step(issuer: LocalIssuer, denylist: Denylist, **options: Any) -> Verifier:
    verifier = issuer.verifier(denylist, **{"max_staleness": 600, **options})
    freshen(denylist, verifier.replica)
    return verifier


def test_it_verifies_as_the_other_path_does(issuer: LocalIssuer, denylist: Denylist) -> None:
    """Claims for a good token, the same refusals for others, before and after it is remembered."""
    verifier = in_step(issuer, denylist)
    token = issuer.token()
    for _ in range(2):
        assert run(verifier.averify(token)) == issuer.claims()
        assert run(verifier.averify_header(f"Bearer {token}")) == issuer.claims()
    with pytest.raises(Malformed):
        run(verifier.averify("of.bad.news"))
    denylist.add([Entry.session(SID, LATER)])
    verifier.replica.step(block=1)
    with pytest.raises(TokenRevoked):
        run(verifier.averify(token))
    verifier.stop()


def test_a_sealed_token_passes_at_its_audience_until_it_is_revoked(
    issuer: LocalIssuer, denylist: Denylist
) -> None:
    """Before and after it is remembered; one under another audience's key, or about it, never."""
    own, other = (
        Recipient.from_jwk(ECKey.generate_key("P-256", {"kid": kid}).as_dict(private=True))
        for kid in ("orders-1", "billing-1")
    )
    verifier = in_step(issuer, denylist, recipients={own.kid: own})
    token = seal(issuer.token(), own)
    for _ in range(2):
        assert run(verifier.averify(token)) == issuer.claims()
    with pytest.raises(UnknownKid):
        run(verifier.averify(seal(issuer.token(), other)))
    with pytest.raises(WrongAudience):
        run(verifier.averify(seal(issuer.token(aud=("billing",)), own)))
    denylist.add([Entry.session(SID, LATER)])
    verifier.replica.step(block=1)
    for revoked in (token, seal(issuer.token(), own)):
        with pytest.raises(TokenRevoked):
            run(verifier.averify(revoked))
    verifier.stop()


def test_a_token_in_clear_passes_unless_sealed_ones_are_required(
    issuer: LocalIssuer, denylist: Denylist
) -> None:
    """A key of its own alone refuses none; on either path."""
    own = Recipient.from_jwk(ECKey.generate_key("P-256", {"kid": "k1"}).as_dict(private=True))
    token = issuer.token()
    for require_sealed in (False, True):
        verifier = in_step(
            issuer, denylist, recipients={own.kid: own}, require_sealed=require_sealed
        )
        assert run(verifier.averify(seal(token, own))) == issuer.claims()
        if not require_sealed:
            assert run(verifier.averify(token)) == verifier.verify(token) == issuer.claims()
        else:
            with pytest.raises(WrongType):
                run(verifier.averify(token))
            with pytest.raises(WrongType):
                verifier.verify(token)
        verifier.stop()


def test_a_hanging_issuer_does_not_hold_up_the_loop(
    issuer: LocalIssuer, denylist: Denylist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cold start waits in a thread, for as long as a fetch may take; the loop ticks on."""
    monkeypatch.setattr("gateway.jwks.TOTAL_TIMEOUT", 1.0)
    verifier = in_step(issuer, denylist)
    issuer.answers.clear()
    outcome, free = run(watched(verifier.averify(issuer.token())))
    assert isinstance(outcome, KeysUnavailable)
    assert free
    verifier.stop()


def test_unknown_kids_at_a_hanging_issuer_do_not_hold_up_those_that_are_known(
    issuer: LocalIssuer, denylist: Denylist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred of them wait for the one fetch; a known key's token is verified at once."""
    # Nobody waits for that: the issuer answers as soon as the other token has been verified.
    monkeypatch.setattr("gateway.jwks.TOTAL_TIMEOUT", 60.0)
    verifier = in_step(issuer, denylist)
    good = issuer.token()
    assert verifier.verify(good)
    strangers = [LocalIssuer().token() for _ in range(4)] * 25
    verifier.keys._next_fetch = 0
    issuer.answers.clear()

    async def scene() -> list[Any]:
        waiting = asyncio.gather(
            *(verifier.averify(token) for token in strangers), return_exceptions=True
        )
        task = asyncio.ensure_future(waiting)
        await asyncio.sleep(0.1)
        assert not task.done()
        assert await verifier.averify(issuer.token(sub="another"))
        assert not task.done()
        issuer.answers.set()
        return await task

    outcomes, free = run(watched(scene()))
    assert {type(outcome) for outcome in outcomes} == {UnknownKid}
    assert free
    assert issuer.jwks_fetches == 2
    verifier.stop()


@pytest.mark.parametrize("policy", StalePolicy)
def test_a_stopped_redis_does_not_hold_up_the_loop(
    issuer: LocalIssuer, denylist: Denylist, redis: RedisServer, policy: StalePolicy
) -> None:
    """`ask` asks in a thread, and in vain; `closed` and `open` do not ask."""
    verifier = in_step(issuer, denylist, **ALWAYS_OLD)
    token = issuer.token()
    assert verifier.verify(token, StalePolicy.OPEN)
    redis.pause()
    try:
        outcome, free = run(watched(verifier.averify(token, policy)))
    finally:
        redis.resume()
    expected = {StalePolicy.CLOSED: ReplicaStale, StalePolicy.ASK: DenylistUnavailable}
    if policy is StalePolicy.OPEN:
        assert outcome == issuer.claims()
    else:
        assert isinstance(outcome, expected[policy])
    # The others ask nobody, so there is nothing to wait for.
    assert free or policy is not StalePolicy.ASK
    verifier.stop()


def test_ask_still_refuses_what_the_denylist_holds(issuer: LocalIssuer, denylist: Denylist) -> None:
    """With an old copy the answer of the denylist counts, whichever thread asked."""
    verifier = in_step(issuer, denylist, **ALWAYS_OLD)
    token = issuer.token()
    assert run(verifier.averify(token, StalePolicy.ASK))
    denylist.add([Entry.session(SID, LATER)])
    with pytest.raises(TokenRevoked):
        run(verifier.averify(token, StalePolicy.ASK))
    verifier.stop()


def test_many_tasks_of_many_loops_share_a_verifier(issuer: LocalIssuer, denylist: Denylist) -> None:
    """Threads with loops of their own get their own claims."""
    verifier = in_step(issuer, denylist)
    tokens = {f"p{number}": issuer.token(sub=f"p{number}") for number in range(20)}
    wrong: list[str] = []

    async def work() -> None:
        for name, claims in zip(
            tokens, await asyncio.gather(*map(verifier.averify, tokens.values())), strict=True
        ):
            if claims.sub != name:
                wrong.append(name)

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong
    verifier.stop()


def test_a_path_that_blocks_is_caught(
    issuer: LocalIssuer, denylist: Denylist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog sees a verifier that fetches in the loop."""

    async def blocking(self: Verifier, token: str, policy: StalePolicy | None = None) -> Any:
        return self.verify(token, policy)

    monkeypatch.setattr(Verifier, "averify", blocking)
    scene: Callable[..., None] = test_a_hanging_issuer_does_not_hold_up_the_loop
    with pytest.raises(AssertionError):
        scene(issuer, denylist, monkeypatch)
