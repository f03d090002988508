"""The issuer's public keys: discovered, cached, and kept through failures."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from keys import InvalidKey, load_public_jwk
from tokens import AlgorithmRefused, UnknownKid, VerificationKey

from .errors import KeysUnavailable

log = logging.getLogger("gatepass.gateway")

FETCH_TIMEOUT = 2.0
MAX_DOCUMENT = 262_144
"""Bytes; a set of a thousand keys fits."""
DEFAULT_CACHE = 300
COOL_DOWN = 10.0
"""Seconds between two fetches, whatever asks for them: an unknown `kid` costs one at most."""
MAX_AGE = 3600.0
"""Seconds for which a copy is trusted when the issuer cannot be reached."""

_MAX_AGE_DIRECTIVE = re.compile(r"max-age=(\d{1,6})")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document and how long it may be cached, seconds."""

    document: Any
    max_age: int


Fetch = Callable[[str], Fetched]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    # Keys come from where the issuer is, not from where somebody sends us.
    def redirect_request(self, *_args: Any, **_options: Any) -> None:
        return None


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def fetch_json(url: str, *, cafile: str | None = None) -> Fetched:
    """GET a JSON document, trusting `cafile` instead of the system's authorities if given.

    Raises `KeysUnavailable`.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise KeysUnavailable("keys are fetched over http(s) only")
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if _is_loopback(url):
        handlers.append(urllib.request.ProxyHandler({}))
    if cafile is not None:
        context = ssl.create_default_context(cafile=cafile)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(url, timeout=FETCH_TIMEOUT) as answer:
            body = answer.read(MAX_DOCUMENT + 1)
            cache_control = answer.headers.get("Cache-Control", "")
    except (urllib.error.URLError, OSError, HTTPException) as error:
        raise KeysUnavailable(f"{url} does not answer: {type(error).__name__}") from None
    if len(body) > MAX_DOCUMENT:
        raise KeysUnavailable(f"{url} answers with more than {MAX_DOCUMENT} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise KeysUnavailable(f"{url} does not answer with JSON") from None
    found = _MAX_AGE_DIRECTIVE.search(cache_control)
    return Fetched(document, int(found[1]) if found else DEFAULT_CACHE)


class JwksClient:
    """Finds verification keys by `kid`, from a cached copy of the issuer's JWKS.

    A fetch that fails keeps the last good copy, up to `MAX_AGE`; a key that has left the set is
    no longer trusted once a newer copy is here.
    """

    def __init__(
        self,
        issuer: str,
        *,
        fetch: Fetch = fetch_json,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._jwks_uri: str | None = None
        self._keys: dict[str, VerificationKey] = {}
        self._fetched_at: float | None = None
        self._fresh_until = float("-inf")
        self._next_fetch = float("-inf")

    def find(self, kid: str) -> VerificationKey:
        """The trusted key of this `kid`. Raises `UnknownKid`, or `KeysUnavailable`."""
        now = self._clock()
        key = self._keys.get(kid)
        if key is not None and now < self._fresh_until:
            return key
        if now >= self._next_fetch:
            # Whoever has a key goes on with it while another thread fetches.
            self._refresh(now, wait=key is None)
            key = self._keys.get(kid)
        if self._fetched_at is None or now - self._fetched_at > MAX_AGE:
            raise KeysUnavailable("there is no copy of the issuer's keys that may be trusted")
        if key is None:
            raise UnknownKid(kid)
        return key

    @property
    def ready(self) -> bool:
        """Whether there is a copy that may be trusted."""
        return self._fetched_at is not None and self._clock() - self._fetched_at <= MAX_AGE

    def load(self) -> None:
        """Fetch the keys unless that was tried within the cool-down; a failure is logged alone."""
        now = self._clock()
        if now >= self._next_fetch:
            self._refresh(now, wait=True)

    def _refresh(self, now: float, *, wait: bool) -> None:
        if not self._lock.acquire(blocking=wait):
            return
        try:
            if now < self._next_fetch:
                return  # another thread has just tried
            self._fetch_keys(now)
            self._next_fetch = now + COOL_DOWN
        finally:
            self._lock.release()

    def _fetch_keys(self, now: float) -> None:
        try:
            fetched = self._fetch(self._discover())
            keys = _read_set(fetched.document)
        except KeysUnavailable as error:
            log.warning("keeping the last good keys: %s", error)
            return
        self._keys = keys
        self._fetched_at = now
        self._fresh_until = now + min(fetched.max_age, MAX_AGE)

    def _discover(self) -> str:
        """The `jwks_uri` of the issuer's metadata (RFC 8414 section 3.3)."""
        if self._jwks_uri is None:
            url = f"{self._issuer}/.well-known/oauth-authorization-server"
            metadata = self._fetch(url).document
            if not isinstance(metadata, dict) or metadata.get("issuer") != self._issuer:
                raise KeysUnavailable(f"{url} is not the metadata of {self._issuer}")
            uri = metadata.get("jwks_uri")
            if not isinstance(uri, str) or not uri.startswith(f"{self._issuer}/"):
                raise KeysUnavailable(f"{url} names keys that are not the issuer's own")
            self._jwks_uri = uri
        return self._jwks_uri


def _read_set(document: Any) -> dict[str, VerificationKey]:
    """The usable keys of a JWKS (RFC 7517 section 5: unknown ones are passed over)."""
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise KeysUnavailable("the issuer's answer is not a JWKS")
    keys: dict[str, VerificationKey] = {}
    for jwk in members:
        try:
            kid, alg, public = load_public_jwk(jwk)
            keys[kid] = VerificationKey.of(kid, alg, public)
        except (InvalidKey, AlgorithmRefused, TypeError, AttributeError) as error:
            log.warning("passing over a key of the JWKS: %s", error)
    return keys
