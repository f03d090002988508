"""What the forward-auth service is told, checked before anything is started."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import parse_qsl, urlsplit

from revocation import (
    DEFAULT_HEARTBEAT_INTERVAL,
    DEFAULT_MAX_STALENESS,
    MOST_ENTRIES,
    BadDenylistUrl,
    StalePolicy,
    open_denylist,
)
from revocation.follower import require_two_heartbeats
from tokens import DEFAULT_LEEWAY, InvalidClaim, Recipient

from .service_log import LogRequests
from .verifier import DEFAULT_MAX_LIFETIME

_SHA256_HEX = re.compile(r"[0-9a-f]{64}\Z")
_SECRETS_IN_QUERY = {"password", "token", "secret", "ssl_password", "sentinel_password"}


class BadSetting(ValueError):
    """A setting that cannot be used; `name` is its option, without the dashes."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """One forward-auth service. Durations in seconds."""

    issuer: str
    audience: str
    denylist: str = field(repr=False)
    namespace: str = "gatepass"
    host: str = "127.0.0.1"
    port: int = 9000
    socket: Path | None = None
    """A unix socket to listen on instead of host and port."""
    workers: int = 1
    replica_file: Path | None = None
    """What several processes map as their one copy of the denylist."""
    most_entries: int = MOST_ENTRIES
    """How many entries that copy takes in."""
    policy: StalePolicy = StalePolicy.CLOSED
    max_staleness: float = DEFAULT_MAX_STALENESS
    heartbeat_interval: float = DEFAULT_HEARTBEAT_INTERVAL
    leeway: int = DEFAULT_LEEWAY
    max_lifetime: int = DEFAULT_MAX_LIFETIME
    issuer_ca: Path | None = None
    plain_issuer: bool = False
    recipients: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    graceful_timeout: int = 10
    log_requests: LogRequests = LogRequests.REFUSED
    metrics_token_sha256: str | None = None
    """Of the token with which `/metrics` may be fetched; without it this machine may."""
    trust_request_id: bool = False
    """The gateway sets `X-Request-Id` itself, whatever a client sends."""
    counts: Path | None = None
    """Where several processes count together."""
    json: bool = False

    def check(self) -> None:
        """Try everything that can be tried without a server. Raises `BadSetting`."""
        _check_issuer(self.issuer, plain=self.plain_issuer)
        if not self.audience:
            raise BadSetting("audience", "is empty")
        _check_denylist(self.denylist, self.namespace)
        try:
            require_two_heartbeats(self.max_staleness, self.heartbeat_interval)
        except ValueError:
            raise BadSetting(
                "max-staleness", "has to be two heartbeat intervals at the least"
            ) from None
        if self.replica_file is not None:
            _check_private(self.replica_file.absolute().parent)
        read_recipients(self.recipients)
        if self.metrics_token_sha256 is not None and not _SHA256_HEX.match(
            self.metrics_token_sha256
        ):
            raise BadSetting("metrics-token-sha256", "is not 64 lower-case hexadecimal digits")
        if self.issuer_ca is not None:
            _try_certificates(
                "issuer-ca", lambda: ssl.create_default_context(cafile=self.issuer_ca)
            )
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise BadSetting("tls-key", "goes together with --tls-certificate")
        _try_certificates("tls-certificate", self.tls_context)

    def tls_context(self) -> ssl.SSLContext | None:
        """The context to serve TLS with, if any."""
        if self.tls_certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.tls_certificate, self.tls_key)
        return context


def has_password(url: str) -> bool:
    """Whether a denylist URL holds what must not be seen in a list of processes."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False  # it is refused for that
    query = {name for name, _ in parse_qsl(parts.query)}
    return bool(parts.password) or not query.isdisjoint(_SECRETS_IN_QUERY)


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_recipients(path: Path | None) -> Mapping[str, Recipient] | None:
    """Private keys by `kid` from a file that holds a JWK set. Raises `BadSetting`."""
    if path is None:
        return None
    try:
        members = json.loads(path.read_bytes())["keys"]
        return {jwk["kid"]: Recipient.from_jwk(jwk) for jwk in members}
    except OSError as error:
        raise BadSetting("recipients", f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, InvalidClaim):
        # Not the reason: it could quote the key.
        raise BadSetting("recipients", f"{path} is no JWK set of private keys") from None


def _check_issuer(issuer: str, *, plain: bool) -> None:
    try:
        parts = urlsplit(issuer)
        usable = parts.port != 0 and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable or parts.scheme not in {"http", "https"}:
        raise BadSetting("issuer", "is no http(s) URL with a host")
    if parts.username is not None or parts.query or parts.fragment or issuer.endswith("/"):
        raise BadSetting("issuer", "has to be an origin: without a slash at its end, user or query")
    if parts.scheme == "http" and not plain and not is_loopback(parts.hostname or ""):
        raise BadSetting(
            "issuer",
            "is plain http: whoever sits in between could hand out keys (RFC 8414 section 6.1);"
            " --plain-issuer takes it nevertheless",
        )


def _check_denylist(url: str, namespace: str) -> None:
    if url.startswith("memory:"):
        raise BadSetting("denylist", "memory:// is another process's own; nothing would be revoked")
    try:
        open_denylist(url, namespace=namespace, verify=_unread).close()
    except BadDenylistUrl as error:
        raise BadSetting("denylist", str(error)) from None


def _unread(*_: object, **__: object) -> NoReturn:
    raise AssertionError("nothing is read while settings are checked")


def _check_private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.stat()
    except OSError as error:
        raise BadSetting("replica-file", f"{directory}: {error.strerror}") from None
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise BadSetting(
            "replica-file",
            f"{directory} has to be of this user, with no right to write for anybody else",
        )


def _try_certificates(name: str, load: Callable[[], object]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise BadSetting(name, f"cannot be used: {reason or type(error).__name__}") from None
