"""HTTP connections to an issuer's feed: bounded in time and size, and never sent elsewhere."""

from __future__ import annotations

import base64
import http.client
import io
import ipaddress
import json
import os
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from .deadline import UntilDeadline
from .errors import (
    BadDenylistUrl,
    DenylistLost,
    DenylistNewer,
    DenylistNotReady,
    DenylistReplaced,
    DenylistUnavailable,
    DenylistWentBack,
    FeedGap,
    RevocationError,
)
from .reasons import reason_of

ANSWER_TIMEOUT = 2.0
"""Seconds for a whole answer to a small question, the connection included."""
MAX_ANSWER = 65_536
"""Bytes of one."""
_IDLE_LIMIT = 4
_USER_AGENT = "gatepass"

_TOLD: dict[str, type[RevocationError]] = {
    kind.code: kind
    for kind in (
        DenylistLost,
        DenylistNewer,
        DenylistNotReady,
        DenylistReplaced,
        DenylistWentBack,
    )
}
"""What an issuer says of its denylist; each makes a gateway trust it less, so none is signed."""


@dataclass(frozen=True, slots=True)
class FeedAddress:
    """Where a feed is, and who is asking."""

    host: str
    port: int | None
    path: str
    tls: bool
    cafile: str | None
    name: str = field(repr=False)
    secret: str = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> FeedAddress:
        """From `https://NAME:SECRET@HOST/revocations?cafile=…`; plain http on loopback only.

        Raises `BadDenylistUrl`, without quoting the URL.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        except ValueError:
            raise BadDenylistUrl("a feed's URL that cannot be taken apart") from None
        if not host or port == 0 or parts.fragment or set(options) - {"cafile"}:
            raise BadDenylistUrl("a feed's URL has a host, a path, and no option but cafile")
        if not parts.username or not parts.password:
            raise BadDenylistUrl(
                "a feed's URL holds the gateway's name and secret:"
                " https://NAME:SECRET@HOST/revocations"
            )
        if parts.scheme == "http" and not _is_loopback(host):
            # Credentials and session ids would be readable on the way (RFC 6750 section 5.2).
            raise BadDenylistUrl("a feed on another machine is read over https")
        return cls(
            host=host,
            port=port,
            path=parts.path.rstrip("/"),
            tls=parts.scheme == "https",
            cafile=options.get("cafile"),
            name=unquote(parts.username),
            secret=unquote(parts.password),
        )

    @property
    def authorization(self) -> str:
        """The header's value: form-encoded first (RFC 6749 section 2.3.1)."""
        pair = f"{quote_plus(self.name)}:{quote_plus(self.secret)}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"


def with_credentials(url: str, name: str, secret: str) -> str:
    """The URL of a feed, with the gateway's own name and secret in it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{quote(name, safe='')}:{quote(secret, safe='')}@{rest}"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Connections:
    """Kept-alive connections to one server, for any thread of this process.

    They are not for a child that was forked from it, which begins with none.
    """

    def __init__(self, address: FeedAddress) -> None:
        """Raises `BadDenylistUrl` for a `cafile` that cannot be read."""
        self._address = address
        self._trust: ssl.SSLContext | None = None
        if address.tls:
            try:
                self._trust = ssl.create_default_context(cafile=address.cafile)
            except (OSError, ValueError):
                raise BadDenylistUrl("the feed's cafile cannot be used") from None
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._owner = os.getpid()

    def ask(self, path: str, body: bytes | None = None) -> bytes:
        """One small question; the body of its answer, which was 200.

        Raises `RevocationError`.
        """
        deadline = time.monotonic() + ANSWER_TIMEOUT
        with unavailable_as_feed():
            kept = self._take()
            if kept is not None:
                try:
                    return self._ask_on(kept, deadline, path, body)
                except (http.client.HTTPException, ConnectionError):
                    # It was closed while nobody used it; every question may be repeated.
                    kept.close()
            return self._ask_on(self._connect(deadline), deadline, path, body)

    def open(
        self, path: str, headers: Mapping[str, str], deadline: float, *, buffered: bool = True
    ) -> tuple[http.client.HTTPConnection, TimedResponse]:
        """A connection of its own, and the head of an answer that was 200.

        Where it is not `buffered`, nothing behind the head has been read from the socket.
        Raises `RevocationError`.
        """
        with unavailable_as_feed():
            connection = self._connect(deadline)
            try:
                response = self._send(connection, deadline, path, None, headers, buffered=buffered)
            except BaseException:
                connection.close()
                raise
            return connection, response

    def close(self) -> None:
        """Close those that nobody uses."""
        while (kept := self._take()) is not None:
            kept.close()

    def _take(self) -> http.client.HTTPConnection | None:
        if self._owner != os.getpid():
            # The parent's: its peer would hear two processes on one connection.
            self._owner = os.getpid()
            while self._idle:
                self._idle.pop().close()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connect(self, deadline: float) -> http.client.HTTPConnection:
        address, left = self._address, max(deadline - time.monotonic(), 0.001)
        timeout = min(ANSWER_TIMEOUT, left)
        if self._trust is None:
            return http.client.HTTPConnection(address.host, address.port, timeout=timeout)
        return http.client.HTTPSConnection(
            address.host, address.port, timeout=timeout, context=self._trust
        )

    def _ask_on(
        self,
        connection: http.client.HTTPConnection,
        deadline: float,
        path: str,
        body: bytes | None,
    ) -> bytes:
        try:
            response = self._send(connection, deadline, path, body, {}, buffered=True)
            with response:
                answer = response.read(MAX_ANSWER + 1)
        except BaseException:
            connection.close()
            raise
        reusable = len(answer) <= MAX_ANSWER and not response.will_close
        if reusable and len(self._idle) < _IDLE_LIMIT:
            self._idle.append(connection)
        else:
            connection.close()
        if len(answer) > MAX_ANSWER:
            raise DenylistUnavailable("the feed answers with too many bytes")
        return answer

    def _send(
        self,
        connection: http.client.HTTPConnection,
        deadline: float,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        buffered: bool,
    ) -> TimedResponse:
        sent = {"Authorization": self._address.authorization, "User-Agent": _USER_AGENT, **headers}
        if body is not None:
            sent["Content-Type"] = "application/json"
        connection.response_class = partial(  # type: ignore[assignment]
            TimedResponse, deadline=deadline, buffered=buffered
        )
        method = "GET" if body is None else "POST"
        connection.request(method, self._address.path + path, body, sent)
        response = connection.getresponse()
        assert isinstance(response, TimedResponse)  # noqa: S101 - for the type alone
        try:
            _require_ok(response)
        except BaseException:
            response.close()  # it may hold the socket when the connection no longer does
            raise
        return response


class TimedResponse(http.client.HTTPResponse):
    """An answer that ends at a deadline, however steadily its bytes drip in."""

    def __init__(
        self, sock: socket.socket, *args: Any, deadline: float, buffered: bool, **options: Any
    ) -> None:
        super().__init__(sock, *args, **options)
        self.socket = sock
        reader: Any = self.fp
        timed = UntilDeadline(deadline, sock, reader.detach())
        self.fp = io.BufferedReader(timed, io.DEFAULT_BUFFER_SIZE if buffered else 1)


@contextmanager
def unavailable_as_feed() -> Iterator[None]:
    """Turn every way in which HTTP fails into one error of ours, without an address."""
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        # Not its text, which may quote an address or a header.
        raise DenylistUnavailable(f"the feed does not answer: {reason_of(error)}") from None


def _require_ok(response: http.client.HTTPResponse) -> None:
    if response.status != http.client.OK:
        raise _refusal(response)


def _refusal(response: http.client.HTTPResponse) -> RevocationError:
    """What an answer other than 200 means; a redirection is one of those (RFC 9110 15.4)."""
    status = response.status
    if status == http.client.GONE:
        return FeedGap("the feed does not go on from here")
    if status == http.client.UNAUTHORIZED:
        return DenylistUnavailable("the feed refuses this gateway's name or secret")
    try:
        told = json.loads(response.read(MAX_ANSWER)).get("error")
    except (ValueError, AttributeError, RecursionError):
        told = None
    known = _TOLD.get(told) if isinstance(told, str) else None
    if known is not None:
        return known()
    if status == http.client.NOT_FOUND:
        return DenylistUnavailable("no feed is at this address, which ends in /revocations")
    return DenylistUnavailable(f"the feed answers {status}")
