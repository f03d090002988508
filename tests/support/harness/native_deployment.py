"""A gateway that checks tokens itself and its agent, beside a real issuer, Redis and backend."""

from __future__ import annotations

import http.client
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jwt
from harness.attack_material import Material
from harness.echo_backend import EchoBackend
from harness.gatepass_command import Gatepass
from harness.issuer_app import PASSWORD, USERNAME, claims_of, migrated_sqlite
from harness.native_gateways import MAX_STALENESS, Agent, NativeGateway, guarded
from harness.processes import monotonic, short_directory, until
from harness.redis_server import RedisServer
from harness.served_issuer import ServedIssuer
from harness.slow_proxy import SlowProxy
from harness.stepped_clock import SteppedClock
from harness.web import Answer

from keys import DirectoryStore, Key, KeyState
from revocation import Denylist, open_denylist
from tokens import RefreshSealer

PAUSE = 0.02
"""Seconds between two requests of who waits for another answer."""


@dataclass(frozen=True)
class Deployment:
    """An issuer, its Redis, a backend, and a gateway with its agent."""

    issuer: ServedIssuer
    redis: RedisServer
    line: SlowProxy | None
    """Between the agent and what it follows, where it can be cut."""
    backend: EchoBackend
    gateway: NativeGateway
    agent: Agent
    denylist: Denylist

    # --- tokens ------------------------------------------------------------------------------

    def login(self) -> dict[str, Any]:
        """A new login's tokens."""
        return self.issuer.site.login(USERNAME, PASSWORD).granted()

    def token(self) -> str:
        """An access token of a new login."""
        return str(self.login()["access_token"])

    def revoke(self, token: str) -> float:
        """Revoke a token; when that was acknowledged."""
        self.issuer.site.post("/revoke", form={"token": token}).granted()
        return monotonic()

    def revoke_again_and_again(self, token: str) -> float:
        """The same, however often it takes until that is acknowledged."""
        for _ in until(30, "an acknowledged revocation", PAUSE):
            if self.issuer.site.post("/revoke", form={"token": token}).status == 200:
                return monotonic()
        raise AssertionError("unreachable")

    def key(self) -> Key:
        """The key that the issuer signs with."""
        store = DirectoryStore(self.issuer.directory / "keys", None, development=True)
        return store.load().active("ES256")

    def pending(self) -> Key | None:
        """A key that the issuer will sign with."""
        ring = DirectoryStore(self.issuer.directory / "keys", None, development=True).load()
        return next((k for k in ring.keys if k.state is KeyState.PENDING and k.public), None)

    def material(self) -> Material:
        """What attacks are made of, after one more login; the ring has ES256 alone."""
        granted = self.login()
        # Of a subject about whom no other test has told the gateway anything.
        own = {"sub": "somebody who is attacked", "sub_ver": 1, "roles": ["editor"]}
        claims = {**claims_of(granted["access_token"]), **own}
        ring = DirectoryStore(self.issuer.directory / "keys", None, development=True).load()
        refresh = RefreshSealer(self.issuer.url, lambda: ring).open(granted["refresh_token"], 0)
        return Material(
            self.issuer.url, ring, claims, refresh, claims["iat"], other_audience="other-api"
        )

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

    # --- requests ----------------------------------------------------------------------------

    def new_key(self, gatepass: Gatepass) -> Key:
        """A key that the issuer has published and does not sign with yet."""
        for _ in until(5, "a pending key"):
            pending = self.pending()
            if pending is not None:
                return pending
            # Nothing is due in the very second in which the issuer made its first key.
            gatepass("keys", "rotate", "--early", env=self.settings).done()
        raise AssertionError("unreachable")

    @property
    def settings(self) -> dict[str, str]:
        """Environment of a command on the issuer's machine."""
        return {"GATEPASS_CONFIG": str(self.issuer.directory / "gatepass.toml")}

    def ask(self, token: str | None, path: str = "/", **options: Any) -> Answer:
        """One request, again where the gateway cannot tell: a busy machine holds up its agent."""
        for _ in until(15, "another answer than 503", PAUSE):
            answer = self.gateway.ask(token, path, **options)
            if answer.status != 503:
                return answer
        raise AssertionError("unreachable")

    def send(self, path: str, headers: list[tuple[str, str]]) -> int:
        """The status of a request with just these headers, in this order; again after a 503."""
        for _ in until(15, "another answer than 503", PAUSE):
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
        for _ in until(timeout, f"an answer of {status}", PAUSE):
            answer = self.gateway.ask(token)
            if answer.status == status:
                return answer
        raise AssertionError("unreachable")

    def ends_within_the_bound(self, status: int, token: str, since: float) -> Answer:
        """Ask until the answer has this status; nothing that began past the bound has passed.

        `since` is the moment of the acknowledgement, or of the last news that the gateway can have
        had.
        """
        for _ in until(30, f"an answer of {status}", PAUSE):
            began = monotonic()
            answer = self.gateway.ask(token)
            late = began - since
            assert answer.status != 200 or late <= MAX_STALENESS, f"passed {late:.3f} s after it"
            if answer.status == status:
                return answer
        raise AssertionError("unreachable")


def set_delay(deployment: Deployment, seconds: float) -> None:
    deployment.line.delay = seconds


Act = Callable[[Deployment], object]
OUTAGES: dict[str, tuple[Act, Act]] = {
    "killed": (lambda each: each.redis.kill(), lambda each: each.redis.start()),
    "stopped": (lambda each: each.redis.pause(), lambda each: each.redis.resume()),
    "cut off": (lambda each: set_delay(each, 600), lambda each: set_delay(each, 0)),
}
"""How an agent loses its Redis, and has it back."""


@contextmanager
def deployed(
    kind: str,
    alterations: Sequence[str] = (),
    *,
    max_staleness: float = MAX_STALENESS,
    clock: SteppedClock | None = None,
) -> Iterator[Deployment]:
    """All of it, running and in step, with a gateway of this kind; `alterations` of the issuer.

    Gateway and agent go by `clock` where there is one.
    """
    with RedisServer(tcp=True) as redis:
        assert redis.port is not None
        with SlowProxy(redis.port) as line:
            made = deployed_on(
                *(kind, redis, redis.unix_url, f"redis://127.0.0.1:{line.port}/0", line),
                alterations=alterations,
                max_staleness=max_staleness,
                clock=clock,
            )
            with made as deployment:
                yield deployment


@contextmanager
def deployed_on(
    kind: str,
    redis: RedisServer,
    issuer_url: str,
    agent_url: str,
    line: SlowProxy | None = None,
    *,
    alterations: Sequence[str] = (),
    max_staleness: float = MAX_STALENESS,
    clock: SteppedClock | None = None,
) -> Iterator[Deployment]:
    """The same on a Redis that runs: where the issuer finds it, and where the agent does."""
    directory = short_directory("gp-native-")
    with EchoBackend() as backend:
        issuer = ServedIssuer(
            directory,
            f"sqlite:///{migrated_sqlite(directory / 'issuer.db')}",
            issuer_url,
            clients={
                "demo": {"audience": "api", "scopes": ["orders:read", "orders:write"]},
                "other": {"audience": "other-api"},
            },
            workers=1,
            alterations=alterations,
        )
        issuer.add_account()
        denylist = open_denylist(issuer_url)
        with issuer:
            made = guarded(
                *(kind, directory / "gw", issuer.url, agent_url, backend.port),
                max_staleness=max_staleness,
                clock=clock,
            )
            with made as running:
                yield Deployment(issuer, redis, line, backend, *running, denylist)
        denylist.close()
    shutil.rmtree(directory)


def until_expiry() -> int:
    """An expiry that outlives every token of a test."""
    return int(time.time()) + 600


def refused(answer: Answer) -> None:
    """The one answer to every token that is worth nothing."""
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
