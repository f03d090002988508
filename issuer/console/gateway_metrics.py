"""Asks a gateway for its metrics, at the address of the settings alone."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from functools import partial
from urllib.parse import urlsplit

from revocation.http_connection import TimedResponse

from ..replica_reading import NotReached, Reading, parse_metrics
from .settings import WatchedGateway

FETCH_TIMEOUT = 1.5
"""Seconds for which a page waits for a gateway."""
MAX_METRICS = 1 << 20
"""Bytes."""


def fetch_reading(gateway: WatchedGateway) -> Reading:
    """Of a gateway's `/metrics`. Raises `NotReached`."""
    headers = {"Connection": "close"}
    if gateway.token is not None:
        headers["Authorization"] = f"Bearer {gateway.token.get_secret_value()}"
    try:
        status, body = _get(gateway.url, headers)
    except TimeoutError:
        raise NotReached("it does not answer in time") from None
    except (OSError, http.client.HTTPException):
        raise NotReached("it does not answer") from None
    if status != http.client.OK:
        raise NotReached(f"it answers with status {status}")
    if len(body) > MAX_METRICS:
        raise NotReached("it answers with more than a page of metrics")
    return parse_metrics(body.decode("utf-8", "replace"))


def _get(url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    make = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=FETCH_TIMEOUT)
    connection.response_class = partial(  # type: ignore[assignment]
        TimedResponse, deadline=time.monotonic() + FETCH_TIMEOUT, buffered=True
    )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as answer:
            return answer.status, answer.read(MAX_METRICS + 1)
    finally:
        connection.close()
