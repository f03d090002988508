"""Settings, from the environment (`GATEPASS_…`), `.env` and `gatepass.toml`, in this order."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

import sqlalchemy as sa
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from keys import SIGNING_ALGORITHMS, InvalidPolicy, RotationPolicy
from revocation import DEFAULT_HEARTBEAT_INTERVAL
from revocation.denylist import REDIS_SCHEMES
from revocation.redis_client import check_url
from tokens import DEFAULT_LEEWAY, MAX_LEEWAY, InvalidClaim, Recipient

from .anomalies.settings import AnomalySettings
from .audit.settings import AuditSettings
from .console.settings import CLIENT_ID as CONSOLE_CLIENT_ID
from .console.settings import ConsoleSettings
from .factors.settings import FactorSettings
from .notifications.settings import NotificationSettings, ReceiverUrl, plain
from .policies.settings import ClientRules

ENV_PREFIX = "GATEPASS_"
CONFIG_VARIABLE = "GATEPASS_CONFIG"
DEFAULT_CONFIG = "gatepass.toml"
DOTENV = ".env"
DEMO_SETTINGS = "settings.json"
"""Where the demo keeps its settings within its state directory."""
LONGEST_ACCESS_LIFETIME = 3600
LONGEST_SESSION = 30 * 86_400

_SHA256_HEX = re.compile(r"[0-9a-f]{64}\Z")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+\Z")
_DATABASES = ("sqlite", "postgresql+psycopg")
# How pydantic-settings words a variable that it cannot take apart.
_UNREAD_FIELD = re.compile(r'error parsing value for field "(\w+)"')
_STORES = (*sorted(REDIS_SCHEMES), "memory")


class SettingsError(Exception):
    """A setting that is missing or wrong; the text is one line for each and names it."""

    code: ClassVar[str] = "bad_setting"


class Mode(StrEnum):
    PRODUCTION = "production"
    DEVELOPMENT = "development"


_DEFAULT_PORTS = {"http": 80, "https": 443}


def _origin(url: str) -> str:
    """An origin, spelled as browsers spell it in their `Origin` header (RFC 6454 section 6.2)."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        # Without the cause, which may quote a part of it.
        raise ValueError("is not a URL") from None
    if parts.scheme not in _DEFAULT_PORTS or not host or not host.isascii():
        raise ValueError("is not an http(s) URL")
    host = f"[{host}]" if ":" in host else host
    suffix = "" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}"
    origin = f"{parts.scheme}://{host}{suffix}"
    if url.removesuffix("/") != origin:
        raise ValueError(
            "is not an origin: scheme, host in small letters, and the port unless it is the default"
        )
    return origin


def _store_url(url: str) -> str:
    if urlsplit(url).scheme not in _STORES:
        raise ValueError(f"starts with none of {', '.join(f'{name}://' for name in _STORES)}")
    if urlsplit(url).scheme == "memory":
        return url
    try:
        check_url(url)
    except ValueError:
        # Without the cause, which may quote a password.
        raise ValueError("is not a URL of a server that redis-py knows") from None
    return url


def _database_url(url: str) -> str:
    if urlsplit(url).scheme not in _DATABASES:
        raise ValueError(f"starts with none of {', '.join(f'{name}://' for name in _DATABASES)}")
    try:
        parsed = sa.make_url(url)
    except (ValueError, sa.exc.ArgumentError):
        # Without the cause, which may quote a password.
        raise ValueError("is not a database URL") from None
    if parsed.get_backend_name() == "sqlite" and (
        parsed.database in {None, "", ":memory:"} or "mode" in parsed.query
    ):
        # In memory it would be another database for each connection.
        raise ValueError("names no file")
    return url


Origin = Annotated[str, AfterValidator(_origin)]
StoreUrl = Annotated[str, AfterValidator(_store_url)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]


class Client(ClientRules):
    """A relying party: who logs people in, or who asks about tokens. Durations in seconds."""

    audience: str = Field(min_length=1, max_length=255)
    """The API that its access tokens are for."""
    scopes: tuple[str, ...] = ()
    access_lifetime: int = Field(300, ge=1, le=LONGEST_ACCESS_LIFETIME)
    idle: int = Field(1800, ge=0)
    """A session ends after this long without a person's activity; 0: never for that reason."""
    absolute: int = Field(43_200, ge=1, le=LONGEST_SESSION)
    """A session ends this long after login, whatever happens (SP 800-63B-4: 30 days at AAL1)."""
    secret_sha256: SecretStr | None = None
    """SHA-256 of the client's secret, hexadecimal; set for confidential clients only."""
    status_list: bool = False
    """Whether its access tokens have a place in a Token Status List; costs a write for each."""
    origins: tuple[Origin, ...] = ()
    """Origins of its pages beside the issuer's own: they may use cookie mode and read answers."""
    introspect: bool = False
    """Whether it may ask about tokens of its audience (RFC 7662); needs a secret."""
    backchannel_logout_uri: ReceiverUrl | None = None
    """Where it is told that a session of its own has ended (OpenID Back-Channel Logout)."""

    @model_validator(mode="after")
    def _consistent(self) -> Client:
        for scope in (*self.scopes, *self.elevated_scopes):
            if not _SCOPE.match(scope):
                raise ValueError(f"scope {scope!r} is not of the form of RFC 6749 section 3.3")
        if self.secret_sha256 and not _SHA256_HEX.match(self.secret_sha256.get_secret_value()):
            raise ValueError("secret_sha256 is not 64 lower-case hexadecimal digits")
        if self.introspect and self.secret_sha256 is None:
            raise ValueError("introspect needs secret_sha256")
        return self


class Gateway(BaseModel):
    """A gateway that follows the denylist over HTTP."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    secret_sha256: SecretStr
    """SHA-256 of its secret, hexadecimal."""

    @model_validator(mode="after")
    def _readable(self) -> Gateway:
        if not _SHA256_HEX.match(self.secret_sha256.get_secret_value()):
            raise ValueError("secret_sha256 is not 64 lower-case hexadecimal digits")
        return self


class Audience(BaseModel):
    """An API that has registered a public key, so that its access tokens are sealed for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encryption_jwk: dict[str, Any]

    @model_validator(mode="after")
    def _readable(self) -> Audience:
        if "d" in self.encryption_jwk:
            raise ValueError("encryption_jwk holds a private key; give the public one")
        try:
            self.recipient()
        except InvalidClaim as error:
            raise ValueError(str(error)) from None
        return self

    def recipient(self) -> Recipient:
        return Recipient.from_jwk(self.encryption_jwk)


class Hashing(BaseModel):
    """argon2id; the defaults are OWASP's second choice of 19 MiB, two passes, one lane."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time_cost: int = Field(2, ge=1)
    memory_cost: int = Field(19_456, ge=8)
    """KiB."""
    parallelism: int = Field(1, ge=1)
    concurrency: int = Field(2, ge=1)
    """Passwords hashed at once in each process; half of its threads at the most."""
    waiting: int = Field(16, ge=0, le=256)
    """Passwords that wait for their turn in each process, each on a thread of its own."""


def _windows(text: str) -> str:
    from .limits import parse_windows

    parse_windows(text)
    return text


Windows = Annotated[str, AfterValidator(_windows)]
"""`5 per minute; 20 per hour`; empty for no limit."""


class LimitSettings(BaseModel):
    """How much is allowed to whom (ASVS 6.3.1; SP 800-63B-4 section 3.2.2); docs/limits.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    guesses_account_network: Windows = "5 per minute; 10 per 10 minutes; 20 per hour; 60 per day"
    """Wrong passwords for one account from one network."""
    guesses_account: Windows = "10 per minute; 30 per hour; 60 per day"
    """And from all networks on which it has never logged in."""
    guesses_address: Windows = "20 per minute; 100 per hour"
    guesses_network: Windows = "60 per minute; 300 per hour"
    guesses_everybody: Windows = "600 per minute"
    resets_account_network: Windows = "3 per hour; 10 per day"
    resets_account: Windows = "5 per hour; 20 per day"
    resets_address: Windows = "20 per hour"
    resets_network: Windows = "60 per hour"
    resets_everybody: Windows = "600 per hour"
    refreshes_session: Windows = "120 per minute"
    """Refreshes of one session."""
    refreshes_refused: Windows = "300 per minute"
    """Worthless refresh tokens from one address."""
    requests: Windows = "1200 per minute"
    """Requests of one address to `/login` and `/password`."""
    sessions: int = Field(100, ge=0, le=10_000)
    """Live sessions of one account; 0 for any number."""


class Settings(BaseSettings):
    """Everything that an issuer is told. Durations in seconds."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_file=DOTENV,
        # A `.env` may hold other programs' variables; a misspelled one of ours is refused.
        dotenv_filtering="match_prefix",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    issuer: Origin
    """The URL under which gateways and browsers reach it: `iss` of every token."""
    mode: Mode = Mode.PRODUCTION
    database_url: DatabaseUrl
    redis_url: StoreUrl
    """Where families live."""
    denylist_url: StoreUrl | None = None
    """Where the denylist lives; the same as `redis_url` unless given."""
    redis_replicas: int = Field(0, ge=0, le=16)
    """Replicas of the denylist's Redis that must hold a revocation before it is acknowledged."""
    namespace: str = Field("gatepass", pattern=r"^[A-Za-z0-9_.-]+$")
    """Prefix of every Redis key."""
    key_store: Literal["directory", "database"] = "directory"
    """Where the key ring lives: `database` for several issuers without a shared disk."""
    keys_dir: Path | None = None
    """The key ring's directory."""
    keys_secret: SecretStr | None = None
    """Passphrase of the key ring; required in production."""
    hsm_module: Path | None = None
    """The PKCS#11 library of a token that holds the signing keys."""
    hsm_token: str | None = None
    """The token's label."""
    hsm_pin: SecretStr | None = None
    """Its user PIN."""
    hsm_label: str = Field("gatepass", min_length=1, max_length=32)
    """The label of our keys in it."""
    algorithms: tuple[str, ...] = ("ES256",)
    """The first signs; a further one is published and kept ready."""
    signing_period: int = Field(30 * 86_400, ge=1)
    sealing_period: int = Field(86_400, ge=1)
    jwks_cache: int = Field(300, ge=0)
    leeway: int = Field(DEFAULT_LEEWAY, ge=0, le=MAX_LEEWAY)
    """Clock skew that verifiers forgive."""
    issuer_skew: int = Field(5, ge=0, le=300)
    """How far the clocks of issuers and stores may differ."""
    clients: dict[str, Client] = Field(min_length=1)
    audiences: dict[str, Audience] = {}
    gateways: dict[str, Gateway] = {}
    """Who may follow the denylist over HTTP."""
    feed_streams: int = Field(32, ge=1, le=1000)
    """Gateways that follow at a time, in each process."""
    allowed_origins: tuple[Origin, ...] = ()
    """Origins beside the issuer's own that may use cookie mode for every client."""
    reuse_interval: float = Field(10.0, ge=0, le=60)
    retry_window: float | None = Field(None, ge=0, le=30 * 86_400)
    heartbeat_interval: float = Field(DEFAULT_HEARTBEAT_INTERVAL, gt=0, le=60)
    password_min_length: int = Field(15, ge=8, le=64)
    """15 where the password is the only factor (SP 800-63B-4, 3.1.1.2)."""
    hashing: Hashing = Hashing()
    limits: LimitSettings = LimitSettings()
    anomalies: AnomalySettings = AnomalySettings()
    factors: FactorSettings = FactorSettings()
    audit: AuditSettings = AuditSettings()
    reset_sender: str = ""
    """`smtp`, or `module:function` called with a `ResetMessage`; without one there is no reset."""
    notifications: NotificationSettings = NotificationSettings()
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    workers: int = Field(2, ge=1, le=256)
    threads: int = Field(8, ge=1, le=256)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_tls_proxy: bool = False
    """A proxy in front terminates TLS."""
    trusted_proxies: int = Field(0, ge=0, le=8)
    """How many hops of `X-Forwarded-For` are the deployment's own."""
    metrics_token_sha256: SecretStr | None = None
    """Of the token with which `/metrics` may be fetched; without it nobody may."""
    console: ConsoleSettings = ConsoleSettings()
    """Pages for administrators."""
    graceful_timeout: int = Field(30, ge=1)
    log_level: str = Field("INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = os.environ.get(CONFIG_VARIABLE, DEFAULT_CONFIG)
        toml = TomlConfigSettingsSource(settings_cls, toml_file=path)
        return init_settings, env_settings, dotenv_settings, toml

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if not self.algorithms or set(self.algorithms) - set(SIGNING_ALGORITHMS):
            raise ValueError(f"algorithms: not a list out of {', '.join(SIGNING_ALGORITHMS)}")
        token = self.metrics_token_sha256
        if token is not None and not _SHA256_HEX.match(token.get_secret_value()):
            raise ValueError("metrics_token_sha256: is not 64 lower-case hexadecimal digits")
        if CONSOLE_CLIENT_ID in self.clients:
            raise ValueError(f"clients: {CONSOLE_CLIENT_ID} is the console's own")
        if self.key_store == "directory" and self.keys_dir is None:
            raise ValueError("keys_dir: is missing")
        hsm = (self.hsm_module, self.hsm_token, self.hsm_pin)
        if any(hsm) and not all(hsm):
            raise ValueError("hsm_module: give it, hsm_token and hsm_pin, or none of them")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate: give it and tls_key, or neither")
        shared_memory = {urlsplit(self.redis_url).scheme, urlsplit(self.denylist).scheme}
        if "memory" in shared_memory and self.workers > 1:
            raise ValueError("workers: memory:// serves one process, so this must be 1")
        if self.reset_sender == "smtp" and self.notifications.email is None:
            raise ValueError("reset_sender: smtp needs notifications.email")
        self._require_policies()
        try:
            self.rotation_policy()
        except InvalidPolicy as error:
            raise ValueError(str(error)) from None
        if self.mode is Mode.PRODUCTION:
            self._require_production()
        return self

    def _require_policies(self) -> None:
        """Refuse what breaks a client's policy and is not that client's own setting."""
        for name, client in self.clients.items():
            broken = client.password_breach(self.password_min_length)
            if broken is not None:
                raise ValueError(f"password_min_length: for clients.{name}, {broken}")
            if "network" in client.binding and not self.knows_addresses:
                raise ValueError(
                    f"clients.{name}.binding: a network is known with trusted_proxies alone"
                )

    def _require_production(self) -> None:
        """Refuse what is only for a developer's machine: never silently weaker."""
        for name, url in (("redis_url", self.redis_url), ("denylist_url", self.denylist)):
            if urlsplit(url).scheme == "memory":
                raise ValueError(f"{name}: memory:// loses what it holds; not in production")
        if self.keys_secret is None or len(self.keys_secret.get_secret_value()) < 22:
            raise ValueError(
                "keys_secret: production keys are encrypted; give 22 random characters or more"
            )
        if urlsplit(self.issuer).scheme != "https":
            raise ValueError("issuer: production needs https://")
        if self.tls_certificate is None and not self.behind_tls_proxy:
            raise ValueError(
                "tls_certificate: give tls_certificate and tls_key, or set behind_tls_proxy"
            )

        if any(urlsplit(origin).scheme != "https" for origin in self.origins_of(None)):
            # Whoever holds the line would be that origin, and would be let in with the cookie.
            raise ValueError("allowed_origins: production needs https://, as do clients' origins")
        logouts = [
            (f"clients.{name}.backchannel_logout_uri", client.backchannel_logout_uri)
            for name, client in self.clients.items()
            if client.backchannel_logout_uri is not None
        ]
        for setting in plain(logouts):
            raise ValueError(f"{setting}: production needs https://")
        self.notifications.require_production()

    def origins_of(self, client_id: str | None) -> frozenset[str]:
        """The origins beside the issuer's own of one client's pages; None: of any client's."""
        clients = (
            self.clients.values()
            if client_id is None
            else [client for name, client in self.clients.items() if name == client_id]
        )
        own = (origin for client in clients for origin in client.origins)
        return frozenset((*self.allowed_origins, *own))

    @property
    def knows_addresses(self) -> bool:
        """Whether a request's address is its client's, not that of a proxy in front."""
        return self.trusted_proxies > 0 or not self.behind_tls_proxy

    @property
    def denylist(self) -> str:
        """The denylist's URL."""
        return self.denylist_url or self.redis_url

    @property
    def all_threads(self) -> int:
        """Of each process: who follows, or waits to log in, takes none from requests."""
        streams = self.feed_streams if self.gateways else 0
        polls = len(self.notifications.polling())
        return self.threads + self.hashing.waiting + streams + polls

    @property
    def longest_access(self) -> int:
        return max(client.access_lifetime for client in self.clients.values())

    @property
    def entry_margin(self) -> int:
        """Seconds by which a denylist entry outlives the last token that it can hit.

        Not this issuer's leeway but the most that any gateway may forgive.
        """
        return MAX_LEEWAY + self.issuer_skew

    @property
    def longest_session(self) -> int:
        return max(client.absolute for client in self.clients.values())

    def rotation_policy(self) -> RotationPolicy:
        """Raises `InvalidPolicy`."""
        return RotationPolicy(
            algorithms=self.algorithms,
            signing_period=self.signing_period,
            sealing_period=self.sealing_period,
            cache_lifetime=self.jwks_cache,
            access_lifetime=self.longest_access,
            refresh_lifetime=self.longest_session,
            leeway=self.leeway + self.issuer_skew,
        )


class _GivenSettings(Settings):
    """Settings from what is given alone, whatever the environment says."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def read_settings(path: Path) -> Settings:
    """The settings of one JSON file, and of nothing else. Raises `SettingsError`."""
    try:
        given = json.loads(path.read_text("utf-8"))
        return _checked(lambda: _GivenSettings(**given))
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"{path}: cannot be read: {type(error).__name__}") from None


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from their sources; `overrides` come before all of them.

    Raises `SettingsError` with one line for each bad or missing setting, naming its variable but
    never its value.
    """
    path = os.environ.get(CONFIG_VARIABLE)
    if path and not Path(path).is_file():
        raise SettingsError(f"{CONFIG_VARIABLE}: there is no file {path}")
    try:
        return _checked(lambda: Settings(**overrides))
    except (ValueError, OSError) as error:
        unread = _UNREAD_FIELD.search(str(error))
        if unread is not None:
            name = unread[1]
            raise SettingsError(f"{variable(name)} ({name}): is not JSON of its kind") from None
        raise SettingsError(
            f"{_unreadable(path or DEFAULT_CONFIG)}: cannot be read: {error}"
        ) from None


def _unreadable(config: str) -> str:
    """Which of the two files it is that is not text of its kind."""
    try:
        Path(DOTENV).read_text("utf-8")
    except UnicodeDecodeError:
        return DOTENV
    except OSError:
        return config
    return config


def _checked(make: Callable[[], Settings]) -> Settings:
    try:
        return make()
    except ValidationError as error:
        raise SettingsError("\n".join(_line(detail) for detail in error.errors())) from None


def _line(detail: Mapping[str, Any]) -> str:
    message = str(detail["msg"]).removeprefix("Value error, ")
    location = ".".join(str(part) for part in detail["loc"])
    if not location:
        # A rule over several settings names its own in front.
        name, _, text = message.partition(": ")
        return f"{variable(name)} ({name}): {text}" if text else message
    if detail["type"] == "missing":
        message = "is missing"
    elif detail["type"] == "extra_forbidden":
        message = "is not a setting"
    return f"{variable(location)} ({location}): {message}"


def variable(location: str) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + location.replace(".", "__").upper()
