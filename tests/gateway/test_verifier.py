"""A gateway's verifier: keys, claims and denylist together, and what it answers in HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from harness.local_issuer import ALWAYS_OLD
from joserfc.jwk import ECKey

from gateway import (
    InsufficientScope,
    KeysUnavailable,
    Refusable,
    RequestRefused,
    TokenRequired,
    Verifier,
    refusal_of,
)
from gateway.example_api import example_api
from gateway.fetching import Fetched
from keys import KeyRing, RotationPolicy, rotate
from revocation import (
    Denylist,
    DenylistUnavailable,
    Entry,
    Replica,
    ReplicaStale,
    StalePolicy,
    TokenRevoked,
    open_denylist,
)
from tokens import AccessClaims, BadSignature, Expired, Recipient, seal, sign

ISSUER = "https://id.example"
NOW = int(time.time())
RING = rotate(KeyRing(), NOW, RotationPolicy())
KEY = RING.active("ES256")
LATER = NOW + 86_400
CLAIMS = AccessClaims(
    iss=ISSUER,
    sub="somebody",
    aud=("orders",),
    client_id="app",
    iat=NOW,
    exp=NOW + 3_600,
    jti="A" * 21 + "A",
    sid="B" * 21 + "A",
    auth_time=NOW,
    sub_ver=3,
    amr=("pwd",),
    scope="read",
)
TOKEN = sign(CLAIMS, KEY)
OTHER = sign(replace(CLAIMS, jti="C" * 21 + "A", sid="D" * 21 + "A", sub="else"), KEY)


def fetch(url: str) -> Fetched:
    documents: dict[str, Any] = {
        f"{ISSUER}/.well-known/oauth-authorization-server": {
            "issuer": ISSUER,
            "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
        },
        f"{ISSUER}/.well-known/jwks.json": RING.jwks(),
    }
    return Fetched(documents[url], 300)


@pytest.fixture
def denylist(redis_url: str) -> Iterator[Denylist]:
    """A denylist on a real Redis, ready."""
    opened = open_denylist(redis_url)
    opened.initialise(watermark=0)
    opened.mark_ready()
    yield opened
    opened.close()


@pytest.fixture
def verifier(denylist: Denylist) -> Verifier:
    """A verifier whose replica is stepped by the test."""
    made = Verifier(issuer=ISSUER, audience="orders", denylist=denylist, fetch=fetch)
    freshen(denylist, made.replica)
    return made


def freshen(denylist: Denylist, replica: Replica) -> None:
    """Bring a replica in step: a snapshot if it has none, then news with a heartbeat."""
    replica.step(block=0.01)
    denylist.heartbeat(0)
    replica.step(block=1)


def test_a_valid_token_gives_its_claims(verifier: Verifier) -> None:
    """Signature, claims and denylist are all satisfied."""
    assert verifier.verify(TOKEN) == CLAIMS
    assert verifier.verify_header(f"Bearer {TOKEN}") == CLAIMS
    assert verifier.verify_header(f"bearer  {TOKEN} ") == CLAIMS


@pytest.mark.parametrize(
    ("entry", "others_too"),
    [
        (Entry.token(CLAIMS.jti, LATER), False),
        (Entry.session(CLAIMS.sid, LATER), False),
        (Entry.subject(CLAIMS.sub, 4, LATER), False),
        (Entry.key(KEY.kid), True),
        (Entry.client("app", NOW, LATER), True),
        (Entry.client("orders", NOW, LATER), True),
        (Entry.epoch("E" * 21 + "A", NOW), True),
    ],
    ids=["token", "session", "subject", "key", "client", "audience", "epoch"],
)
def test_each_kind_of_entry_refuses_what_it_should(
    verifier: Verifier, denylist: Denylist, entry: Entry, others_too: bool
) -> None:
    """The entry's token is refused with its kind; another person's goes on unless it is hit too."""
    denylist.add([entry])
    verifier.replica.step(block=1)
    with pytest.raises(TokenRevoked) as refusal:
        verifier.verify(TOKEN)
    assert refusal.value.kind == entry.kind
    if others_too:
        with pytest.raises(TokenRevoked):
            verifier.verify(OTHER)
    else:
        assert verifier.verify(OTHER).sub == "else"


def test_a_newer_version_of_the_subject_passes(verifier: Verifier, denylist: Denylist) -> None:
    """A token of exactly the least version lives; no clock takes part."""
    denylist.add([Entry.subject(CLAIMS.sub, CLAIMS.sub_ver, LATER)])
    verifier.replica.step(block=1)
    assert verifier.verify(TOKEN) == CLAIMS


def test_a_replica_without_a_copy_refuses_under_every_policy(denylist: Denylist) -> None:
    """Before the first snapshot nothing can be said of a token."""
    fresh = Verifier(issuer=ISSUER, audience="orders", denylist=denylist, fetch=fetch)
    for policy in StalePolicy:
        with pytest.raises(ReplicaStale):
            fresh.verify(TOKEN, policy)


def test_a_verifier_that_nobody_started_says_so_once(
    denylist: Denylist, caplog: pytest.LogCaptureFixture
) -> None:
    """A forgotten start() looks like an outage from outside; the log tells it from one."""
    idle = Verifier(issuer=ISSUER, audience="orders", denylist=denylist, fetch=fetch)
    for _ in range(2):
        with pytest.raises(ReplicaStale):
            idle.verify(TOKEN)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "call start()" in caplog.text


def test_an_old_copy_follows_the_policy(redis_url: str) -> None:
    """Past `max_staleness`: refuse, ask the denylist itself, or go by the copy."""
    denylist = open_denylist(redis_url)
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    verifier = Verifier(
        issuer=ISSUER, audience="orders", denylist=denylist, fetch=fetch, **ALWAYS_OLD
    )
    freshen(denylist, verifier.replica)
    with pytest.raises(ReplicaStale):
        verifier.verify(TOKEN)
    assert verifier.verify(TOKEN, StalePolicy.OPEN) == CLAIMS
    assert verifier.verify(TOKEN, StalePolicy.ASK) == CLAIMS
    denylist.add([Entry.session(CLAIMS.sid, LATER)])
    assert verifier.verify(TOKEN, StalePolicy.OPEN) == CLAIMS
    with pytest.raises(TokenRevoked):
        verifier.verify(TOKEN, StalePolicy.ASK)
    denylist.close()


def test_it_follows_by_itself_once_started(denylist: Denylist) -> None:
    """As a context manager it brings itself in step and sees a revocation without being asked."""
    verifier = Verifier(
        issuer=ISSUER, audience="orders", denylist=denylist, fetch=fetch, heartbeat_interval=0.1
    )
    with verifier:
        deadline = time.monotonic() + 30
        while not verifier.replica.wait_in_step(0.05):
            denylist.heartbeat(0)
            assert time.monotonic() < deadline
        assert verifier.verify(TOKEN) == CLAIMS
        denylist.add([Entry.session(CLAIMS.sid, LATER)])

        def verify_until_refused() -> None:
            while time.monotonic() < deadline:
                denylist.heartbeat(0)
                verifier.verify(TOKEN)

        with pytest.raises(TokenRevoked):
            verify_until_refused()


def test_sealed_tokens_pass_with_the_audiences_key(denylist: Denylist) -> None:
    """The verifier of an audience with a key opens what was sealed for it."""
    jwk = ECKey.generate_key("P-256", {"kid": "k1"}).as_dict(private=True)
    recipient = Recipient.from_jwk(jwk)
    verifier = Verifier(
        issuer=ISSUER,
        audience="orders",
        denylist=denylist,
        fetch=fetch,
        recipients={"k1": recipient},
    )
    freshen(denylist, verifier.replica)
    assert verifier.verify(seal(TOKEN, recipient)) == CLAIMS


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", f"Token {TOKEN}"])
def test_a_request_without_a_bearer_token_is_told_so(
    verifier: Verifier, header: str | None
) -> None:
    """No token is another matter than a bad one."""
    with pytest.raises(TokenRequired):
        verifier.verify_header(header)


@pytest.mark.parametrize(
    "headers",
    [
        [f"Bearer {TOKEN}", f"Bearer {OTHER}"],
        [f"Bearer {TOKEN}", f"Bearer {TOKEN}"],
        [f"Bearer {TOKEN}", "Basic YTpi"],
        f"Bearer {TOKEN},Bearer {OTHER}",
        f"Bearer {TOKEN}, Basic YTpi",
    ],
)
def test_a_request_with_two_credentials_is_refused(
    verifier: Verifier, headers: str | list[str]
) -> None:
    """Whoever else reads the request might go by the other one (RFC 6750 section 3.1)."""
    with pytest.raises(RequestRefused):
        verifier.verify_header(headers)


def test_one_header_may_come_as_a_list(verifier: Verifier) -> None:
    """As servers hand headers on; an empty list is a request without one."""
    assert verifier.verify_header([f"Bearer {TOKEN}"]) == CLAIMS
    with pytest.raises(TokenRequired):
        verifier.verify_header([])


def test_a_leeway_beyond_what_entries_outlive_is_refused(denylist: Denylist) -> None:
    """A gateway more lenient than that would take revoked tokens again."""
    with pytest.raises(ValueError, match="leeway"):
        Verifier(issuer=ISSUER, audience="orders", denylist=denylist, leeway=120)


@pytest.mark.parametrize(
    ("error", "status", "challenge"),
    [
        (TokenRequired("no token"), "401 Unauthorized", "Bearer"),
        (
            BadSignature("no"),
            "401 Unauthorized",
            'Bearer error="invalid_token", error_description="invalid token"',
        ),
        (
            Expired(1, 2.0),
            "401 Unauthorized",
            'Bearer error="invalid_token", error_description="the token has expired"',
        ),
        (
            RequestRefused("two of them"),
            "400 Bad Request",
            'Bearer error="invalid_request", error_description="two of them"',
        ),
        (
            InsufficientScope(frozenset({"write", "read"})),
            "403 Forbidden",
            'Bearer error="insufficient_scope",'
            ' error_description="the token does not allow this", scope="read write"',
        ),
        (
            InsufficientScope(frozenset()),
            "403 Forbidden",
            'Bearer error="insufficient_scope", error_description="the token does not allow this"',
        ),
        (
            TokenRevoked("session"),
            "401 Unauthorized",
            'Bearer error="invalid_token", error_description="the token has been revoked"',
        ),
        (ReplicaStale(9.0, 5.0), "503 Service Unavailable", None),
        (DenylistUnavailable("down"), "503 Service Unavailable", None),
        (KeysUnavailable("down"), "503 Service Unavailable", None),
    ],
)
def test_each_refusal_has_its_answer(error: Exception, status: str, challenge: str | None) -> None:
    """401 with a challenge for the token's fault, 503 with Retry-After for ours (RFC 6750)."""
    assert isinstance(error, Refusable)
    refusal = refusal_of(error)
    headers = dict(refusal.headers)
    assert refusal.status == status
    assert headers.get("WWW-Authenticate") == challenge
    assert ("Retry-After" in headers) == (challenge is None)
    assert set(json.loads(refusal.body)) == {"error", "error_description"}


def call(application: Callable[..., Any], authorization: str | None) -> tuple[str, dict[str, Any]]:
    """One request to a WSGI application: status and JSON body."""
    seen: list[str] = []
    environ = {} if authorization is None else {"HTTP_AUTHORIZATION": authorization}
    body = b"".join(application(environ, lambda status, _headers: seen.append(status)))
    return seen[0], json.loads(body)


def test_the_example_api_tells_what_the_token_says(verifier: Verifier, denylist: Denylist) -> None:
    """A valid token is answered with its claims, a revoked one with 401."""
    api = example_api(verifier)
    status, body = call(api, f"Bearer {TOKEN}")
    assert (status, body["sub"], body["sid"]) == ("200 OK", CLAIMS.sub, CLAIMS.sid)
    assert call(api, None)[0] == "401 Unauthorized"
    denylist.add([Entry.token(CLAIMS.jti, LATER)])
    verifier.replica.step(block=1)
    status, body = call(api, f"Bearer {TOKEN}")
    assert (status, body["error"]) == ("401 Unauthorized", "invalid_token")
