"""Remembered tokens: a signature is not checked again, and everything else is."""

from __future__ import annotations

import base64
import json
import threading
from collections import UserString
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest
from harness.local_issuer import ALWAYS_OLD, JTI, SID, LocalIssuer, freshen
from harness.remembering_gateway import LEEWAY, NOW, Gateway
from joserfc.jwk import ECKey
from redis import Redis

from gateway.token_cache import VerifiedToken
from revocation import (
    Entry,
    Kind,
    ReplicaStale,
    StalePolicy,
    TokenRevoked,
    open_denylist,
)
from tokens import (
    BadSignature,
    Expired,
    Malformed,
    NotYetValid,
    Recipient,
    TokenError,
    TooLarge,
    seal,
)

LATER = 4_000_000_000
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    made = Gateway(monkeypatch)
    yield made
    made.verifier.stop()


def test_a_token_seen_before_costs_no_signature(gateway: Gateway) -> None:
    """The second time there is one hash instead, and the claims are the same."""
    token = gateway.issuer.token()
    first = gateway.verify(token)
    assert gateway.verify(token[:9] + token[9:]) == first == gateway.issuer.claims()
    assert gateway.signatures == 1


def test_without_a_cache_every_signature_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cache_size=0` turns it off."""
    gateway = Gateway(monkeypatch, cache_size=0)
    token = gateway.issuer.token()
    assert gateway.verify(token) == gateway.verify(token)
    assert gateway.signatures == 2


@pytest.mark.parametrize("alg", ["ES256", "EdDSA"])
def test_nothing_that_differs_from_a_remembered_token_passes_for_it(
    gateway: Gateway, alg: str
) -> None:
    """Each altered character is refused, the first as the last: all of the token is its key."""
    token = gateway.issuer.token(alg)
    gateway.verify(token)
    for place, old in enumerate(token):
        new = "A" if old != "A" else "B"
        with pytest.raises(TokenError):
            gateway.verify(token[:place] + new + token[place + 1 :])
    assert gateway.verify(token)


def test_another_payload_under_a_remembered_signature_is_refused(gateway: Gateway) -> None:
    """Two tokens that share header and signature are two tokens."""
    token = gateway.issuer.token()
    gateway.verify(token)
    header, _, signature = token.split(".")
    payload = json.dumps({**gateway.issuer.claims().to_payload(), "sub": "admin"}).encode()
    forged = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
    with pytest.raises(BadSignature):
        gateway.verify(f"{header}.{forged}.{signature}")
    assert gateway.verify(token).sub == "somebody"


@pytest.mark.parametrize(
    "variant",
    [
        lambda token: token + "=",
        lambda token: token + "\n",
        lambda token: " " + token,
        lambda token: token + ".",
        lambda token: token + "." + token,
        lambda token: token.replace(".", "=.", 1),
        lambda token: token[:-1] + chr(ord(token[-1]) + 1),  # unused bits of the last character
        lambda token: token + "é",
        lambda token: token[:-1] + "\ud800",
        lambda token: token * 200,
        str.encode,
        UserString,
    ],
)
def test_other_spellings_of_a_remembered_token_are_refused(
    gateway: Gateway, variant: Callable[[str], Any]
) -> None:
    """What strict reading refuses is not let in by way of the cache, and raises as ever."""
    token = gateway.issuer.token()
    gateway.verify(token)
    with pytest.raises((Malformed, TooLarge)):
        gateway.verify(variant(token))


def test_the_other_signature_of_an_ecdsa_token_is_revoked_with_it(gateway: Gateway) -> None:
    """(R, N - S) verifies as (R, S) does: another text, the same `jti` on the denylist."""
    token = gateway.issuer.token()
    gateway.verify(token)
    signed, _, last = token.rpartition(".")
    raw = base64.urlsafe_b64decode(last + "==")
    other = P256_ORDER - int.from_bytes(raw[32:], "big")
    twin = base64.urlsafe_b64encode(raw[:32] + other.to_bytes(32, "big")).rstrip(b"=").decode()
    assert gateway.verify(f"{signed}.{twin}") == gateway.verify(token)
    assert gateway.signatures == 2
    gateway.revoke(Entry.token(JTI, LATER))
    for text in (token, f"{signed}.{twin}"):
        with pytest.raises(TokenRevoked):
            gateway.verify(text)


ENTRIES = {
    Kind.TOKEN: lambda _kid: Entry.token(JTI, LATER),
    Kind.SESSION: lambda _kid: Entry.session(SID, LATER),
    Kind.SUBJECT: lambda _kid: Entry.subject("somebody", 4, LATER),
    Kind.KEY: Entry.key,
    Kind.CLIENT: lambda _kid: Entry.client("app", NOW, LATER),
    Kind.EPOCH: lambda _kid: Entry.epoch("E" * 21 + "A", NOW),
}


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("sealed", [False, True], ids=["signed", "sealed"])
def test_a_remembered_token_is_refused_once_it_is_revoked(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, sealed: bool
) -> None:
    """By every kind of entry, in the very next check, and for as long as it is looked at."""
    recipient = Recipient.from_jwk(ECKey.generate_key("P-256", {"kid": "k1"}).as_dict(private=True))
    gateway = Gateway(monkeypatch, recipients={"k1": recipient})
    token = gateway.issuer.token()
    if sealed:
        token = seal(token, recipient)
    for _ in range(3):
        gateway.verify(token)
    assert gateway.signatures == 1
    gateway.revoke(ENTRIES[kind](gateway.issuer.key.kid))
    for _ in range(3):
        with pytest.raises(TokenRevoked) as refusal:
            gateway.verify(token)
        assert refusal.value.kind == kind
    assert gateway.signatures == 1


def test_a_remembered_token_is_refused_in_a_new_epoch(redis_url: str) -> None:
    """A new epoch has a new salt: what refused before still does, and so does what is added."""
    issuer = LocalIssuer()
    denylist = open_denylist(redis_url)
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    verifier = issuer.verifier(denylist, max_staleness=600)
    freshen(denylist, verifier.replica)
    ann, bob = (issuer.token(sub=name) for name in ("ann", "bob"))
    denylist.add([Entry.subject("ann", 4, LATER)])
    verifier.replica.step(block=1)
    assert verifier.verify(bob)
    with Redis.from_url(redis_url) as client:
        client.flushall()
    denylist.initialise(watermark=0)
    denylist.add([Entry.subject("bob", 4, LATER)])
    denylist.mark_ready()
    verifier.replica.step(block=0.01)
    freshen(denylist, verifier.replica)
    for token in (ann, bob):
        with pytest.raises(TokenRevoked):
            verifier.verify(token)
    verifier.stop()


def test_a_remembered_token_follows_the_policy_of_a_stale_replica(redis_url: str) -> None:
    """Past `max_staleness`: 503, one question to the denylist, or the copy, remembered or not."""
    issuer = LocalIssuer()
    denylist = open_denylist(redis_url)
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    verifier = issuer.verifier(denylist, **ALWAYS_OLD)
    freshen(denylist, verifier.replica)
    token = issuer.token()
    for _ in range(2):
        assert verifier.verify(token, StalePolicy.OPEN)
        assert verifier.verify(token, StalePolicy.ASK)
        with pytest.raises(ReplicaStale):
            verifier.verify(token)
    denylist.add([Entry.session(SID, LATER)])
    assert verifier.verify(token, StalePolicy.OPEN)
    with pytest.raises(TokenRevoked):
        verifier.verify(token, StalePolicy.ASK)
    verifier.stop()


@pytest.mark.parametrize("leeway", [0, LEEWAY])
def test_a_remembered_token_expires_at_its_second(
    monkeypatch: pytest.MonkeyPatch, leeway: int
) -> None:
    """Good one second before `exp` plus leeway, refused on it and after it."""
    gateway = Gateway(monkeypatch)
    gateway.verifier.stop()
    gateway.verifier = gateway.issuer.verifier(
        gateway.denylist, clock=gateway.clock, leeway=leeway, max_staleness=600
    )
    freshen(gateway.denylist, gateway.verifier.replica)
    token = gateway.issuer.token()
    end = gateway.issuer.claims().exp + leeway
    gateway.verify(token)
    for now in (end - 1, end - 0.001):
        gateway.clock.now = now
        assert gateway.verify(token)
    for now in (end, end + 1, end + 3600):
        gateway.clock.now = now
        with pytest.raises(Expired):
            gateway.verify(token)


@pytest.mark.parametrize("claim", ["iat", "auth_time", "nbf"])
def test_a_clock_that_is_put_back_makes_a_remembered_token_one_of_the_future(
    gateway: Gateway, claim: str
) -> None:
    """What the first look refuses, a later one refuses too."""
    changes: dict[str, Any] = {
        "iat": {},
        "auth_time": {"auth_time": NOW + LEEWAY},
        "nbf": {"extra": {"nbf": NOW + LEEWAY}},
    }[claim]
    token = gateway.issuer.token(**changes)
    gateway.verify(token)
    gateway.clock.now = NOW - LEEWAY if claim == "iat" else NOW
    assert gateway.verify(token)
    gateway.clock.now -= 1
    with pytest.raises(TokenError) as refusal:
        gateway.verify(token)
    assert isinstance(refusal.value, NotYetValid) or claim == "auth_time"


def test_callers_cannot_change_what_others_get(gateway: Gateway) -> None:
    """Private claims of JSON's mutable kinds are each caller's own, from the first time on."""
    token = gateway.issuer.token(extra={"rights": {"admin": False}, "list": [1]})
    for _ in range(3):
        claims = gateway.verify(token)
        assert claims.extra == {"rights": {"admin": False}, "list": [1]}
        claims.extra["rights"]["admin"] = True
        claims.extra["list"].append(2)
        with pytest.raises(TypeError):
            claims.extra["new"] = 1


def test_its_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tokens come, it holds about as many as it was told; what is in use stays."""
    gateway = Gateway(monkeypatch, cache_size=20)
    used = gateway.issuer.token()
    gateway.verify(used)
    for number in range(200):
        gateway.verify(gateway.issuer.token(sub=f"person-{number}"))
        if number % 5 == 0:
            gateway.verify(used)
    assert gateway.verifier._cache is not None
    assert gateway.verifier._cache.held <= 20
    assert gateway.signatures == 201


def test_the_tokens_themselves_are_not_kept(gateway: Gateway) -> None:
    """A dump of a gateway's memory holds no credential that the cache kept."""
    token = gateway.issuer.token()
    gateway.verify(token)
    cache = gateway.verifier._cache
    assert cache is not None
    assert len(cache) == 1
    for digest, verified in cache.items():
        assert len(digest) == 32
        held = repr([digest, *(getattr(verified, name) for name in ("claims", "kid", "key"))])
        assert token.rpartition(".")[2] not in held
        assert token.split(".")[1] not in held


def test_many_threads_at_once_get_their_own_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small cache that changes generations all the time mixes nobody up with anybody else."""
    gateway = Gateway(monkeypatch, cache_size=8)
    tokens = {f"p{n}": gateway.issuer.token(sub=f"p{n}") for n in range(24)}
    revoked = "p7"
    gateway.verify(tokens[revoked])
    gateway.revoke(Entry.subject(revoked, 4, LATER))
    barrier = threading.Barrier(8)

    def work(offset: int) -> int:
        barrier.wait(10)
        refused = 0
        for number in range(300):
            name = f"p{(number * (offset + 1)) % 24}"
            try:
                assert gateway.verify(tokens[name]).sub == name != revoked
            except TokenRevoked:
                assert name == revoked
                refused += 1
        return refused

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) > 0
    assert gateway.verifier._cache is not None
    assert gateway.verifier._cache.held <= 8 + 8


# --- mutants -------------------------------------------------------------------------------------


def _of_prefix(token: bytes) -> Any:
    return sha256(token[:300])


def _of_signature(token: bytes) -> Any:
    return sha256(token.rpartition(b".")[2])


@pytest.mark.parametrize("mutant", [_of_prefix, _of_signature])
def test_a_cache_with_too_short_a_key_is_caught(
    monkeypatch: pytest.MonkeyPatch, mutant: Callable[[bytes], Any]
) -> None:
    """The tests of altered and shared parts fail for a key that leaves something out."""
    monkeypatch.setattr("gateway.verifier.sha256", mutant)
    gateway = Gateway(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test_nothing_that_differs_from_a_remembered_token_passes_for_it(gateway, "ES256")


class _ForEver(VerifiedToken):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.holds_until += 1


def test_a_cache_that_forgives_a_second_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the boundary fails for a token that is remembered a second too long."""
    monkeypatch.setattr("gateway.verifier.VerifiedToken", _ForEver)
    with pytest.raises(pytest.fail.Exception):
        test_a_remembered_token_expires_at_its_second(monkeypatch, LEEWAY)


def test_the_smallest_cache_remembers_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A size of one is a size."""
    gateway = Gateway(monkeypatch, cache_size=1)
    token = gateway.issuer.token()
    assert gateway.verify(token) == gateway.verify(token)
    assert gateway.signatures == 1
