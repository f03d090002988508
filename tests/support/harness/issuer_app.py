"""An issuer in process: on either database and either store, with a clock that tests move."""

from __future__ import annotations

import base64
import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import redis
import sqlalchemy as sa
from flask import Flask
from harness.openapi_conformance import Conformance
from werkzeug.test import Client, TestResponse

from issuer.accounts import Account
from issuer.app import create_app
from issuer.database import migrate, open_engine
from issuer.database.tables import metadata
from issuer.http.cookies import COOKIE
from issuer.pulse import Pulse
from issuer.resets import ResetMessage
from issuer.services import Services, build_services
from issuer.settings import Settings, load_settings
from tokens import RefreshClaims
from tokens.base64url import decode
from tokens.strict_json import loads_object

ISSUER = "http://127.0.0.1:8000"
OTHER_ORIGIN = "http://app.example:3000"
RP_ID = "app.example"
USERNAME = "alice@example.org"
PASSWORD = "seven violet otters juggle 91"
NEW_PASSWORD = "an unlikely brass kettle 4417"
SECRET = "a client's secret: +%/ é"
"""Of every confidential client here; it needs each kind of escaping."""
METRICS_TOKEN = "what-prometheus-shows-6b1f"

ACCESS_LIFETIME = 300
IDLE = 1800
ABSOLUTE = 43_200
CHEAP_HASHING = {"time_cost": 1, "memory_cost": 8, "parallelism": 1, "concurrency": 4}

conformance = Conformance(ISSUER)


class MovableClock:
    """Starts at the next whole second of real time, stands still, and only moves forward.

    A real Redis expires keys by its own clock, so this one may not begin in its past.
    """

    def __init__(self) -> None:
        self.now = float(math.ceil(time.time()))

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        """Move on; returns the new time."""
        assert seconds >= 0
        self.now += seconds
        return self.now

    def advance_to(self, instant: float) -> float:
        """Move on to an instant that has not passed."""
        return self.advance(instant - self.now)


def default_clients() -> dict[str, dict[str, Any]]:
    """Relying parties: two that log people in, and confidential ones that ask about tokens."""
    confidential = {"secret_sha256": hashlib.sha256(SECRET.encode()).hexdigest()}
    return {
        "demo": {"audience": "api", "scopes": ["read", "write"], "access_lifetime": 300},
        "kiosk": {"audience": "kiosk-api", "idle": 0, "absolute": 7200},
        "rs": {"audience": "api", "introspect": True, **confidential},
        "other": {"audience": "other-api", "introspect": True, **confidential},
        "backend": {"audience": "api", **confidential},
    }


def issuer_settings(database_url: str, store_url: str, directory: Path, **changes: Any) -> Settings:
    """Settings for tests: cheap hashing, one worker, and whatever is changed."""
    hashed = {"secret_sha256": hashlib.sha256(SECRET.encode()).hexdigest()}
    given: dict[str, Any] = {
        "issuer": ISSUER,
        "mode": "development",
        "database_url": database_url,
        "redis_url": store_url,
        "keys_dir": directory / "keys",
        "workers": 1,
        "clients": default_clients(),
        "gateways": {"edge": hashed},
        "allowed_origins": [OTHER_ORIGIN],
        # The issuer's own is an address, and passkeys need a domain.
        "factors": {"rp_id": RP_ID},
        "notifications": {"poll_wait": 0, "signals": {"watcher": {"audience": "watch", **hashed}}},
        "metrics_token_sha256": hashlib.sha256(METRICS_TOKEN.encode()).hexdigest(),
        "hashing": CHEAP_HASHING,
    }
    return load_settings(**{**given, **changes})


@dataclass
class IssuerApp:
    """An issuer, the person `USERNAME`, and short ways to ask it."""

    app: Flask
    services: Services
    clock: MovableClock
    account: Account
    sent: list[ResetMessage] = field(default_factory=list)

    @classmethod
    def build(
        cls,
        database_url: str,
        store_url: str,
        directory: Path,
        *,
        clock: MovableClock | None = None,
        **changes: Any,
    ) -> IssuerApp:
        """Wire, fill the denylist and add the account; nothing runs in the background.

        The database has its schema: to look costs a quarter of all this. A store of sessions has
        one time for all its issuers: they share a `clock` where that matters.
        """
        settings = issuer_settings(database_url, store_url, directory, **changes)
        clock = clock or MovableClock()
        sent: list[ResetMessage] = []
        services = build_services(settings, clock=clock, reset_sender=sent.append)
        services.pulse.beat()
        app = create_app(settings, services=services)
        account = services.accounts.by_username(USERNAME)
        if account is None:
            account = services.accounts.add(USERNAME, PASSWORD, roles=("admin", "staff"))
        return cls(app, services, clock, account, sent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop what runs and release connections."""
        self.services.stop()

    # --- requests ----------------------------------------------------------------------------

    def ask(self, method: str, path: str, **options: Any) -> TestResponse:
        """One request without a cookie jar; its answer is held against the OpenAPI document."""
        client: Client = self.app.test_client(use_cookies=False)
        response = client.open(path, method=method, **options)
        assert response.status_code < 500 or response.status_code == 503, response.text
        if method not in {"HEAD", "OPTIONS"}:
            body = response.get_json(silent=True)
            conformance.check(
                response.request.path, method, response.status_code, response.headers, body
            )
        return response

    def post(self, path: str, json: Any = None, **options: Any) -> TestResponse:
        """POST a JSON body, or none at all."""
        if json is not None:
            options["json"] = json
        return self.ask("POST", path, **options)

    def login(
        self,
        username: str = USERNAME,
        password: str = PASSWORD,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> TestResponse:
        """Log in, in body mode unless `transport` says otherwise."""
        body = {"username": username, "password": password, "transport": "body", **fields}
        return self.post("/login", body, headers=dict(headers or {}))

    def grant(self, **fields: Any) -> dict[str, Any]:
        """The answer to a login that succeeds."""
        return granted(self.login(**fields))

    def refresh(self, token: str, **fields: Any) -> TestResponse:
        """Refresh in body mode."""
        return self.post("/refresh", {"refresh_token": token, **fields})

    def logout(self, token: str) -> TestResponse:
        """Log out in body mode."""
        return self.post("/logout", {"refresh_token": token})

    def sessions(self, access_token: str) -> TestResponse:
        """The sessions of whoever the token is; 401 once it is worth nothing."""
        return self.ask("GET", "/sessions", headers=bearer(access_token))

    def change_password(
        self,
        access_token: str,
        current_password: str = PASSWORD,
        new_password: str = NEW_PASSWORD,
        **fields: Any,
    ) -> TestResponse:
        """Change the password in body mode."""
        body = {"current_password": current_password, "new_password": new_password, **fields}
        return self.post("/password", body, headers=bearer(access_token))

    def forgot(self, username: str = USERNAME) -> str | None:
        """Ask for a reset and have it delivered at once; the token that was sent, if any."""
        before = len(self.sent)
        assert self.post("/password/forgot", {"username": username}).status_code == 202
        self.deliver()
        return self.sent[-1].token if len(self.sent) > before else None

    def deliver(self) -> None:
        """Work off the waiting reset requests, as the background thread does."""
        self.services.resets.start()
        self.services.resets.stop()

    def revoke(self, token: str, client: str | None = None, **fields: Any) -> TestResponse:
        """RFC 7009 revocation, authenticated as `client` if one is given."""
        headers = basic(client) if client else {}
        return self.ask("POST", "/revoke", data={"token": token, **fields}, headers=headers)

    def introspect(self, token: str, client: str = "rs") -> TestResponse:
        """RFC 7662 introspection."""
        return self.ask("POST", "/introspect", data={"token": token}, headers=basic(client))

    # --- looking inside ----------------------------------------------------------------------

    def opened(self, refresh_token: str) -> RefreshClaims:
        """What a refresh token says; only the issuer can read it."""
        return self.services.sealer.open(refresh_token, 0)

    def make_pulse(self, heartbeat_interval: float = 1.0, **options: Any) -> Pulse:
        """Another pulse on the same stores, as a second worker has."""
        services = self.services
        options.setdefault("access_lifetimes", frozenset())
        # The denylist's: it stands still while the machine is busy.
        options.setdefault("wall_clock", services.clock)
        return Pulse(
            services.denylist,
            services.journal,
            services.revoker,
            services.positions,
            heartbeat_interval=heartbeat_interval,
            **options,
        )

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Every row of a table, by its key."""
        found = metadata.tables[table]
        with self.services.engine.connect() as connection:
            query = sa.select(found).order_by(*found.primary_key.columns)
            return [dict(row._mapping) for row in connection.execute(query)]

    def undone(self) -> list[str]:
        """Why each journal row that has not reached the denylist was written."""
        return [row["reason"] for row in self.rows("journal") if not row["done"]]

    def everything(self) -> tuple[Any, ...]:
        """All that an issuer holds: SQL's rows, and each Redis key with value and expiry.

        Nothing beats in the background here, so that no heartbeat needs to be left out. Without the
        audit log, to which a refusal is something that happened.
        """
        tables = [name for name in metadata.tables if not name.startswith("audit_")]
        return {name: self.rows(name) for name in tables}, redis_dump(self.services)


def redis_dump(services: Services) -> dict[bytes, tuple[Any, Any]]:
    """Every key of the families' Redis, serialised, with its expiry; empty for memory.

    Without the counts of limits: what is refused is counted, and that is all that it changes.
    """
    url = services.settings.redis_url
    if url.startswith("memory:"):
        return {}
    client = redis.Redis.from_url(url)
    try:
        return {
            key: (client.dump(key), client.pexpiretime(key))
            for key in client.scan_iter(count=500)
            if b":limits:" not in key
        }
    finally:
        client.close()


def restore_redis(services: Services, dump: Mapping[bytes, tuple[Any, Any]]) -> None:
    """Make the families' Redis hold exactly what it held when `dump` was taken."""
    client = redis.Redis.from_url(services.settings.redis_url)
    try:
        client.flushall()
        for key, (value, expiry) in dump.items():
            client.restore(key, max(expiry, 0), value, absttl=True)
    finally:
        client.close()


def follow(issuer: IssuerApp) -> None:
    """Bring the issuer's own replica in step, as its threads would."""
    lists = issuer.services.status_lists
    assert lists is not None
    for _ in range(3):
        lists._replica.step(block=0)
        issuer.services.denylist.heartbeat(0)
    lists._replica.step(block=0)


def granted(response: TestResponse) -> dict[str, Any]:
    """The body of an answer that must be 200."""
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.get_json()
    return body


def refused(response: TestResponse, status: int, error: str) -> str:
    """Check the refusal's status and code; returns its description."""
    body = response.get_json()
    assert (response.status_code, body["error"]) == (status, error), body
    description: str = body["error_description"]
    return description


def same_headers(response: TestResponse) -> tuple[tuple[str, str], ...]:
    """Every header but the one that no two answers share."""
    return tuple(header for header in response.headers if header[0] != "X-Request-Id")


def bearer(token: str) -> dict[str, str]:
    """The header of an access token."""
    return {"Authorization": f"Bearer {token}"}


def basic(client_id: str, secret: str = SECRET) -> dict[str, str]:
    """The header of a confidential client: form-encoded first (RFC 6749 section 2.3.1)."""
    from urllib.parse import quote_plus

    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def browser(
    refresh_token: str | None = None,
    origin: str | None = ISSUER,
    site: str | None = "same-origin",
) -> dict[str, str]:
    """The headers of a browser; `None` leaves one out."""
    headers = {"Origin": origin, "Sec-Fetch-Site": site}
    if refresh_token is not None:
        headers["Cookie"] = f"{COOKIE}={refresh_token}"
    return {name: value for name, value in headers.items() if value is not None}


def claims_of(access_token: str) -> dict[str, Any]:
    """The payload of a signed token, unverified."""
    return loads_object(decode(access_token.split(".")[1].encode()))


def cookie_of(response: TestResponse) -> tuple[str, dict[str, str]]:
    """The one cookie that an answer sets: its value, and its attributes in lower case."""
    (header,) = response.headers.getlist("Set-Cookie")
    first, *rest = header.split("; ")
    name, _, value = first.partition("=")
    assert name == COOKIE
    pairs = (part.partition("=") for part in rest)
    return value, {key.lower(): content for key, _, content in pairs}


def migrated_sqlite(path: Path) -> Path:
    """A SQLite file with the present schema."""
    path.write_bytes(_migrated())
    return path


@cache
def _migrated() -> bytes:
    with TemporaryDirectory() as directory:
        path = Path(directory, "issuer.db")
        engine = open_engine(f"sqlite:///{path}")
        migrate(engine)
        # The last connection takes the write-ahead log with it.
        engine.dispose()
        return path.read_bytes()
