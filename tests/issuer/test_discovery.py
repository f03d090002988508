"""Metadata, JWKS, health and readiness."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from harness import stacks
from harness.issuer_app import ISSUER, IssuerApp, bearer, granted, refused
from harness.processes import until
from harness.redis_server import RedisServer

from keys import load_public_jwk
from tokens import AccessVerifier, VerificationKey

JWKS = "/.well-known/jwks.json"
READY = {"database": "ok", "families": "ok", "denylist": "ok", "keys": "ok"}


@stacks.anywhere
class TestDocuments:
    """What anybody may fetch."""

    def test_metadata_names_what_there_is(self, issuer: IssuerApp) -> None:
        """RFC 8414 metadata: the issuer is exact, and each endpoint that it names answers."""
        answer = issuer.ask("GET", "/.well-known/oauth-authorization-server")
        found = granted(answer)
        assert found["issuer"] == ISSUER
        assert answer.headers["Cache-Control"] == "public, max-age=300"
        for name, method in [
            ("jwks_uri", "GET"),
            ("service_documentation", "GET"),
            ("revocation_endpoint", "POST"),
            ("introspection_endpoint", "POST"),
        ]:
            assert found[name].startswith(f"{ISSUER}/")
            status = issuer.ask(method, found[name].removeprefix(ISSUER)).status_code
            assert status == (200 if method == "GET" else 415)

    def test_the_jwks_verifies_what_is_issued(self, issuer: IssuerApp) -> None:
        """A verifier that knows only the JWKS accepts an access token."""
        found = granted(issuer.ask("GET", JWKS))
        keys = {
            kid: VerificationKey.of(kid, alg, public)
            for kid, alg, public in map(load_public_jwk, found["keys"])
        }
        verifier = AccessVerifier(
            issuer=ISSUER, audience="api", find_key=keys.__getitem__, clock=issuer.clock
        )
        assert verifier.verify(issuer.grant()["access_token"]).sub == issuer.account.id

    def test_the_jwks_holds_no_secret(self, issuer: IssuerApp) -> None:
        """Only public members of signing keys are published, never the sealing key."""
        keys = granted(issuer.ask("GET", JWKS))["keys"]
        assert [key["kty"] for key in keys] == ["EC"]
        assert keys[0].keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}

    def test_the_jwks_may_be_kept_for_as_long_as_rotation_waits(
        self, make_issuer: Callable[..., IssuerApp]
    ) -> None:
        """`max-age` is the setting that the rotation policy works with."""
        answer = make_issuer(jwks_cache=123).ask("GET", JWKS)
        assert answer.headers["Cache-Control"] == "public, max-age=123"

    def test_the_jwks_is_sent_once(self, issuer: IssuerApp) -> None:
        """With its ETag the answer is 304 and empty, until a key is published."""
        etag = issuer.ask("GET", JWKS).headers["ETag"]
        again = issuer.ask("GET", JWKS, headers={"If-None-Match": etag})
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == etag
        assert again.headers["Cache-Control"] == "public, max-age=300"
        before = issuer.services.keys.ring
        issuer.clock.advance(30 * 86_400 - 300)
        issuer.services.keys.tick()
        assert issuer.services.keys.ring != before
        changed = issuer.ask("GET", JWKS, headers={"If-None-Match": etag})
        assert changed.status_code == 200
        assert len(changed.get_json()["keys"]) == 2

    @pytest.mark.parametrize("path", [JWKS, "/healthz", "/readyz", "/openapi.json"])
    def test_head_answers_like_get(self, issuer: IssuerApp, path: str) -> None:
        """HEAD has the headers of GET and no body."""
        get, head = issuer.ask("GET", path), issuer.ask("HEAD", path)
        assert head.data == b""
        own = {"Date": "", "X-Request-Id": ""}
        assert {**head.headers, **own} == {**get.headers, **own}

    @pytest.mark.parametrize("path", ["/", "/nothing", "/sessions/", "/Login", "//login"])
    def test_where_nothing_is_the_answer_is_404(self, issuer: IssuerApp, path: str) -> None:
        """An unknown path gets the form of every refusal, never a redirect or a page."""
        answer = issuer.ask("POST", path)
        if path == "/sessions/":
            refused(answer, 405, "method_not_allowed")
        else:
            refused(answer, 404, "not_found")

    def test_another_method_is_405(self, issuer: IssuerApp) -> None:
        """A known path names the methods that it has."""
        answer = issuer.ask("GET", "/login")
        refused(answer, 405, "method_not_allowed")
        assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


@stacks.everywhere
def test_an_issuer_in_order_is_ready(issuer: IssuerApp) -> None:
    """Every store answers, and the denylist vouches for itself."""
    assert granted(issuer.ask("GET", "/healthz")) == {"status": "ok"}
    assert granted(issuer.ask("GET", "/readyz")) == {"status": "ready", "checks": READY}


@stacks.anywhere
def test_an_outdated_schema_is_not_ready(issuer: IssuerApp) -> None:
    """A database of another version is alive but not ready."""
    with issuer.services.engine.begin() as connection:
        connection.execute(sa.text("UPDATE schema_version SET version_num = '0000'"))
    answer = issuer.ask("GET", "/readyz")
    assert answer.status_code == 503
    assert answer.get_json()["checks"] == {**READY, "database": "failing"}


@stacks.on_redis
def test_an_empty_denylist_is_not_ready(issuer: IssuerApp, redis_server: RedisServer) -> None:
    """After its contents were lost, the denylist vouches for nothing until it is filled."""
    token = issuer.grant()["access_token"]
    redis_server.client().flushall()
    answer = issuer.ask("GET", "/readyz")
    assert answer.status_code == 503
    assert answer.get_json()["checks"] == {**READY, "denylist": "failing"}
    unavailable(issuer, token)
    issuer.services.denylist.initialise(0)
    assert issuer.ask("GET", "/readyz").status_code == 503
    unavailable(issuer, token)
    issuer.services.pulse.beat()
    assert issuer.ask("GET", "/readyz").status_code == 200
    assert granted(issuer.sessions(token))


def unavailable(issuer: IssuerApp, token: str) -> None:
    """A bearer token can be neither accepted nor refused: 503 with Retry-After."""
    answer = issuer.sessions(token)
    refused(answer, 503, "temporarily_unavailable")
    assert answer.headers["Retry-After"] == "1"


@stacks.anywhere
def test_a_redis_that_is_down_is_503_everywhere(
    database_url: str, private_redis: RedisServer, tmp_path: Path
) -> None:
    """Whatever needs Redis answers 503 with Retry-After, and nothing is lost for it."""
    with IssuerApp.build(database_url, private_redis.unix_url, tmp_path) as issuer:
        grant = issuer.grant()
        private_redis.kill()
        assert granted(issuer.ask("GET", "/healthz")) == {"status": "ok"}
        answer = issuer.ask("GET", "/readyz")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        failing = {"families": "failing", "denylist": "failing"}
        assert answer.get_json() == {"status": "not ready", "checks": READY | failing}
        before = issuer.rows("accounts")
        for down in (
            issuer.login(),
            issuer.refresh(grant["refresh_token"]),
            issuer.logout(grant["refresh_token"]),
            issuer.sessions(grant["access_token"]),
            issuer.ask("DELETE", "/sessions", headers=bearer(grant["access_token"])),
            issuer.change_password(grant["access_token"]),
            issuer.revoke(grant["access_token"]),
            issuer.introspect(grant["access_token"]),
        ):
            refused(down, 503, "temporarily_unavailable")
            assert down.headers["Retry-After"] == "1"
        assert issuer.rows("accounts") == before
        private_redis.start()
        for _ in until(10, "the end of the pause"):
            if issuer.ask("GET", "/readyz").get_json()["checks"]["families"] == "ok":
                break
        # Restarted, it may have lost something; a beat puts the journal's rows back.
        issuer.services.pulse.beat()
        # What was asked for while it was down is in the journal, and is done now.
        assert issuer.undone() == ["logout", "rfc7009"]
        assert issuer.ask("GET", "/readyz").status_code == 200
        assert granted(issuer.introspect(grant["access_token"])) == {"active": False}
        assert issuer.grant()
        assert issuer.undone() == []


@stacks.anywhere
def test_a_database_that_is_down_is_503_everywhere(issuer: IssuerApp, tmp_path: Path) -> None:
    """Without SQL nobody is let in, and nobody is told that they are logged out."""
    grant = issuer.grant()
    issuer.services.engine.dispose()
    path = tmp_path / "issuer.db"
    path.rename(tmp_path / "moved.db")
    path.mkdir()
    assert issuer.ask("GET", "/readyz").get_json()["checks"] == {**READY, "database": "failing"}
    for down in (
        issuer.login(),
        issuer.refresh(grant["refresh_token"]),
        issuer.logout(grant["refresh_token"]),
        issuer.sessions(grant["access_token"]),
    ):
        refused(down, 503, "temporarily_unavailable")
    path.rmdir()
    (tmp_path / "moved.db").rename(path)
    assert granted(issuer.refresh(grant["refresh_token"]))
