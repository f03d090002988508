"""One GET, and what the answer tells beside its body: the server's clock and its certificate."""

from __future__ import annotations

import http.client
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from revocation.reasons import reason_of

TIMEOUT = 3.0
MOST = 4 << 20
"""Bytes of a body."""


class NoAnswer(Exception):
    """Nobody answers there, or not as a server of HTTP does."""


class BadCertificate(NoAnswer):
    """Whoever answers there does not prove to be who he should be."""


@dataclass(frozen=True, slots=True)
class Look:
    """An answer."""

    status: int
    body: bytes
    ahead: float | None
    """Seconds by which the server's clock is ahead of this host's, as exact as `Date` is: one."""
    certificate_end: float | None
    """Seconds since the epoch; None without TLS."""


def look(url: str, *, cafile: Path | None = None, token: str | None = None) -> Look:
    """GET a URL. Raises `NoAnswer`, `BadCertificate`."""
    parts = urlsplit(url)
    headers = {"Connection": "close"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        trust = ssl.create_default_context(cafile=None if cafile is None else str(cafile))
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=TIMEOUT, context=trust
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
    begun = time.time()
    try:
        connection.connect()
        certificate_end = _end(connection.sock)
        begun = time.time()
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        here = (begun + time.time()) / 2
        return Look(
            answer.status, answer.read(MOST), _ahead(answer.headers["Date"], here), certificate_end
        )
    except ssl.SSLCertVerificationError as error:
        raise BadCertificate(error.verify_message or "is not trusted") from None
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise NoAnswer(
            reason_of(error) if isinstance(error, OSError) else type(error).__name__
        ) from None
    finally:
        connection.close()


def _end(sock: object) -> float | None:
    if not isinstance(sock, ssl.SSLSocket):
        return None
    certificate = sock.getpeercert() or {}
    return float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))


def _ahead(date: str | None, here: float) -> float | None:
    if date is None:
        return None
    try:
        told = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    # It names a whole second that has begun: half of one later is the best guess.
    return told + 0.5 - here
