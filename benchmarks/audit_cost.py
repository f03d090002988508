"""What it costs a refresh that the audit log is written: in process, the same code without it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from flask.testing import FlaskClient

from issuer.app import create_app
from issuer.audit import Event
from issuer.database import migrate
from issuer.families import Draft
from issuer.services import Services, build_services
from issuer.settings import Settings, read_settings

from .lab import Lab
from .timing import Contender, Row

AUDIT = "audit"

_CLIENT = "bench"
_NEVER = "100000000 per minute"


def audit(lab: Lab) -> Iterator[Row]:
    """On SQLite and Redis. The log itself is written by a thread of the process, which has one
    interpreter lock for both: first without that thread, then beside it."""
    with ExitStack() as stack:
        # As in production: the line of each event costs, too. It does not belong into the table.
        lines = stack.enter_context((lab.directory / "audit.log").open("w"))
        structlog.configure(
            processors=[structlog.processors.JSONRenderer()],
            logger_factory=structlog.PrintLoggerFactory(lines),
        )
        stack.callback(structlog.reset_defaults)
        kept, without = (stack.enter_context(_asking(lab, name)) for name in ("kept", "without"))
        _forget_events(without.services)
        contenders = [
            Contender("refresh, its event kept", kept.refresh, [None]),
            Contender("refresh without an audit log", without.refresh, [None]),
        ]
        yield from lab.compare(AUDIT, "a refresh, before the log is written", contenders)
        for each in (kept, without):
            each.services.audit.start()
        yield from lab.compare(AUDIT, "a refresh while the log is written", contenders)


@dataclass(slots=True)
class _Asking:
    """One client of an issuer in this process, which refreshes again and again."""

    client: FlaskClient
    services: Services
    token: str

    def refresh(self, _: None) -> None:
        answer = self.client.post("/refresh", json={"refresh_token": self.token})
        self.token = answer.get_json()["refresh_token"]


def _forget_events(services: Services) -> None:
    def no_draft(_: Event) -> Draft | None:
        return None

    services.audit.draft_of = no_draft  # type: ignore[method-assign, assignment]
    services.audit.drafted = lambda *_: None  # type: ignore[method-assign]


@contextmanager
def _asking(lab: Lab, name: str) -> Iterator[_Asking]:
    directory = lab.directory / f"audit-{name}"
    directory.mkdir()
    services = build_services(_settings(lab, name, directory))
    try:
        migrate(services.engine)
        services.pulse.beat()
        app = create_app(services.settings, services=services)
        password = secrets.token_urlsafe(16)
        services.accounts.add(name, password)
        client = app.test_client(use_cookies=False)
        body = {"username": name, "password": password, "client_id": _CLIENT, "transport": "body"}
        token = client.post("/login", json=body).get_json()["refresh_token"]
        yield _Asking(client, services, token)
    finally:
        services.stop()


def _settings(lab: Lab, name: str, directory: Path) -> Settings:
    given = {
        "issuer": "http://127.0.0.1:1",
        "mode": "development",
        "database_url": f"sqlite:///{directory / 'issuer.db'}",
        "redis_url": lab.redis.url,
        "namespace": f"bench-audit-{name}",
        "keys_dir": str(directory / "keys"),
        "clients": {_CLIENT: {"audience": "api", "scopes": ["read", "write"]}},
        "reuse_interval": 0,
        "limits": {"refreshes_session": _NEVER, "requests": _NEVER},
        "hashing": {"time_cost": 1, "memory_cost": 8},
    }
    path = directory / "settings.json"
    path.write_text(json.dumps(given), "utf-8")
    return read_settings(path)
