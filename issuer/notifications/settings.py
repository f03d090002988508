"""Who is told of what, and how: the settings of notifications. Durations in seconds."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from ..audit.event import EventKind
from ..setting_values import NOT_SHA256, ReceiverUrl, is_sha256

NEW_DEVICE = "anomaly:new_device"

WEBHOOK_EVENTS = (
    EventKind.SESSION_ENDED,
    EventKind.REVOKED,
    EventKind.PASSWORD_CHANGED,
    EventKind.PASSWORD_RESET,
    EventKind.REUSE_DETECTED,
    EventKind.LOGIN_LIMITED,
    EventKind.ANOMALY,
    EventKind.FACTOR_ADDED,
    EventKind.FACTOR_REMOVED,
    EventKind.ACCOUNT_DISABLED,
    EventKind.ROLES_CHANGED,
)
MAIL_EVENTS = (
    NEW_DEVICE,
    EventKind.REUSE_DETECTED,
    EventKind.PASSWORD_CHANGED,
    EventKind.PASSWORD_RESET,
    EventKind.LOGIN_LIMITED,
    EventKind.FACTOR_ADDED,
    EventKind.FACTOR_REMOVED,
)
"""Each has its text in `templates`."""

_SECRET_PREFIX = "whsec_"  # noqa: S105 - what the standard puts in front of a secret
_SECRET_BYTES = range(24, 65)
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*\Z")
_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?\Z"
)


def is_address(text: str) -> bool:
    """Whether mail can be sent there: of an alphabet that no header can be broken with."""
    return len(text) <= 254 and _ADDRESS.match(text) is not None


def _event_name(name: str) -> str:
    kind, _, rule = name.partition(":")
    if kind not in set(EventKind) or (rule and kind != EventKind.ANOMALY):
        raise ValueError("names no kind of event")
    return name


def _mail(address: str) -> str:
    if not is_address(address):
        raise ValueError("is not an address of mail")
    return address


EventName = Annotated[str, AfterValidator(_event_name)]
"""A kind of the audit log's events; `anomaly:RULE` for those of one rule alone."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


def signing_secret(secret: SecretStr) -> bytes:
    """The octets of a Standard Webhooks secret. Raises `ValueError`, without quoting it."""
    text = secret.get_secret_value()
    try:
        octets = base64.b64decode(text.removeprefix(_SECRET_PREFIX), validate=True)
    except binascii.Error:
        octets = b""
    if not text.startswith(_SECRET_PREFIX) or len(octets) not in _SECRET_BYTES:
        raise ValueError("a secret is whsec_ and 24 to 64 octets in base64")
    return octets


class Webhook(BaseModel):
    """A receiver of events as JSON, signed as Standard Webhooks says."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: ReceiverUrl
    secret: SecretStr
    """`whsec_` and base64."""
    previous_secret: SecretStr | None = None
    """Signed with as well, while a receiver changes from it to `secret`."""
    events: tuple[EventName, ...] = WEBHOOK_EVENTS
    ca: Path | None = None
    """Authorities that may vouch for it, in place of the system's."""

    @model_validator(mode="after")
    def _usable(self) -> Webhook:
        self.keys()
        return self

    def keys(self) -> list[bytes]:
        """What is signed with, the present one first."""
        given = (self.secret, self.previous_secret)
        return [signing_secret(secret) for secret in given if secret is not None]


class Email(BaseModel):
    """The server that takes mail, and what people are written about."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = Field(min_length=1, max_length=255)
    port: int = Field(587, ge=1, le=65535)
    security: Literal["starttls", "tls", "plain"] = "starttls"
    username: str | None = None
    password: SecretStr | None = None
    sender: Annotated[str, AfterValidator(_mail)]
    """Who it is from."""
    address_of: str = ""
    """`module:function` from an `Account` to an address or None; else the username is one."""
    reset_page: ReceiverUrl | None = None
    """The page to which a reset mail links, with the token behind `#token=`."""
    events: tuple[EventName, ...] = MAIL_EVENTS
    ca: Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Email:
        if (self.username is None) != (self.password is None):
            raise ValueError("give username and password, or neither")
        if self.security == "plain" and self.username is not None:
            raise ValueError("a password is sent over TLS alone")
        if set(self.events) - set(MAIL_EVENTS):
            raise ValueError(f"events: mail can tell of {', '.join(map(str, MAIL_EVENTS))}")
        return self


SignalName = Literal["session-revoked", "credential-change"]


class SignalReceiver(BaseModel):
    """A receiver of Shared Signals: pushed to, or polling."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    audience: str = Field(min_length=1, max_length=255)
    """`aud` of what it gets."""
    push_url: ReceiverUrl | None = None
    """Where it is pushed to (RFC 8935)."""
    authorization: SecretStr | None = None
    """The `Authorization` header of a push."""
    secret_sha256: SecretStr | None = None
    """SHA-256, hexadecimal, of the secret with which it polls (RFC 8936)."""
    events: tuple[SignalName, ...] = ("session-revoked", "credential-change")
    ca: Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> SignalReceiver:
        if (self.push_url is None) == (self.secret_sha256 is None):
            raise ValueError("give push_url, or secret_sha256 for one that polls")
        secret = self.secret_sha256
        if secret is not None and not is_sha256(secret):
            raise ValueError(f"secret_sha256 {NOT_SHA256}")
        header = self.authorization
        if header is not None and not _HEADER_VALUE.match(header.get_secret_value()):
            raise ValueError("authorization is not the value of a header")
        return self


class NotificationSettings(BaseModel):
    """All receivers, and how often and for how long each is tried."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    webhooks: dict[Name, Webhook] = {}
    email: Email | None = None
    signals: dict[Name, SignalReceiver] = {}
    attempt_timeout: float = Field(10.0, ge=0.1, le=60)
    """For one attempt; the look-up of a name is the system's to bound."""
    concurrency: int = Field(2, ge=1, le=16)
    """Attempts at one receiver at once, in each process."""
    first_retry: float = Field(5.0, ge=0.1, le=3600)
    """Doubled after each failure, and less a random half at the most."""
    longest_retry: float = Field(3600.0, ge=0.1, le=86_400)
    max_age: int = Field(3 * 86_400, ge=1, le=30 * 86_400)
    """After which what could not be delivered is given up."""
    poll_wait: float = Field(20.0, ge=0, le=55)
    """For which a poll without news is held (RFC 8936 section 2.4)."""

    @model_validator(mode="after")
    def _consistent(self) -> NotificationSettings:
        if self.longest_retry < self.first_retry:
            raise ValueError("longest_retry is less than first_retry")
        return self

    def polling(self) -> dict[str, SignalReceiver]:
        """The receivers that poll."""
        return {n: each for n, each in self.signals.items() if each.secret_sha256 is not None}

    def require_production(self) -> None:
        """Raise `ValueError` for what anybody on the way could read or alter."""
        urls = [(f"webhooks.{name}.url", each.url) for name, each in self.webhooks.items()]
        urls += [
            (f"signals.{n}.push_url", e.push_url) for n, e in self.signals.items() if e.push_url
        ]
        for name in plain(urls):
            raise ValueError(f"notifications.{name}: production needs https://")
        if self.email is None:
            return
        if self.email.security == "plain":
            raise ValueError("notifications.email.security: production needs starttls or tls")
        if self.email.reset_page and not self.email.reset_page.startswith("https:"):
            raise ValueError("notifications.email.reset_page: production needs https://")


def plain(urls: list[tuple[str, str]]) -> Iterator[str]:
    """The names of those that are not https."""
    return (name for name, url in urls if urlsplit(url).scheme != "https")
