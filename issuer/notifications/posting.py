"""One HTTP POST to a receiver: bounded in time and size, followed nowhere."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from revocation.deadline import within
from revocation.http_connection import TimedResponse
from revocation.reasons import reason_of

from ..settings import SettingsError
from .delivery import NotDelivered

MAX_ANSWER = 4096
"""Bytes of an answer that are read."""
_LONGEST_RETRY_AFTER = 7
"""Digits."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said."""

    status: int
    body: bytes
    retry_after: float

    def refusal(self, *, permanent: bool = False, code: str = "") -> NotDelivered:
        """It as a failure; `code` is the receiver's own word for it."""
        why = f"status {self.status}" + (f" {code}" if code else "")
        return NotDelivered(why, permanent=permanent, retry_after=self.retry_after)


class Poster:
    """Posts to one URL of the operator's; no address that anybody else named is ever asked.

    Redirections are not followed, and no proxy of the environment is used (OWASP ASVS 13.2.4,
    15.3.2).
    """

    def __init__(self, url: str, *, timeout: float, ca: Path | None = None) -> None:
        """`timeout`: seconds for the whole of an attempt. Raises `SettingsError` for its `ca`."""
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout = timeout
        self._trust = trust(ca) if parts.scheme == "https" else None

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Raises `NotDelivered` where there is no answer in time."""
        try:
            return within(self._timeout, partial(self._post, body, headers), "gatepass-post")
        except (OSError, http.client.HTTPException, ValueError) as error:
            late = isinstance(error, TimeoutError)
            raise NotDelivered(
                "no answer in time" if late else reason_of(error), unreachable=True
            ) from None

    def _post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        deadline = time.monotonic() + self._timeout
        connection = self._connection()
        connection.response_class = partial(  # type: ignore[assignment]
            TimedResponse, deadline=deadline, buffered=True
        )
        try:
            connection.request(
                "POST",
                self._path,
                body,
                {"User-Agent": "gatepass", "Connection": "close", **headers},
            )
            with connection.getresponse() as response:
                told = response.read(MAX_ANSWER)
                return Answer(response.status, told, _seconds(response.headers["Retry-After"]))
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._trust is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout, context=self._trust
        )


def trust(ca: Path | None) -> ssl.SSLContext:
    """TLS that trusts these authorities alone, or the system's. Raises `SettingsError`."""
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ValueError):
        raise SettingsError(f"notifications: {ca} holds no certificates that can be used") from None


def _seconds(header: str | None) -> float:
    """RFC 9110 section 10.2.3; a date is not waited for."""
    text = (header or "").strip()
    return (
        float(text)
        if text.isascii() and text.isdigit() and len(text) <= _LONGEST_RETRY_AFTER
        else 0.0
    )
