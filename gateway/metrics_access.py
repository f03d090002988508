"""Who may read the metrics of a service or an agent: whoever has the token, or this machine."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable

from .bearer import bearer_token
from .errors import Refusal, RequestRefused, TokenRequired, refused

_FORWARDED = {b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"}


class MetricsAccess:
    """With the SHA-256 of a token that token alone opens; without one, loopback does.

    A request that a proxy passed on comes from wherever its client is, so it needs the token, too.
    """

    def __init__(self, token_sha256: str | None) -> None:
        self._token_sha256 = token_sha256

    @property
    def refusal(self) -> Refusal:
        """The answer to whoever is not admitted."""
        if self._token_sha256 is None:
            told = "metrics are for this machine, unless there is a token"
            return refused("403 Forbidden", "access_denied", told)
        return refused(
            "401 Unauthorized",
            "invalid_token",
            "the metrics' own token is required",
            ("WWW-Authenticate", "Bearer"),
        )

    def admits(
        self, client: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]]
    ) -> bool:
        """`client` is the peer's address; None for a unix socket, which the system guards."""
        if self._token_sha256 is None:
            return _is_local(client) and not any(name in _FORWARDED for name, _ in headers)
        given = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
        try:
            digest = hashlib.sha256(bearer_token(given).encode()).hexdigest()
        except (TokenRequired, RequestRefused):
            return False
        # In constant time: none tells how much of it was right.
        return hmac.compare_digest(digest, self._token_sha256)


def _is_local(client: tuple[str, int] | None) -> bool:
    try:
        return client is None or ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
