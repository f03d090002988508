"""HTTP for checks: kept-alive connections, answers that are values, nothing followed or stored."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, read to its end."""

    status: int
    headers: tuple[tuple[str, str], ...]
    content: bytes = field(repr=False)

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str:
        """The values of a header as one, empty if it is not there."""
        return ", ".join(self.all(name))

    @property
    def json(self) -> dict[str, Any]:
        """The JSON object of the body; empty if it is none."""
        try:
            value = json.loads(self.content)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def error(self) -> object:
        """The OAuth error code (RFC 6749 section 5.2)."""
        return self.json.get("error")


class Http:
    """Sends requests to whatever address, each origin on one connection."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._connections: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """One request and its answer. A connection that the server closed is opened anew."""
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        for fresh in (False, True):
            connection = self._connection(parts.scheme, parts.netloc, fresh=fresh)
            try:
                connection.request(method, target, body=body, headers=dict(headers))
                response = connection.getresponse()
                return Answer(response.status, tuple(response.getheaders()), response.read())
            except (http.client.HTTPException, ConnectionError):
                connection.close()
                if fresh:
                    raise
        raise AssertionError("unreachable")

    def _connection(self, scheme: str, netloc: str, *, fresh: bool) -> http.client.HTTPConnection:
        found = self._connections.get((scheme, netloc))
        if found is None or fresh:
            parts = urlsplit(f"//{netloc}")
            assert parts.hostname is not None, netloc
            if scheme == "https":
                found = http.client.HTTPSConnection(
                    parts.hostname, parts.port, timeout=TIMEOUT, context=self._context
                )
            else:
                found = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)
            self._connections[scheme, netloc] = found
        return found

    def close(self) -> None:
        """Close what is open."""
        for connection in self._connections.values():
            with contextlib.suppress(OSError):
                connection.close()
        self._connections.clear()
