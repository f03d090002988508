"""The limits of an issuer, from its settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import structlog

from ..settings import Settings
from .digests import Digests
from .guard import Guard, Levels
from .redis_counts import RedisCounts
from .refreshes import RefreshGuard
from .storage import SharedStorage
from .windows import Windows, parse_windows

log = structlog.get_logger("gatepass.issuer")


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything that limits, on one storage."""

    storage: SharedStorage
    digests: Digests
    passwords: Guard
    resets: Guard
    refreshes: RefreshGuard

    def close(self) -> None:
        """Release connections."""
        self.storage.close()


def open_limits(settings: Settings) -> Limits:
    """Limits with their counts where the families live. Connects as `open_families` does."""
    if not settings.knows_addresses:
        log.warning("limits_without_addresses", why="behind_tls_proxy without trusted_proxies")
    memory = urlsplit(settings.redis_url).scheme == "memory"
    shared = None if memory else RedisCounts(settings.redis_url, namespace=settings.namespace)
    storage = SharedStorage(shared=shared)
    # Development has no secret, and nothing to be kept from whoever reads its Redis.
    digests = Digests(settings.keys_passphrase or settings.issuer)
    given = settings.limits

    def windows(name: str) -> Windows:
        return Windows(name, parse_windows(getattr(given, name)))

    def levels(kind: str) -> Levels:
        return Levels(
            account_network=windows(f"{kind}_account_network"),
            account=windows(f"{kind}_account"),
            address=windows(f"{kind}_address"),
            network=windows(f"{kind}_network"),
            everybody=windows(f"{kind}_everybody"),
            blocked=Windows("blocked", ()),
        )

    guesses = levels("guesses")
    if settings.anomalies.blocks:
        blocked = parse_windows(f"1 per {settings.anomalies.block_for} seconds")
        guesses = replace(guesses, blocked=Windows("blocked", blocked))
    resets = levels("resets")
    remember = guesses.spare_known_networks or resets.spare_known_networks
    return Limits(
        storage,
        digests,
        passwords=Guard(storage, digests, guesses, remember=remember),
        resets=Guard(storage, digests, resets, remember=remember),
        refreshes=RefreshGuard(
            storage,
            digests,
            session=windows("refreshes_session"),
            refused=windows("refreshes_refused"),
        ),
    )
