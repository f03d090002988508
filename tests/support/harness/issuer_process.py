"""Issuers as they are deployed: several `gatepass serve` on one database, Redis and key ring."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from harness.altered_issuer import put_mapped_clock, read_shift, shifted_clock, write_shift
from harness.gatepass_command import PROGRAM
from harness.limits import OFF
from harness.processes import Process, ProcessError, free_port, until
from harness.warm_process import WarmProcess

from gateway import Verifier
from issuer.accounts import Account, PasswordHasher, PasswordPolicy, SqlAccounts
from issuer.database import open_engine
from keys import DirectoryStore, KeyRing, KeyRingError
from revocation import Position, Replica
from revocation.http_connection import with_credentials
from tokens import RefreshClaims, RefreshSealer

HOST = "127.0.0.1"
AUDIENCE = "api"
CLIENT_ID = "demo"
GATEWAY_ID = "rs"
GATEWAY_SECRET = "an introspecting client's secret"
GATEWAY_SECRET_SHA256 = hashlib.sha256(GATEWAY_SECRET.encode()).hexdigest()
FEED_NAME = "edge"
FEED_SECRET = "the secret of a gateway that follows"
FORM = "application/x-www-form-urlencoded"
HEARTBEAT_INTERVAL = 0.25
START_ATTEMPTS = 3
READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; `body` is its JSON object."""

    status: int
    body: dict[str, Any]
    retry_after: str | None = None

    def granted(self) -> dict[str, Any]:
        """The body of an answer that must be 200."""
        assert self.status == 200, self
        return self.body


def http_request(
    path: str, body: Mapping[str, Any] | None = None, token: str | None = None, method: str = ""
) -> tuple[str, str, bytes, dict[str, str]]:
    """Method, path, body and headers of a request in JSON, with a bearer token if one is given."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    if body is None:
        return method or "GET", path, b"", headers
    content = json.dumps(body).encode()
    return method or "POST", path, content, {**headers, "Content-Type": "application/json"}


class IssuerProcess:
    """One `gatepass serve` with two workers, from environment variables alone."""

    def __init__(
        self, settings: Mapping[str, str], port: int, directory: Path, alterations: Sequence[str]
    ) -> None:
        """`alterations` are those of `altered_issuer`."""
        self.port = port
        self.url = f"http://{HOST}:{port}"
        env = {**settings, "GATEPASS_HOST": HOST, "GATEPASS_PORT": str(port)}
        # No .env and no gatepass.toml of whoever runs the tests is read from `directory`. Where the
        # environment says which code to load, a fork would be of ours.
        self.process = (
            Process([PROGRAM, "serve"], cwd=directory, env=env)
            if "PYTHONPATH" in settings
            else WarmProcess(["serve"], cwd=directory, env=env, alterations=alterations)
        )

    def wait_ready(self) -> None:
        """Wait until every store answers through it."""
        self.process.wait_for_url(f"{self.url}/readyz", timeout=READY_SECONDS)

    # --- requests ----------------------------------------------------------------------------

    def ask(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
        method: str = "",
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(*http_request(path, body, token, method))
            return _answer(connection)

    def login(self, username: str, password: str) -> Answer:
        """Log in, in body mode."""
        return self.ask("/login", {"username": username, "password": password, "transport": "body"})

    def refresh(self, token: str) -> Answer:
        """Refresh in body mode."""
        return self.ask("/refresh", {"refresh_token": token})

    def lose_refresh(self, token: str) -> None:
        """Send a refresh and be gone before the answer comes."""
        method, path, body, headers = http_request("/refresh", {"refresh_token": token})
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)

    def sessions(self, token: str) -> Answer:
        """The sessions of an access token's owner; 401 once it is worth nothing."""
        return self.ask("/sessions", token=token)

    def change_password(self, token: str, current: str, new: str) -> Answer:
        """Change the password in body mode."""
        body = {"current_password": current, "new_password": new, "transport": "body"}
        return self.ask("/password", body, token=token)

    def introspect(self, token: str) -> bool:
        """Whether RFC 7662 introspection calls the token active."""
        return bool(self.ask_introspection(token).granted()["active"])

    def ask_introspection(self, token: str) -> Answer:
        """The answer of RFC 7662 introspection, whatever it is."""
        return self._ask_form("/introspect", token, introspection_headers())

    def revoke(self, token: str) -> Answer:
        """Revoke a public client's token (RFC 7009)."""
        return self._ask_form("/revoke", token, {"Content-Type": FORM})

    def _ask_form(self, path: str, token: str, headers: Mapping[str, str]) -> Answer:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", path, f"token={token}", dict(headers))
            return _answer(connection)


def _answer(connection: http.client.HTTPConnection) -> Answer:
    answer = connection.getresponse()
    return Answer(answer.status, json.loads(answer.read()), answer.headers["Retry-After"])


def introspection_headers() -> dict[str, str]:
    """What the introspecting client sends along."""
    pair = f"{GATEWAY_ID}:{GATEWAY_SECRET.replace(' ', '+')}"
    return {
        "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
        "Content-Type": FORM,
    }


@dataclass
class IssuerFleet:
    """Issuers that share everything but their port; tokens name the first one as issuer."""

    database_url: str
    redis_url: str
    directory: Path
    size: int = 2
    alterations: Sequence[str] = ()
    shifted: bool = False
    """Whether time can be moved on, with `advance`."""
    apart: bool = False
    """Whether each has a clock of its own, which `put_clock` sets."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings that differ from those of tests, by variable."""
    issuer_settings: Sequence[Mapping[str, str]] = ()
    """And those of one issuer only, in order."""
    waiting: int = 0
    """How many of them, the last ones, are left for the test to start."""
    issuers: list[IssuerProcess] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.shifted:
            write_shift(self.shift_file, 0.0)
        for number in range(self.size if self.apart else 0):
            self.put_clock(number, 0.0)
        for attempt in range(1, START_ATTEMPTS + 1):
            self._build()
            try:
                # The first start of all: migration and the first keys are raced for, too.
                first = self.issuers[: self.size - self.waiting]
                for issuer in first:
                    issuer.process.start()
                for issuer in first:
                    issuer.wait_ready()
            except ProcessError as error:
                self.stop()
                if attempt == START_ATTEMPTS or "in use" not in str(error):
                    raise
            except BaseException:
                self.stop()
                raise
            else:
                break
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End every issuer. By SIGKILL: a graceful stop takes seconds and is tested elsewhere."""
        for issuer in self.issuers:
            if issuer.process.running:
                issuer.process.kill()
        with contextlib.suppress(KeyRingError):
            DirectoryStore(
                self.directory / "keys", None, development=True
            ).load()  # no log may show

    def _build(self) -> None:
        ports: list[int] = []
        while len(ports) < self.size:
            port = free_port()
            if port not in ports:
                ports.append(port)
        self.url = f"http://{HOST}:{ports[0]}"
        clients = {
            CLIENT_ID: {"audience": AUDIENCE, "scopes": ["read"]},
            GATEWAY_ID: {
                "audience": AUDIENCE,
                "introspect": True,
                "secret_sha256": GATEWAY_SECRET_SHA256,
            },
        }
        shared = {
            "GATEPASS_ISSUER": self.url,
            "GATEPASS_MODE": "development",
            "GATEPASS_DATABASE_URL": self.database_url,
            "GATEPASS_REDIS_URL": self.redis_url,
            "GATEPASS_KEYS_DIR": str(self.directory / "keys"),
            "GATEPASS_CLIENTS": json.dumps(clients),
            "GATEPASS_GATEWAYS": json.dumps(
                {FEED_NAME: {"secret_sha256": hashlib.sha256(FEED_SECRET.encode()).hexdigest()}}
            ),
            "GATEPASS_WORKERS": "2",
            "GATEPASS_HASHING__MEMORY_COST": "8",
            "GATEPASS_HASHING__TIME_COST": "1",
            "GATEPASS_HASHING__CONCURRENCY": "8",
            "GATEPASS_HEARTBEAT_INTERVAL": str(HEARTBEAT_INTERVAL),
            "GATEPASS_LOG_LEVEL": "WARNING",
            # Everybody here comes from one address, most with one account, as fast as they can.
            "GATEPASS_LIMITS": json.dumps(OFF),
            **self.settings,
        }
        alterations = list(self.alterations)
        if self.shifted:
            alterations.append(f"clock={self.shift_file}")
        own = [*self.issuer_settings, *([{}] * self.size)]
        self.issuers = []
        for number, (port, more) in enumerate(zip(ports, own, strict=False)):
            clock = [f"own-clock={self._clock_file(number)}"] if self.apart else []
            settings = {**shared, **more}
            self.issuers.append(
                IssuerProcess(settings, port, self.directory, [*alterations, *clock])
            )

    def feed_url(self, number: int = 0) -> str:
        """The HTTP feed of one of them, with a gateway's credentials."""
        return with_credentials(f"{self.issuers[number].url}/revocations", FEED_NAME, FEED_SECRET)

    # --- time --------------------------------------------------------------------------------

    @property
    def shift_file(self) -> Path:
        """What holds the seconds by which time was moved on."""
        return self.directory / "shift"

    def now(self) -> float:
        """Time as the issuers see it."""
        return shifted_clock(self.shift_file)()

    def advance(self, seconds: float) -> None:
        """Let time pass for every issuer at once."""
        assert self.shifted
        write_shift(self.shift_file, read_shift(self.shift_file) + seconds)

    def put_clock(self, number: int, seconds: float) -> None:
        """Put the clock of one issuer ahead of the real time, or behind."""
        put_mapped_clock(self._clock_file(number), seconds)

    def _clock_file(self, number: int) -> Path:
        return self.directory / f"clock-{number}"

    # --- what a test needs beside HTTP -------------------------------------------------------

    def add_account(self, username: str, password: str, *, memory_cost: int = 8) -> Account:
        """Make an account, its hash under parameters of the caller's choice (KiB)."""
        engine = open_engine(self.database_url)
        hasher = PasswordHasher(time_cost=1, memory_cost=memory_cost, parallelism=1, concurrency=1)
        try:
            accounts = SqlAccounts(engine, hasher, PasswordPolicy(15), self._account_time)
            return accounts.add(username, password)
        finally:
            engine.dispose()

    def _account_time(self) -> float:
        return 0.0

    def account(self, username: str) -> Account:
        """The row as it is now."""
        engine = open_engine(self.database_url)
        hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, concurrency=1)
        try:
            found = SqlAccounts(engine, hasher, PasswordPolicy(15), self._account_time).by_username(
                username
            )
        finally:
            engine.dispose()
        assert found is not None
        return found

    def opened(self, refresh_token: str) -> RefreshClaims:
        """What a refresh token says; only the issuers, and we, can read it."""
        return RefreshSealer(self.url, lambda: self._ring).open(refresh_token, 0)

    @cached_property
    def _ring(self) -> KeyRing:
        # Refresh tokens' keys last for a day, no test for as long.
        return DirectoryStore(self.directory / "keys", None, development=True).load()

    @contextmanager
    def verifier(self) -> Iterator[Verifier]:
        """A gateway's verifier, its replica in step."""
        verifier = Verifier(
            issuer=self.url,
            audience=AUDIENCE,
            denylist=self.redis_url,
            heartbeat_interval=HEARTBEAT_INTERVAL,
            **({"clock": shifted_clock(self.shift_file)} if self.shifted else {}),
        )
        with verifier:
            assert verifier.replica.wait_in_step(READY_SECONDS)
            yield verifier


def reaches(replica: Replica, position: Position, timeout: float = 30.0) -> None:
    """Wait until a replica holds everything up to a position of the feed."""
    for _ in until(timeout, f"the replica at {position.seq}", pause=0.001):
        reached = replica.position
        if reached is not None and reached.seq >= position.seq:
            return
