"""Settings, from the environment (`GATEPASS_…`), `.env` and `gatepass.toml`, in this order."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from keys import SIGNING_ALGORITHMS, InvalidPolicy, RotationPolicy
from revocation import CLOCK_TOLERANCE, DEFAULT_HEARTBEAT_INTERVAL
from tokens import DEFAULT_LEEWAY, MAX_LEEWAY

from .accounts.settings import Hashing
from .anomalies.settings import AnomalySettings
from .audit.settings import AuditSettings
from .console.settings import CLIENT_ID as CONSOLE_CLIENT_ID
from .console.settings import ConsoleSettings
from .factors.settings import FactorSettings
from .limits.settings import LimitSettings
from .notifications.settings import NotificationSettings, plain
from .parties import Audience, Client, Gateway
from .setting_values import NOT_SHA256, DatabaseUrl, Origin, StoreUrl, is_sha256

ENV_PREFIX = "GATEPASS_"
CONFIG_VARIABLE = "GATEPASS_CONFIG"
DEFAULT_CONFIG = "gatepass.toml"
DOTENV = ".env"
DEMO_SETTINGS = "settings.json"
"""Where the demo keeps its settings within its state directory."""

# How pydantic-settings words a variable that it cannot take apart.
_UNREAD_FIELD = re.compile(r'error parsing value for field "(\w+)"')


class SettingsError(Exception):
    """A setting that is missing or wrong; the text is one line for each and names it."""

    code: ClassVar[str] = "bad_setting"


class Mode(StrEnum):
    PRODUCTION = "production"
    DEVELOPMENT = "development"


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
        if token is not None and not is_sha256(token):
            raise ValueError(f"metrics_token_sha256: {NOT_SHA256}")
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
        if len(self.keys_passphrase or "") < 22:
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
    def keys_passphrase(self) -> str | None:
        """What `keys_secret` holds: the one secret that all issuers of a deployment share."""
        return self.keys_secret.get_secret_value() if self.keys_secret else None

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
        # One issuer that is ahead may have signed it, and one that is behind revokes it.
        return MAX_LEEWAY + 2 * self.clock_tolerance

    @property
    def clock_tolerance(self) -> int:
        """Seconds by which an issuer's clock may differ from Redis', or it does nothing by it."""
        return max(self.issuer_skew + 1, int(CLOCK_TOLERANCE))

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
