"""Gateways that check tokens themselves, kept in step by an agent, beside a real issuer."""

from __future__ import annotations

import hmac
import http.client
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from harness.echo_backend import EchoBackend
from harness.gatepass_command import Gatepass
from harness.issuer_app import NEW_PASSWORD, PASSWORD, USERNAME, claims_of, migrated_sqlite
from harness.jose_oracle import b64u, unb64u
from harness.native_gateways import GATEWAYS, MAX_STALENESS, Agent, Haproxy, guarded
from harness.processes import short_directory, until
from harness.redis_server import RedisServer
from harness.served_issuer import ServedIssuer
from harness.web import Answer

from keys import DirectoryStore, Key, KeyState
from revocation import Denylist, Entry, open_denylist


@dataclass(frozen=True)
class Deployment:
    """An issuer, its Redis, a backend, and a gateway with its agent."""

    issuer: ServedIssuer
    redis: RedisServer
    backend: EchoBackend
    gateway: Any
    agent: Agent
    denylist: Denylist

    def login(self) -> dict[str, Any]:
        """A new login's tokens."""
        return self.issuer.site.login(USERNAME, PASSWORD).granted()

    def token(self) -> str:
        """An access token of a new login."""
        return str(self.login()["access_token"])

    def key(self) -> Key:
        """The key that the issuer signs with."""
        store = DirectoryStore(self.issuer.directory / "keys", None, development=True)
        return store.load().active("ES256")

    def pending(self) -> Key | None:
        """A key that the issuer will sign with."""
        ring = DirectoryStore(self.issuer.directory / "keys", None, development=True).load()
        return next((k for k in ring.keys if k.state is KeyState.PENDING and k.public), None)

    def forged(
        self,
        *,
        headers: dict[str, Any] | None = None,
        signed_by: Key | None = None,
        **changes: Any,
    ) -> str:
        """A token that the issuer could have signed, but for these changes; None takes one out."""
        now = int(time.time())
        claims = {**claims_of(self.token()), "iat": now, "exp": now + 60, **changes}
        given = {name: value for name, value in claims.items() if value is not None}
        key = signed_by or self.key()
        header = {"typ": "at+jwt", "kid": key.kid, **(headers or {})}
        return jwt.encode(given, key.private, algorithm="ES256", headers=header)  # type: ignore[arg-type]

    def ask(self, token: str | None, path: str = "/", **options: Any) -> Answer:
        """One request, again where the gateway cannot tell: a new key makes HAProxy reload."""
        for _ in until(15, "another answer than 503"):
            answer: Answer = self.gateway.ask(token, path, **options)
            if answer.status != 503:
                return answer
        raise AssertionError("unreachable")

    def send(self, path: str, headers: list[tuple[str, str]]) -> int:
        """The status of a request with just these headers, in this order; again after a 503."""
        for _ in until(15, "another answer than 503"):
            connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=30)
            connection.putrequest("GET", path)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders()
            status = connection.getresponse().status
            connection.close()
            if status != 503:
                return status
        raise AssertionError("unreachable")

    def waits_for(self, status: int, token: str, timeout: float = 15.0) -> Answer:
        """Ask with a token until the answer has this status."""
        for _ in until(timeout, f"an answer of {status}"):
            answer = self.gateway.ask(token)
            if answer.status == status:
                return answer
        raise AssertionError("unreachable")


@pytest.fixture(scope="module", params=sorted(GATEWAYS))
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """All of it, running and in step."""
    directory = short_directory("gp-native-")
    with RedisServer() as redis, EchoBackend() as backend:
        issuer = ServedIssuer(
            directory,
            f"sqlite:///{migrated_sqlite(directory / 'issuer.db')}",
            redis.unix_url,
            clients={
                "demo": {"audience": "api", "scopes": ["orders:read", "orders:write"]},
                "other": {"audience": "other-api"},
            },
            workers=1,
        )
        issuer.add_account()
        denylist = open_denylist(redis.unix_url)
        with (
            issuer,
            guarded(request.param, directory / "gw", issuer.url, redis.unix_url, backend.port) as (
                gateway,
                agent,
            ),
        ):
            yield Deployment(issuer, redis, backend, gateway, agent, denylist)
        denylist.close()
    shutil.rmtree(directory)


def until_expiry() -> int:
    """An expiry that outlives every token of these tests."""
    return int(time.time()) + 600


# --- what passes, and what the backend is told --------------------------------------------------


def test_a_valid_token_passes_with_what_it_says(deployment: Deployment) -> None:
    """The backend is told the caller's claims, and `traceparent` goes through unchanged."""
    token = deployment.token()
    claims = claims_of(token)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = deployment.ask(token, "/a?b=c", headers={"traceparent": trace})
    assert answer.status == 200
    seen = deployment.backend.seen[-1]
    assert seen.path == "/a?b=c"
    assert seen.all("traceparent") == [trace]
    assert seen.all("x-gatepass-subject") == [claims["sub"]]
    assert seen.all("x-gatepass-session") == [claims["sid"]]
    assert seen.all("x-gatepass-client") == ["demo"]
    assert seen.all("x-gatepass-scope") == [claims["scope"]]
    assert seen.all("x-gatepass-token-id") == [claims["jti"]]
    assert seen.all("x-gatepass-expires") == [str(claims["exp"])]


def test_what_is_no_plain_text_is_encoded(deployment: Deployment) -> None:
    """Names and roles of any characters reach the backend as gateway/identity.py writes them."""
    token = deployment.forged(sub="zoë, \r\nX-Evil: 1%", roles=["a b", "c,d"])
    assert deployment.ask(token).status == 200
    seen = deployment.backend.seen[-1]
    assert seen.all("x-gatepass-subject") == ["zo%C3%AB%2C%20%0D%0AX-Evil:%201%25"]
    assert seen.all("x-gatepass-roles") == ["a%20b,c%2Cd"]
    assert seen.all("x-evil") == []


def test_a_client_cannot_speak_for_the_gateway(deployment: Deployment) -> None:
    """Identity headers of the client's own are gone, whatever their spelling and number."""
    forged = [
        ("X-Gatepass-Subject", "admin"),
        ("x-gatepass-subject", "root"),
        ("X_Gatepass_Subject", "admin"),
        ("x_gatepass-roles", "admin"),
        ("X-GATEPASS_ROLES", "admin"),
        ("X-Gatepass-Anything", "admin"),
    ]
    token = deployment.token()
    for path, sent in (("/", token), ("/public/", None)):
        bearer = [("Authorization", f"Bearer {sent}")] if sent else []
        assert deployment.send(path, [*forged, *bearer]) == 200
        seen = deployment.backend.seen[-1]
        assert seen.path == path
        subject = [claims_of(token)["sub"]] if sent else []
        assert seen.all("x-gatepass-subject") == subject
        assert "admin" not in str(seen.headers)
        assert "root" not in str(seen.headers)


@pytest.mark.parametrize(
    "path",
    [
        "/%6frders/1",
        "/%6Frders/%zz",
        "/orders/%zz",
        "/orders;a=b/1",
        "/public/..;/orders/1",
        "/public/..\\orders/1",
        "/public\\..\\orders/1",
    ],
)
def test_no_spelling_of_a_path_leads_past_its_scope(deployment: Deployment, path: str) -> None:
    """Escapes, semicolons and backslashes that a backend undoes do not change what is asked."""
    token, seen = deployment.forged(scope="orders:write"), len(deployment.backend.seen)
    assert deployment.ask(token, "/").status == 200
    for headers in ([("Authorization", f"Bearer {token}")], []):
        assert deployment.send(path, headers) in {400, 401, 403}
    assert len(deployment.backend.seen) == seen + 1


def test_a_route_asks_for_a_scope(deployment: Deployment) -> None:
    """403 with the scope that is missing (RFC 6750 section 3.1); a part of a scope is none."""
    enough = deployment.forged(scope="orders:write orders:read")
    assert deployment.ask(enough, "/orders/1").status == 200
    for scope in ("", "orders:write", "orders:reader", "my-orders:read"):
        answer = deployment.ask(deployment.forged(scope=scope), "/orders/1")
        assert answer.status == 403
        assert answer.headers["www-authenticate"] == (
            'Bearer error="insufficient_scope", scope="orders:read"'
        )


@pytest.mark.parametrize(
    "path", ["/public/../orders/1", "/public/%2e%2e/orders/1", "/public/%2F..%2Forders/1"]
)
def test_no_spelling_of_a_path_opens_another(deployment: Deployment, path: str) -> None:
    """What is asked of a route is asked of each path that the backend may take for it."""
    assert deployment.send(path, []) in (400, 401)


# --- what is refused ----------------------------------------------------------------------------


def refused(answer: Answer) -> None:
    """The one answer to every token that is worth nothing."""
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_no_token_is_asked_for(deployment: Deployment) -> None:
    """Without a bearer token the challenge names no error (RFC 6750 section 3.1)."""
    for headers in ({}, {"Authorization": "Basic YTpi"}):
        answer = deployment.ask(None, headers=headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    token = deployment.token()
    assert deployment.ask(None, f"/?access_token={token}").status == 401


WRONG_CLAIMS = {
    "expired": {"iat": -400, "exp": -100},
    "expired by the leeway exactly": {"iat": -100, "exp": -10},
    "from the future": {"iat": 60, "exp": 120},
    "not valid yet": {"nbf": 60},
    "living for too long": {"exp": 3601},
    "without an end": {"exp": None},
    "of a text for a number": {"exp": "9999999999"},
    "another issuer's": {"iss": "https://id.example"},
    "another audience's": {"aud": "other-api"},
    "of other audiences": {"aud": ["x", "y"]},
    "for nobody": {"aud": []},
    "without a subject": {"sub": None},
    "of an empty subject": {"sub": ""},
    "without a client": {"client_id": None},
    "without an id": {"jti": None},
    "of a short id": {"jti": "abc"},
    "without a session": {"sid": None},
    "without a version": {"sub_ver": None},
    "of a negative version": {"sub_ver": -1},
    "of a strange scope": {"scope": 'a"b'},
}


@pytest.mark.parametrize("why", WRONG_CLAIMS)
def test_wrong_claims_are_refused(deployment: Deployment, why: str) -> None:
    """A signature by the right key is not enough."""
    changes: dict[str, Any] = dict(WRONG_CLAIMS[why])
    now = int(time.time())
    for name in ("iat", "exp", "nbf"):
        if isinstance(changes.get(name), int):
            changes[name] += now
    refused(deployment.ask(deployment.forged(**changes)))


def test_claims_at_the_limit_pass(deployment: Deployment) -> None:
    """A list of audiences with ours, a spent lifetime within the leeway, the longest lifetime."""
    now = int(time.time())
    for changes in (
        {"aud": ["other-api", "api"]},
        {"iat": now - 100, "exp": now - 5},
        {"exp": now + 3590},
        {"iat": now + 5},
        {"nbf": now + 5},
    ):
        assert deployment.ask(deployment.forged(**changes)).status == 200, changes


@pytest.mark.parametrize(
    "headers",
    [
        {"typ": "JWT"},
        {"typ": None},
        {"typ": "dpop+jwt"},
        {"kid": "unknown"},
        {"kid": "../../../etc/passwd"},
        {"crit": ["b64"], "b64": True},
        {"jku": "https://evil.example/jwks.json"},
        {"jwk": {"kty": "oct", "k": "AA"}},
        {"zip": "DEF"},
    ],
    ids=str,
)
def test_wrong_headers_are_refused(deployment: Deployment, headers: dict[str, Any]) -> None:
    """Another type (RFC 8725 section 3.11), no such key, and whatever could steer a verifier."""
    refused(deployment.ask(deployment.forged(headers=headers)))


def test_types_in_other_spellings_pass(deployment: Deployment) -> None:
    """RFC 9068 section 4 takes the long form; RFC 7515 section 4.1.9 ignores case."""
    for typ in ("AT+JWT", "application/at+jwt"):
        assert deployment.ask(deployment.forged(headers={"typ": typ})).status == 200


def test_forged_signatures_are_refused(deployment: Deployment) -> None:
    """Another key, no algorithm, a symmetric one under the public key, a changed byte."""
    token, key = deployment.token(), deployment.key()
    head, payload, signature = token.split(".")
    claims = claims_of(token)
    header = {"typ": "at+jwt", "kid": key.kid}
    stranger = ec.generate_private_key(ec.SECP256R1())
    assert key.public is not None
    pem = key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def with_mac(alg: str) -> str:
        named = b64u(json.dumps({**header, "alg": alg}).encode())
        return ".".join(
            [named, payload, b64u(hmac.digest(pem, f"{named}.{payload}".encode(), "sha256"))]
        )

    none = b64u(json.dumps({**header, "alg": "none"}).encode())
    changed = b64u(json.dumps({**claims, "sub": "admin"}).encode())
    r, s = (int.from_bytes(unb64u(signature)[at : at + 32], "big") for at in (0, 32))
    # The last of 86 characters holds two bits: the next one spells the same bytes.
    respelled = signature[:-1] + chr(ord(signature[-1]) + 1)
    for forged in (
        jwt.encode(claims, stranger, algorithm="ES256", headers=header),
        f"{none}.{payload}.",
        f"{none}.{payload}.{signature}",
        with_mac("HS256"),
        with_mac("ES256"),
        f"{head}.{changed}.{signature}",
        f"{head}.{payload}.",
        f"{head}.{payload}",
        f"{head}.{payload}.{signature}.x",
        f"{head}.{payload}.{signature[:-1]}",
        f"{head}.{payload}.{b64u(encode_dss_signature(r, s))}",
        f"{head}.{payload}.{b64u(bytes(64))}",
        f"{head}.{payload}.{signature}=",
        f"{head}.{payload}.{respelled}",
        f"{head}.{payload}.{signature}" + "A" * 8192,
        "x",
    ):
        refused(deployment.ask(forged))
    assert deployment.ask(token).status == 200


def test_two_authorizations_are_refused(deployment: Deployment) -> None:
    """Which of them counts is not for a guess: not even the same one twice passes."""
    token = deployment.token()
    for second in (f"Bearer {token}", "Bearer x", "Basic YTpi"):
        for order in ((f"Bearer {token}", second), (second, f"Bearer {token}")):
            headers = [("Authorization", value) for value in order]
            assert deployment.send("/", headers) in (400, 401)


def test_a_payload_with_a_member_twice_is_refused(deployment: Deployment) -> None:
    """RFC 7519 section 4: which of the two counts is not for each reader to choose."""
    key, token = deployment.key(), deployment.token()
    payload = json.dumps(claims_of(token))
    head = token.split(".")[0]
    for text in (payload[:-1] + ', "sub": "admin"}', payload + "{}", payload + " x", "[]"):
        signed = f"{head}.{b64u(text.encode())}"
        der = key.private.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))  # type: ignore[union-attr, call-arg, arg-type]
        r, s = decode_dss_signature(der)
        refused(deployment.ask(f"{signed}.{b64u(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"))


# --- revocation ---------------------------------------------------------------------------------


def test_each_kind_of_revocation_is_seen(deployment: Deployment) -> None:
    """Logout, one token, password change, a client: refused within the bound, others pass."""
    site, other = deployment.issuer.site, deployment.token()
    login = deployment.login()
    site.post("/logout", {"refresh_token": login["refresh_token"]}).granted()
    refused(deployment.waits_for(401, login["access_token"], MAX_STALENESS + 1))
    token = deployment.token()
    site.post("/revoke", form={"token": token}).granted()
    refused(deployment.waits_for(401, token, MAX_STALENESS + 1))
    for party in ({"client_id": "kiosk"}, {"aud": ["api", "kiosk"]}):
        token = deployment.forged(**party)
        assert deployment.ask(token).status == 200
        deployment.denylist.add([Entry.client("kiosk", int(time.time()) - 1, until_expiry())])
        assert deployment.ask(deployment.forged(**party)).status == 200
        deployment.denylist.add([Entry.client("kiosk", int(time.time()) + 1, until_expiry())])
        refused(deployment.waits_for(401, token, MAX_STALENESS + 1))
        later = int(time.time()) + 5
        assert deployment.ask(deployment.forged(iat=later, **party)).status == 200
        break
    assert deployment.ask(other).status == 200
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD, "transport": "body"}
    changed = site.post("/password", change, token=other).granted()["access_token"]
    refused(deployment.waits_for(401, other, MAX_STALENESS + 1))
    assert deployment.ask(changed).status == 200
    back = {"current_password": NEW_PASSWORD, "new_password": PASSWORD, "transport": "body"}
    site.post("/password", back, token=changed).granted()


def test_many_requests_at_once(deployment: Deployment) -> None:
    """Requests that a worker takes up in between disturb none: each token gets its own answer."""
    subjects = [f"person {number}" for number in range(20)]
    wanted = {deployment.forged(sub=sub, sub_ver=1): 200 for sub in subjects[:10]}
    wanted |= {deployment.forged(sub=sub, sub_ver=1): 401 for sub in subjects[10:]}
    deployment.denylist.add([Entry.subject(sub, 2, until_expiry()) for sub in subjects[10:]])
    for token, status in wanted.items():
        deployment.waits_for(status, token)

    def ask_all(_: int) -> list[tuple[int, int]]:
        return [(deployment.ask(token).status, status) for token, status in wanted.items()]

    with ThreadPoolExecutor(8) as pool:
        for answers in pool.map(ask_all, range(16)):
            assert all(found == status for found, status in answers), answers


def test_a_lost_role_refuses_older_versions_alone(deployment: Deployment) -> None:
    """Tokens below the subject's least version are refused, those at it and above pass."""
    sub = "somebody"
    levels = {version: deployment.forged(sub=sub, sub_ver=version) for version in (4, 5, 6)}
    deployment.denylist.add([Entry.subject(sub, 5, until_expiry())])
    refused(deployment.waits_for(401, levels[4], MAX_STALENESS + 1))
    assert [deployment.ask(levels[version]).status for version in (5, 6)] == [200, 200]
    deployment.denylist.add([Entry.subject(sub, 6, until_expiry())])
    refused(deployment.waits_for(401, levels[5], MAX_STALENESS + 1))
    assert deployment.ask(levels[6]).status == 200


# --- what breaks --------------------------------------------------------------------------------


def closed(answer: Answer) -> None:
    """The answer of a gateway that cannot tell."""
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert "www-authenticate" not in answer.headers


def test_gateway_restarts(deployment: Deployment) -> None:
    """A gateway that has just started passes nothing until it knows what was revoked.

    HAProxy knows nothing then; Envoy has the copy in a file, and it is young.
    """
    token, revoked = deployment.token(), deployment.token()
    deployment.issuer.site.post("/revoke", form={"token": revoked}).granted()
    deployment.waits_for(401, revoked)
    deployment.agent.process.pause()
    try:
        deployment.gateway.process.kill()
        deployment.gateway.start()
        if isinstance(deployment.gateway, Haproxy):
            closed(deployment.gateway.ask(token))
        else:
            refused(deployment.ask(revoked))
    finally:
        deployment.agent.process.resume()
    deployment.waits_for(200, token)
    refused(deployment.ask(revoked))


def test_agent_restarts(deployment: Deployment) -> None:
    """The gateway goes on from what it has; what was revoked meanwhile is refused as well."""
    token, before, meanwhile = (deployment.token() for _ in range(3))
    deployment.issuer.site.post("/revoke", form={"token": before}).granted()
    deployment.waits_for(401, before)
    deployment.agent.process.kill()
    assert deployment.ask(token).status == 200
    refused(deployment.ask(before))
    deployment.issuer.site.post("/revoke", form={"token": meanwhile}).granted()
    deployment.agent.start()
    refused(deployment.waits_for(401, meanwhile))
    deployment.waits_for(200, token)
    refused(deployment.ask(before))


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_without_its_agent_it_closes(deployment: Deployment, how: str) -> None:
    """Guaranteed: later than the bound after its agent's end nothing passes any more."""
    token = deployment.token()
    deployment.waits_for(200, token)
    agent = deployment.agent.process
    if how == "killed":
        agent.kill()
    else:
        agent.pause()
    ended = time.monotonic()
    closed(deployment.waits_for(503, token))
    assert time.monotonic() - ended <= MAX_STALENESS + 0.5
    if how == "killed":
        deployment.agent.start()
    else:
        agent.resume()
    deployment.waits_for(200, token)


def test_redis_is_killed(deployment: Deployment) -> None:
    """Without news it closes; with Redis it opens again, and forgets nothing."""
    token, revoked = deployment.token(), deployment.token()
    deployment.issuer.site.post("/revoke", form={"token": revoked}).granted()
    deployment.waits_for(401, revoked)
    deployment.redis.kill()
    closed(deployment.waits_for(503, token))
    deployment.redis.start()
    deployment.waits_for(200, token, 30)
    refused(deployment.ask(revoked))


def test_a_new_key_is_taken_up_and_revoked(deployment: Deployment, gatepass: Gatepass) -> None:
    """A pending key is known before it signs, with no request lost; revoked, it is refused."""
    settings = {"GATEPASS_CONFIG": str(deployment.issuer.directory / "gatepass.toml")}
    token, pending = deployment.token(), deployment.pending()
    if pending is None:
        gatepass("keys", "rotate", "--early", env=settings).done()
        pending = deployment.pending()
    assert pending is not None
    fresh = deployment.forged(signed_by=pending)
    answers = set()
    for _ in until(60, "the new key"):
        answers.add(deployment.gateway.ask(token).status)
        if deployment.gateway.ask(fresh).status == 200:
            break
    assert answers <= {200, 503}
    deployment.waits_for(200, token)
    gatepass("keys", "revoke", pending.kid, env=settings).done()
    refused(deployment.waits_for(401, fresh, MAX_STALENESS + 1))
    deployment.waits_for(200, token)


def test_the_epoch_is_lost(deployment: Deployment) -> None:
    """In a new epoch older entries count, and what was issued before it is refused."""
    now = int(time.time())
    revoked = deployment.forged(iat=now - 100)
    deployment.denylist.add([Entry.token(claims_of(revoked)["jti"], until_expiry())])
    refused(deployment.waits_for(401, revoked))
    named = deployment.forged(sub="gone", sub_ver=1)
    deployment.denylist.add([Entry.subject("gone", 2, until_expiry())])
    refused(deployment.waits_for(401, named))
    before, after = (deployment.forged(iat=now - age) for age in (200, 199))
    assert [deployment.ask(token).status for token in (before, after)] == [200, 200]
    # Tokens of the other tests are younger.
    deployment.denylist.replace(now - 200)
    refused(deployment.waits_for(401, before, 30))
    deployment.waits_for(200, after, 30)
    refused(deployment.ask(revoked))
    refused(deployment.ask(named))
