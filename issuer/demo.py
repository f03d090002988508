"""The embedded default: one command, nothing to install by hand, everything kept in one directory.

SQLite, a private Redis, development keys, one account, the issuer and an example API that
verifies locally. For a developer's machine; production runs `gatepass serve`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import os
import secrets
import shlex
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import sqlalchemy as sa
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from gateway import Verifier
from gateway.example_api import example_api
from gateway.fetching import fetch_json

from .accounts import BadCredentials
from .app import create_app
from .certificates import write_self_signed
from .database import migrate
from .embedded_redis import EmbeddedRedis, find_server
from .http.cors import Cors
from .http.pages import pages, pages_folder
from .replica_reading import reading_of
from .resets import ResetMessage
from .services import Services, build_services
from .settings import DEMO_SETTINGS, Mode, Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

USERNAME = "demo"
ADMINISTRATOR = "admin"
"""Of the account that may use the console."""
CLIENT_ID = "demo"
AUDIENCE = "demo-api"
INTROSPECTOR = "demo-api"
API_PATH = "/api"
_SECRETS = "demo.json"
_IN_STEP_TIMEOUT = 15.0
_LOCK_TIMEOUT = 5.0
"""Seconds. The worker of a killed demo notices within one that it is alone, and ends."""
_POLL = 0.05


class DemoBusy(SettingsError):
    """Another demo runs on the same state."""


@dataclass(slots=True)
class _Secrets:
    """What the demo must remember to be able to print it again; readable by its owner alone."""

    password: str
    next_password: str
    introspection_secret: str
    admin_password: str = ""
    """Empty in a state directory of before the console."""


class Demo:
    """A demo on a state directory; `prepare` first, then serve `build` in one process."""

    def __init__(
        self, state_dir: Path, *, host: str, port: int, tls: bool, origins: tuple[str, ...] = ()
    ) -> None:
        """`port` 0 is the port of last time, since the issuer's URL is in every token; or free.

        `origins` are those of pages beside the demo's own.
        """
        self.state_dir = state_dir.absolute()
        self.host = host
        self.port = port
        self._tls = tls
        self._origins = origins
        self._lock: IO[str] | None = None
        self._secrets = _Secrets("", "", "")
        self._password_known = True
        self._admin_password_known = True
        self.redis: EmbeddedRedis | None = None
        self.settings: Settings

    @property
    def base_url(self) -> str:
        scheme, default_port = ("https", 443) if self._tls else ("http", 80)
        # As browsers write it, since `Origin` is compared with it.
        port = "" if self.port == default_port else f":{self.port}"
        return f"{scheme}://{self.host}{port}"

    @property
    def api_url(self) -> str:
        return self.base_url + API_PATH

    def prepare(self) -> None:
        """Make what is missing: directory, Redis, database, keys, account. Keeps what is there.

        Raises `SettingsError`, `EmbeddedRedisError`.
        """
        try:
            self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.state_dir.chmod(0o700)
            self._take_lock()
        except OSError as error:
            raise SettingsError(
                f"--state-dir: cannot keep state in {self.state_dir}:"
                f" {os.strerror(error.errno or 0)}"
            ) from None
        self._take_port()
        self._secrets = self._load_secrets()
        server = find_server()
        if server is not None:
            self.redis = EmbeddedRedis(server, self.state_dir / "redis")
            self.redis.start()
        self.settings = self._write_settings()
        services = build_services(self.settings)
        try:
            migrate(services.engine)
            self._ensure_account(services)
            self._ensure_administrator(services)
        finally:
            services.stop()

    def _take_lock(self) -> None:
        """Lock the directory twice: only the second lock is inherited by a worker."""
        self._lock = (self.state_dir / "demo.lock").open("w")
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            deadline = time.monotonic() + _LOCK_TIMEOUT
            while True:
                try:
                    fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(_POLL)
                else:
                    return
        except BlockingIOError:
            raise DemoBusy(f"--state-dir: another demo is running on {self.state_dir}") from None

    def _take_port(self) -> None:
        """Make sure that the port is free, and choose one for 0."""
        last = 0
        with suppress(OSError, ValueError, TypeError, KeyError):
            last = int(json.loads((self.state_dir / DEMO_SETTINGS).read_text("utf-8"))["port"])
        for port in [self.port] if self.port else [last, 0]:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self.host, port))
                except OSError as error:
                    reason = os.strerror(error.errno or 0)
                else:
                    self.port = probe.getsockname()[1]
                    return
        raise SettingsError(f"--port: cannot listen on {self.host}:{self.port}: {reason}")

    def _load_secrets(self) -> _Secrets:
        path = self.state_dir / _SECRETS
        if path.is_file():
            with suppress(ValueError, TypeError):
                kept = _Secrets(**json.loads(path.read_text("utf-8")))
                if not kept.admin_password:
                    kept.admin_password = secrets.token_urlsafe(16)
                    self._save_secrets(kept)
                return kept
        made = _Secrets(*(secrets.token_urlsafe(16) for _ in range(4)))
        self._save_secrets(made)
        return made

    def _save_secrets(self, values: _Secrets) -> None:
        _write_private(self.state_dir / _SECRETS, asdict(values))

    def _write_settings(self) -> Settings:
        redis_url = self.redis.url if self.redis else "memory://demo"
        secret_digest = hashlib.sha256(self._secrets.introspection_secret.encode()).hexdigest()
        # One more secret, without one more to keep.
        audit_secret = hashlib.sha256(b"audit" + secret_digest.encode()).hexdigest()
        values: dict[str, Any] = {
            "mode": Mode.DEVELOPMENT.value,
            "issuer": self.base_url,
            "database_url": _sqlite_url(self.state_dir / "gatepass.sqlite"),
            "redis_url": redis_url,
            "keys_dir": str(self.state_dir / "keys"),
            "audit": {"secret": audit_secret},
            "host": self.host,
            "port": self.port,
            "workers": 1,
            "threads": 16,
            # Quicker than the default, so that the demo is ready sooner.
            "heartbeat_interval": 0.25,
            "console": {"enabled": True},
            # One machine has one clock.
            "issuer_skew": 0,
            "clients": {
                CLIENT_ID: {
                    "audience": AUDIENCE,
                    "scopes": ["read", "write"],
                    "origins": list(self._origins),
                },
                INTROSPECTOR: {
                    "audience": AUDIENCE,
                    "secret_sha256": secret_digest,
                    "introspect": True,
                },
            },
            # An address has no passkeys; the same machine under its other name has.
            "factors": {"rp_id": "localhost"},
            "allowed_origins": [f"{'https' if self._tls else 'http'}://localhost:{self.port}"],
        }
        if self._tls:
            certificate, key = write_self_signed(self.state_dir / "tls", self.host)
            values |= {"tls_certificate": str(certificate), "tls_key": str(key)}
        path = self.state_dir / DEMO_SETTINGS
        _write_private(path, values)
        return read_settings(path)

    def _ensure_administrator(self, services: Services) -> None:
        """One account for the console, whose password we can print unless somebody changed it."""
        account = services.accounts.by_username(ADMINISTRATOR)
        if account is None:
            roles = (services.settings.console.role,)
            services.accounts.add(ADMINISTRATOR, self._secrets.admin_password, roles=roles)
            return
        try:
            services.accounts.verify(account, self._secrets.admin_password)
        except BadCredentials:
            self._admin_password_known = False

    def _ensure_account(self, services: Services) -> None:
        """One account, whose password we can still print unless somebody chose another."""
        held = self._secrets
        account = services.accounts.by_username(USERNAME)
        if account is None:
            services.accounts.add(USERNAME, held.password)
            return
        for known in (held.password, held.next_password):
            with suppress(BadCredentials):
                services.accounts.verify(account, known)
                if known != held.password:
                    # The walk's fourth line has set it; offer a new one to change to.
                    self._secrets = replace(
                        held, password=known, next_password=secrets.token_urlsafe(16)
                    )
                    self._save_secrets(self._secrets)
                return
        self._password_known = False

    def build(self) -> tuple[WSGIApplication, Services, Verifier]:
        """The application of the serving process: issuer, and example API under `/api`."""
        services = build_services(self.settings, reset_sender=self._write_reset)
        app = create_app(self.settings, services=services)
        app.register_blueprint(pages(pages_folder()))
        certificate = self.settings.tls_certificate
        verifier = Verifier(
            issuer=self.settings.issuer,
            audience=AUDIENCE,
            denylist=self.settings.denylist,
            leeway=self.settings.leeway,
            heartbeat_interval=self.settings.heartbeat_interval,
            fetch=partial(fetch_json, cafile=str(certificate) if certificate else None),
        )
        services.watch.add(AUDIENCE, lambda: reading_of(verifier.replica, in_step=verifier.in_step))
        # A page of another origin calls the API too; it brings a token, never a cookie.
        api = Cors(example_api(verifier), self.settings.origins_of(CLIENT_ID), credentials=False)
        return DispatcherMiddleware(app, {API_PATH: api}), services, verifier

    def described(self) -> dict[str, Any]:
        """What `--json` prints: enough to drive the demo from a program."""
        return {
            "base_url": self.base_url,
            "api_url": self.api_url,
            "username": USERNAME,
            "password": self._secrets.password if self._password_known else None,
            "client_id": CLIENT_ID,
            "audience": AUDIENCE,
            "denylist_url": self.settings.denylist,
            "introspection_client_id": INTROSPECTOR,
            "introspection_client_secret": self._secrets.introspection_secret,
            "state_dir": str(self.state_dir),
            "console_url": f"{self.base_url}/console",
            "admin_username": ADMINISTRATOR,
            "admin_password": self._secrets.admin_password if self._admin_password_known else None,
        }

    def walk(self) -> list[str]:
        """Five lines for a shell: log in, call, refresh, change the password, be refused."""
        url, api = self.base_url, self.api_url
        certificate = shlex.quote(str(self.settings.tls_certificate))
        curl = f"curl -sS --cacert {certificate}" if self._tls else "curl -sS"
        json_type = "-H 'Content-Type: application/json'"
        old = self._secrets.password if self._password_known else "YOUR-PASSWORD"
        new = self._secrets.next_password
        login = json.dumps({"username": USERNAME, "password": old, "transport": "body"})
        change = json.dumps({"current_password": old, "new_password": new})
        field = """sed 's/.*"{0}":"\\([^"]*\\)".*/\\1/'"""
        access, refresh = field.format("access_token"), field.format("refresh_token")
        refresh_body = '-d "{\\"refresh_token\\":\\"$REFRESH\\"}"'
        bearer = '-H "Authorization: Bearer $ACCESS"'
        return [
            f"LOGIN=$({curl} {url}/login {json_type} -d '{login}') && echo \"$LOGIN\"",
            f'ACCESS=$(echo "$LOGIN" | {access}) && {curl} {api} {bearer}',
            f'REFRESH=$(echo "$LOGIN" | {refresh}) &&'
            f" {curl} {url}/refresh {json_type} {refresh_body}",
            f"{curl} {url}/password {bearer} {json_type} -d '{change}'",
            f"{curl} {api} {bearer}; {curl} {url}/refresh {json_type} {refresh_body}",
        ]

    def _exports(self) -> str:
        """One line for a shell: what the docs' commands go by."""
        binaries = shlex.quote(str(Path(sys.executable).parent))
        state, denylist = shlex.quote(str(self.state_dir)), shlex.quote(self.settings.denylist)
        return f'export PATH={binaries}:"$PATH" STATE={state} DENYLIST_URL={denylist}'

    def banner(self) -> str:
        """What a person reads."""
        lines = [
            f"Gatepass demo: open {self.base_url}/ in a browser; example API at {self.api_url}"
        ]
        if self._password_known:
            lines.append(f"Account: {USERNAME}, password: {self._secrets.password}")
        else:
            lines.append(f"Account: {USERNAME}, with the password that you have set")
        admin = (
            f"password: {self._secrets.admin_password}"
            if self._admin_password_known
            else "with the password that you have set"
        )
        lines.append(f"Console: {self.base_url}/console, account: {ADMINISTRATOR}, {admin}")
        lines.append(f"State: {self.state_dir} (delete it to start afresh)")
        if self.redis is None:
            lines.append(
                "NO REDIS FOUND: sessions and the denylist are in memory and end with this"
                " process. Install redis-server or `gatepass[embedded]` to keep them."
            )
        lines += ["", "For the commands of the docs, in another terminal:", "", self._exports()]
        lines += [
            "",
            "Log in, call the API, refresh, change the password, be refused",
            "(the fourth line sets the password to NEW; sign in with that afterwards):",
            "",
        ]
        lines += self.walk()
        return "\n".join([*lines, ""])

    def _write_reset(self, message: ResetMessage) -> None:
        """In place of a mail: a private file in the state directory."""
        _write_private(self.state_dir / "reset.json", asdict(message))

    def stop(self) -> None:
        """Stop what outlives the serving process."""
        if self.redis is not None:
            self.redis.stop()


class DemoWorker:
    """The demo's one serving process: issuer and example API, with their background work."""

    def __init__(self, demo: Demo, announce: Callable[[], None]) -> None:
        """`announce` is called once, when everything answers."""
        self._demo = demo
        self._announce = announce
        self._services: Services | None = None
        self._verifier: Verifier | None = None
        # Shared with a worker that takes over from a dead one: what was printed stays printed.
        self._announced = mmap.mmap(-1, 1)

    def build(self) -> WSGIApplication:
        application, self._services, self._verifier = self._demo.build()
        return application

    def start(self) -> None:
        if self._services is None or self._verifier is None:
            return
        if self._demo.redis is not None:
            self._demo.redis.watch()
        self._services.start()
        self._verifier.start()
        self._verifier.replica.wait_in_step(_IN_STEP_TIMEOUT)
        if self._announced[0] == 0:
            self._announced[0] = 1
            self._announce()

    def stop(self) -> None:
        if self._demo.redis is not None:
            self._demo.redis.stop_watching()
        if self._verifier is not None:
            self._verifier.stop()
        if self._services is not None:
            self._services.stop()


def _sqlite_url(path: Path) -> str:
    """The URL of a database file, whatever characters its path holds."""
    return sa.URL.create("sqlite", database=str(path)).render_as_string()


def _write_private(path: Path, values: dict[str, Any]) -> None:
    """Write JSON that its owner alone can read, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(values, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
