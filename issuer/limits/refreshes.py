"""Limits on floods of refreshes. None of them touches a session or its cookie."""

from __future__ import annotations

import structlog

from ..networks import host_of
from .digests import Digests
from .errors import TooManyRequests
from .storage import SharedStorage
from .windows import Counter, Full, Tally, Windows

log = structlog.get_logger("gatepass.issuer")


class RefreshGuard:
    """Limits how often one session is refreshed, and how often an address brings worthless tokens.

    An address that has brought too many is refused nothing that is good: its neighbours may share
    it.
    """

    def __init__(
        self, storage: SharedStorage, digests: Digests, *, session: Windows, refused: Windows
    ) -> None:
        self._tally = Tally(storage)
        self._digests = digests
        self._session = session
        self._refused = refused

    def session(self, sid: str) -> None:
        """Count a refresh of a session, whose token is authentic. Raises `TooManyRequests`."""
        self._take(self._session.counter(self._digests.of("session", sid)))

    def refused(self, address: str) -> None:
        """Count a token that is worth nothing. Raises `TooManyRequests` in place of that answer."""
        host = host_of(address)
        if host:
            self._take(self._refused.counter(self._digests.of("refused", host)))

    def _take(self, counter: Counter) -> None:
        full: Full | None = self._tally.count([counter])
        if full is not None:
            log.warning("refresh_limited", limit=full.name, retry_after=full.retry_after)
            raise TooManyRequests(full.name, full.retry_after)
