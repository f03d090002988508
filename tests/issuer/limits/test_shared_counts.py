"""Counts on Redis: shared, private, kept over a restart, and not missed while it is away."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from harness.issuer_app import USERNAME, IssuerApp, granted, migrated_sqlite
from harness.limits import HOME, WRONG, attempt, elsewhere, limits, log_in, statuses, wait_of
from harness.processes import until
from harness.redis_server import RedisServer
from werkzeug.test import TestResponse

from issuer.limits.digests import Digests
from issuer.limits.errors import LimitsUnavailable
from issuer.limits.known_networks import KNOWN_FOR, MOST_KNOWN
from issuer.limits.redis_counts import RedisCounts
from issuer.limits.storage import SharedStorage

Make = Callable[..., IssuerApp]
on_one_redis = pytest.mark.parametrize("stack", ["sqlite-redis"], indirect=True)
FIVE = "5 per minute"


@on_one_redis
def test_two_issuers_share_the_counts(make_issuer: Make) -> None:
    """An attacker gains nothing by asking another issuer; nor does the owner lose a known place."""
    first, second = (make_issuer(limits=limits(guesses_account=FIVE)) for _ in range(2))
    assert log_in(first).status_code == 200
    answers = [attempt((first, second)[n % 2], elsewhere(n)) for n in range(8)]
    assert statuses(answers) == [400] * 5 + [429] * 3
    assert log_in(second).status_code == 200


@pytest.mark.usefixtures("unhurried")
@on_one_redis
def test_a_hundred_guesses_at_once_are_not_a_hundred_guesses(
    make_issuer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them begin before one has failed: even the right one among the last is refused."""
    given = limits(guesses_account_network=FIVE)
    # Threads enough that the queue of hashes turns nobody away.
    one, other = (make_issuer(limits=given, threads=128) for _ in range(2))
    for issuer in (one, other):
        _let_all_begin_first(issuer, monkeypatch, others=30)
    with ThreadPoolExecutor(32) as pool:
        guesses = [pool.submit(attempt, (one, other)[n % 2], HOME) for n in range(30)]
        right = pool.submit(log_in, one)
        answers = [guess.result() for guess in guesses]
        assert wait_of(right.result()) <= 60
    assert statuses(answers).count(400) == 5
    assert set(statuses(answers)) == {400, 429}


def _let_all_begin_first(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch, *, others: int
) -> None:
    """Judge the right password after all wrong ones have been."""
    real = issuer.services.accounts.authenticate
    counts = issuer.services.limits.storage

    def authenticate(username: str, password: str, *more: str) -> object:
        try:
            return real(username, password, *more)
        finally:
            if password != WRONG:
                until_counted(counts, others)

    monkeypatch.setattr(issuer.services.accounts, "authenticate", authenticate)


def until_counted(storage: SharedStorage, number: int) -> None:
    """Wait for so many failures, which a real client's slow network would do as well."""
    assert isinstance(storage.shared, RedisCounts)
    client = storage.shared.storage
    for _ in until(30, "the others to have been judged"):
        keys = list(client.scan_iter("*:limits:LIMITER/guesses_account_network/*"))
        if keys and int(client.get(keys[0])) >= number:
            return


@on_one_redis
def test_redis_holds_no_name_and_no_address(
    make_issuer: Make, store_url: str, tmp_path: Path
) -> None:
    """Neither keys nor values do; and under another secret the same people have other keys."""
    digests = []
    for secret in ("secret of 22 letters !", "another of 22 letters!"):
        issuer = make_issuer(keys_secret=secret, namespace=secret[:1], keys_dir=tmp_path / secret)
        granted(log_in(issuer))
        for name in (USERNAME, "bob@example.org", "ALICE@example.org"):
            attempt(issuer, HOME, name)
            issuer.post("/password/forgot", {"username": name}, environ_base={"REMOTE_ADDR": HOME})
        issuer.post("/refresh", {"refresh_token": "x"}, environ_base={"REMOTE_ADDR": HOME})
        with redis.Redis.from_url(store_url) as client:
            keys = list(client.scan_iter(f"{secret[:1]}:limits:*"))
            held = b"\n".join([*keys, *(client.dump(key) or b"" for key in keys)]).lower()
            assert all(client.ttl(key) > 0 for key in keys), "each goes by itself"
        assert len(keys) > 20
        for told in ("alice", "bob", "example.org", "198.51", issuer.account.id.lower()):
            assert told.encode() not in held
        digests.append({digest for key in keys for digest in re.findall(rb"[0-9a-f]{32}", key)})
    first, second = digests
    assert first
    assert not first & second


def test_digests_do_not_run_into_each_other() -> None:
    """Where one part ends and the next begins is part of the digest; it has 128 bits."""
    of = Digests("secret").of
    assert len({of("ab", "c"), of("a", "bc"), of("abc"), of("", "abc"), of("abc", "")}) == 5
    assert len(of("a")) == 32
    assert of("a\ud800") != of("a"), "whatever JSON can carry"
    assert Digests("secret").of("a") == of("a") != Digests("other").of("a")


def test_counts_outlive_a_restart_and_are_not_missed_meanwhile(
    private_redis: RedisServer, tmp_path: Path
) -> None:
    """While Redis is away each process counts by itself: no free guess, no 500, no long wait."""
    database = migrated_sqlite(tmp_path / "issuer.db")
    given = limits(guesses_account_network=FIVE, refreshes_session="50 per minute")
    with IssuerApp.build(
        f"sqlite:///{database}", private_redis.unix_url, tmp_path, limits=given
    ) as issuer:
        token = granted(log_in(issuer))["refresh_token"]
        assert statuses([attempt(issuer, HOME) for _ in range(3)]) == [400] * 3
        private_redis.client().execute_command("SAVE")
        private_redis.stop()
        begun = time.monotonic()
        away = statuses([attempt(issuer, HOME) for _ in range(8)])
        assert away == [400] * 5 + [429] * 3
        assert issuer.refresh(token).status_code == 503
        assert log_in(issuer, elsewhere(1)).status_code == 503, "a session needs Redis"
        assert statuses([attempt(issuer, elsewhere(1)) for _ in range(6)]) == [400] * 5 + [429]
        assert time.monotonic() - begun < 20
        private_redis.start()
        for _ in until(20, "the shared counts to be used again"):
            issuer.services.limits.storage.get("x")
            if time.monotonic() >= issuer.services.limits.storage._away_until:
                break
        answers: list[TestResponse] = []
        for _ in until(20, "two more tries of the five"):
            answers.append(attempt(issuer, HOME))
            if answers[-1].status_code == 429:
                break
        assert len(answers) <= 3 + 2


def test_a_redis_that_hangs_is_asked_once(
    private_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request waits for it; those of the next second, here a minute, do not."""
    monkeypatch.setattr("issuer.limits.storage.AWAY", 60.0)
    counts = RedisCounts(private_redis.unix_url, namespace="gatepass")
    storage = SharedStorage(shared=counts)
    assert storage.incr("x", 60) == 1
    private_redis.pause()
    asked: list[str] = []
    incr = counts.incr

    def noted(key: str, expiry: int, amount: int = 1) -> int:
        asked.append(key)
        return incr(key, expiry, amount)

    monkeypatch.setattr(counts, "incr", noted)
    assert [storage.incr("x", 60) for _ in range(10)] == list(range(1, 11))
    assert asked == ["x"]
    private_redis.resume()
    with pytest.raises(LimitsUnavailable):
        RedisCounts("unix:///nowhere/redis.sock", namespace="gatepass").get("x")
    storage.close()


def test_a_redis_that_only_counts_no_more_makes_no_guess_free(private_redis: RedisServer) -> None:
    """Full, it tells old counts and takes no new ones: those of this process count, too."""
    counts = RedisCounts(private_redis.unix_url, namespace="gatepass")
    storage = SharedStorage(shared=counts)
    assert storage.incr("x", 60) == 1
    private_redis.client().config_set("maxmemory", 1)
    for number in range(1, 4):
        assert storage.incr("x", 60) == number
        storage._away_until = 0.0  # a second has passed
        assert storage.get_many(["x", "y"]) == [number, 0]
        assert storage.get_expiry("x") > time.time() + 50
    storage.clear("x")
    assert storage.get("x") == 0
    storage.close()


KINDS = ["redis_url", "rediss", "cluster"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_address_counts(kind: str, request: pytest.FixtureRequest) -> None:
    """On each it counts, expires and remembers; Sentinel's client is that of the families."""
    if kind == "rediss":
        url = request.getfixturevalue("rediss_server").tls_url
    else:
        url = request.getfixturevalue("redis_cluster_url" if kind == "cluster" else kind)
    counts = RedisCounts(url, namespace=f"limits-{time.time_ns()}")
    keys = [f"LIMITER/some/{number}" for number in range(6)]
    for number, key in enumerate(keys):
        for _ in range(number):
            counts.incr(key, 60)
    assert counts.get_many(keys) == list(range(6))
    assert 59 < counts.get_expiry(keys[1]) - time.time() <= 60
    counts.clear(keys[5])
    assert counts.get(keys[5]) == 0
    for network in range(MOST_KNOWN + 1):
        counts.networks.remember("account", f"network-{network}")
    known = [counts.networks.is_known("account", f"network-{n}") for n in range(MOST_KNOWN + 1)]
    assert known == [False] + [True] * MOST_KNOWN
    name = f"{counts.key_prefix}:known:account"
    assert 0 < counts.storage.ttl(name) <= KNOWN_FOR
    counts.close()
