"""Kinds of values that settings have: URLs of several sorts, and digests of secrets."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

import sqlalchemy as sa
from pydantic import AfterValidator, SecretStr

from revocation.denylist import REDIS_SCHEMES
from revocation.redis_client import check_url

NOT_SHA256 = "is not 64 lower-case hexadecimal digits"

_SHA256_HEX = re.compile(r"[0-9a-f]{64}\Z")
_PRINTABLE = re.compile(r"[\x21-\x7e]+\Z")
_DATABASES = ("sqlite", "postgresql+psycopg")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_STORES = (*sorted(REDIS_SCHEMES), "memory")


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


def _receiver_url(url: str) -> str:
    """An http(s) URL without credentials: those belong into settings that no log shows."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in {"http", "https"} or not host or port == 0 or not _PRINTABLE.match(url):
        raise ValueError("is not an http(s) URL")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("may hold neither credentials nor a fragment")
    return url


Origin = Annotated[str, AfterValidator(_origin)]
ReceiverUrl = Annotated[str, AfterValidator(_receiver_url)]
StoreUrl = Annotated[str, AfterValidator(_store_url)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]


def is_sha256(secret: SecretStr) -> bool:
    """Whether it is a digest as settings give it: of a secret, which they need not hold."""
    return _SHA256_HEX.match(secret.get_secret_value()) is not None
