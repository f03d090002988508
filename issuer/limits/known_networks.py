"""Networks from which an account has logged in: an attacker elsewhere cannot lock it out there.

SP 800-63B-4 section 3.2.2 names such a list among what keeps a claimant from being locked out.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

MOST_KNOWN = 5
"""Networks of one account; the one that was used longest ago makes room."""
KNOWN_FOR = 30 * 86_400
"""Seconds since the account last logged in there."""


class KnownNetworks(Protocol):
    """Accounts and networks are digests; a network's is made with its account."""

    def is_known(self, account: str, network: str) -> bool: ...
    def remember(self, account: str, network: str) -> None: ...


class MemoryKnownNetworks:
    """Implements `KnownNetworks` for one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, dict[str, float]] = {}

    def is_known(self, account: str, network: str) -> bool:
        with self._lock:
            seen = self._seen.get(account, {}).get(network)
        return seen is not None and time.time() - seen < KNOWN_FOR

    def remember(self, account: str, network: str) -> None:
        with self._lock:
            networks = self._seen.setdefault(account, {})
            # Last in the order of the dictionary, which is the order of use.
            networks.pop(network, None)
            networks[network] = time.time()
            if len(networks) > MOST_KNOWN:
                del networks[next(iter(networks))]
