"""GET a JSON document from the issuer, within a time that holds for all of it."""

from __future__ import annotations

import http.client
import ipaddress
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from revocation.deadline import within as call_within
from revocation.http_connection import TimedResponse
from revocation.reasons import reason_of

from .errors import KeysUnavailable

FETCH_TIMEOUT = 2.0
"""Seconds for one document as a whole."""
MAX_DOCUMENT = 262_144
"""Bytes; a set of a thousand keys fits."""
DEFAULT_CACHE = 300

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


class _Connection(http.client.HTTPConnection):
    def __init__(self, host: str, *, deadline: float, **options: Any) -> None:
        super().__init__(host, **options)
        self.response_class = partial(  # type: ignore[assignment]
            TimedResponse, deadline=deadline, buffered=True
        )


class _TlsConnection(http.client.HTTPSConnection):
    def __init__(self, host: str, *, deadline: float, **options: Any) -> None:
        super().__init__(host, **options)
        self.response_class = partial(  # type: ignore[assignment]
            TimedResponse, deadline=deadline, buffered=True
        )


class _Http(urllib.request.HTTPHandler):
    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, request, deadline=self._deadline)  # type: ignore[arg-type]


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, deadline: float, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._deadline = deadline
        self._trust = context

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(
            _TlsConnection,  # type: ignore[arg-type]
            request,
            context=self._trust,
            deadline=self._deadline,
        )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def fetch_json(
    url: str, *, cafile: str | None = None, headers: Mapping[str, str] | None = None
) -> Fetched:
    """GET a JSON document, trusting `cafile` instead of the system's authorities if given.

    Raises `KeysUnavailable`, at the latest `FETCH_TIMEOUT` after the connection began.
    """
    try:
        scheme = urlsplit(url).scheme
        url.encode("ascii")
    except ValueError:
        raise KeysUnavailable("the keys' address is no URL") from None
    if scheme not in {"http", "https"}:
        raise KeysUnavailable("keys are fetched over http(s) only")
    deadline = time.monotonic() + FETCH_TIMEOUT
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects(), _Http(deadline)]
    if _is_loopback(url):
        handlers.append(urllib.request.ProxyHandler({}))
    if scheme == "https":
        handlers.append(_Https(deadline, ssl.create_default_context(cafile=cafile)))
    opener = urllib.request.build_opener(*handlers)
    try:
        request = urllib.request.Request(url, headers=dict(headers or {}))  # noqa: S310 - see above
        with opener.open(request, timeout=FETCH_TIMEOUT) as answer:
            body = answer.read(MAX_DOCUMENT + 1)
            cache_control = answer.headers.get("Cache-Control", "")
    except urllib.error.HTTPError as error:
        error.close()
        raise KeysUnavailable(f"{url} answers with status {error.code}") from None
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        raise KeysUnavailable(f"{url} does not answer: {reason_of(error)}") from None
    if len(body) > MAX_DOCUMENT:
        raise KeysUnavailable(f"{url} answers with more than {MAX_DOCUMENT} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise KeysUnavailable(f"{url} does not answer with JSON") from None
    found = _MAX_AGE_DIRECTIVE.search(cache_control)
    return Fetched(document, int(found[1]) if found else DEFAULT_CACHE)


def within(seconds: float, fetch: Callable[[], Fetched]) -> Fetched:
    """What `fetch` returns or raises, in a thread of its own; names, too, may take long to resolve.

    Raises `KeysUnavailable` once the time is over.
    """
    try:
        return call_within(seconds, fetch, "gatepass-fetch")
    except TimeoutError:
        raise KeysUnavailable(f"the issuer has not answered within {seconds} s") from None
