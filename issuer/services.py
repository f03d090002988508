"""The issuer's parts, wired in one place from its settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from keys import Key, KeyStore, RotationScheduler
from revocation import (
    DEFAULT_MAX_STALENESS,
    Denylist,
    Replica,
    open_denylist,
    suspension_aware_clock,
)
from tokens import MAX_LEEWAY, AccessVerifier, RefreshClaims, RefreshSealer, UnknownKid

from .accounts import PasswordHasher, PasswordPolicy, SqlAccounts
from .anomalies.states import States
from .anomalies.wiring import follow as follow_anomalies
from .audit.trail import Audit
from .clients import Clients
from .console.watching import Watch
from .database import open_engine
from .factors import Factors
from .factors.opening import open_factors
from .families import FamilyStore, RotationRules, open_families
from .feed import Feed, FeedHub, FeedSigner, Snapshots
from .gateways import Gateways
from .journal import Journal
from .key_stores import key_maker, open_key_store
from .limits.opening import Limits, open_limits
from .metrics import Metrics
from .notifications.opening import Notifications, open_notifications, open_reset_sender
from .parties import LONGEST_ACCESS_LIFETIME
from .positions import Positions
from .pulse import Pulse
from .resets import ResetDesk, ResetSender
from .revoker import Revoker
from .ring import RingKeys, signing_key, without
from .settings import Settings
from .state_metrics import StateMetrics
from .status_lists import StatusLists, open_status_store

Clock = Callable[[], float]

KEY_RING_INTERVAL = 5.0
"""Seconds between two looks at the key store: how long a revoked key may go on signing here."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a use case may need; built once for each process."""

    settings: Settings
    clock: Clock
    engine: sa.Engine
    accounts: SqlAccounts
    factors: Factors
    clients: Clients
    audit: Audit
    anomalies: States
    """What the rules of anomaly detection keep."""
    journal: Journal
    positions: Positions
    families: FamilyStore
    limits: Limits
    denylist: Denylist
    revoker: Revoker
    key_store: KeyStore
    keys: RotationScheduler
    sealer: RefreshSealer
    verifier: AccessVerifier
    """Of the tokens that this issuer itself takes."""
    revocable: AccessVerifier
    """Of the tokens that any gateway could take: whatever the settings say by now."""
    resets: ResetDesk
    pulse: Pulse
    status_lists: StatusLists | None
    """None where no client asks for them."""
    gateways: Gateways
    feed: Feed | None
    """None where no gateway may follow it."""
    metrics: Metrics
    state_metrics: StateMetrics
    watch: Watch
    """What the console shows over time."""
    notifications: Notifications

    def instant(self) -> float:
        """The time, for who will mint a token by it. Raises `revocation.ClocksApart`."""
        self.pulse.require_clock()
        return self.clock()

    def signing_key(self) -> Key:
        """As the function of this name. Raises `NoActiveKey`."""
        return signing_key(self.keys.ring, self.settings.algorithms)

    def open_refresh_token(self, token: str) -> RefreshClaims:
        """As `RefreshSealer.open`, now. Raises `TokenError`.

        Another issuer may have begun to use a key that this one has not read yet: after a key was
        revoked its successor is used at once.
        """
        try:
            return self.sealer.open(token, self.clock())
        except UnknownKid:
            self.keys.tick()
            return self.sealer.open(token, self.clock())

    def start(self) -> None:
        """Start the background threads of this process."""
        self.keys.start()
        self.audit.start()
        self.pulse.start()
        self.resets.start()
        if self.status_lists is not None:
            self.status_lists.start()
        if self.feed is not None:
            self.feed.start()
        if self.settings.console.enabled:
            self.watch.start()
        self.notifications.start()

    def end_streams(self) -> None:
        """Let go of what would last, before the process waits for what is under way."""
        if self.feed is not None:
            self.feed.end_streams()
        self.notifications.end_streams()

    def stop(self) -> None:
        """Stop them, and release connections."""
        self.pulse.stop()
        self.keys.stop()
        self.resets.stop()
        if self.status_lists is not None:
            self.status_lists.stop()
        if self.feed is not None:
            self.feed.stop()
        self.watch.stop()
        self.notifications.stop()
        # Last, since what the others did is told, and before its stores.
        self.audit.stop()
        self.denylist.close()
        self.families.close()
        self.limits.close()
        self.anomalies.close()
        self.engine.dispose()


def build_services(
    settings: Settings, *, clock: Clock | None = None, reset_sender: ResetSender | None = None
) -> Services:
    """Wire the parts; connects to nothing yet but the key directory.

    `clock` replaces the issuer's and the stores' time, for tests; `reset_sender` the one that the
    settings name. Raises `keys.KeyStoreError`, `SettingsError`.
    """
    now = clock or time.time
    engine = open_engine(settings.database_url, pool_size=settings.threads)
    metrics = Metrics()
    hashing = settings.hashing
    hasher = PasswordHasher(
        time_cost=hashing.time_cost,
        memory_cost=hashing.memory_cost,
        parallelism=hashing.parallelism,
        # Half of the threads stay free for requests that hash nothing; who waits has an own one.
        concurrency=min(hashing.concurrency, max(1, settings.threads // 2)),
        waiting=hashing.waiting,
        watch=metrics.hashing,
    )
    policy = PasswordPolicy(settings.password_min_length, context=("gatepass",))
    accounts = SqlAccounts(engine, hasher, policy, now)
    rules = RotationRules(settings.reuse_interval, settings.retry_window)
    families = open_families(settings.redis_url, rules, namespace=settings.namespace, clock=clock)
    denylist = open_denylist(
        settings.denylist,
        namespace=settings.namespace,
        replicas=settings.redis_replicas,
        clock=clock,
        wall_clock=now,
        tolerance=settings.clock_tolerance,
    )
    journal = Journal(engine, now)
    positions = Positions(engine)
    key_store = open_key_store(settings, engine, now)
    rotation = settings.rotation_policy()
    revoker = Revoker(
        journal,
        denylist,
        families,
        positions,
        longest_access=settings.longest_access,
        margin=settings.entry_margin,
        clock=now,
        withdraw_key=lambda kid: key_store.update(
            lambda ring: without(ring, {kid}, int(now()), rotation, key_maker(key_store))
        ),
        acknowledged=metrics.revoked,
    )
    keys = RotationScheduler(
        key_store,
        rotation,
        clock=now,
        interval=KEY_RING_INTERVAL,
        generate=key_maker(key_store),
    )
    keys.tick()
    limits = open_limits(settings)
    audit = Audit(
        engine,
        families,
        lambda: keys.ring,
        settings.audit,
        settings.keys_passphrase,
        now,
    )
    anomalies = follow_anomalies(settings, engine, audit, accounts, limits, revoker, now)
    pulse = Pulse(
        denylist,
        journal,
        revoker,
        positions,
        heartbeat_interval=settings.heartbeat_interval,
        access_lifetimes=frozenset(c.access_lifetime for c in settings.clients.values()),
        wall_clock=now,
        # Tests move the whole of time; a step of the real clock shows beside one that nobody sets.
        steady=clock or suspension_aware_clock,
        tolerance=settings.clock_tolerance,
    )
    services = Services(
        settings=settings,
        clock=now,
        engine=engine,
        accounts=accounts,
        factors=open_factors(settings, engine, now),
        clients=Clients(settings.clients, engine, now),
        audit=audit,
        anomalies=anomalies,
        journal=journal,
        positions=positions,
        families=families,
        limits=limits,
        denylist=denylist,
        revoker=revoker,
        key_store=key_store,
        keys=keys,
        sealer=RefreshSealer(settings.issuer, lambda: keys.ring),
        verifier=AccessVerifier(
            issuer=settings.issuer,
            # The issuer knows every token of its own, whichever API it is for.
            audience=[client.audience for client in settings.clients.values()],
            find_key=RingKeys(lambda: keys.ring),
            leeway=settings.leeway,
            # Tokens from before a setting was lowered are good until they expire.
            max_lifetime=LONGEST_ACCESS_LIFETIME,
            clock=now,
        ),
        revocable=AccessVerifier(
            issuer=settings.issuer,
            audience=None,
            find_key=RingKeys(lambda: keys.ring),
            leeway=MAX_LEEWAY,
            max_lifetime=LONGEST_ACCESS_LIFETIME,
            clock=now,
        ),
        resets=ResetDesk(accounts, reset_sender or open_reset_sender(settings, accounts)),
        pulse=pulse,
        status_lists=_status_lists(settings, denylist, keys, now),
        gateways=Gateways(settings.gateways),
        feed=_feed(settings, denylist, keys, now),
        metrics=metrics,
        state_metrics=StateMetrics(
            engine,
            denylist,
            lambda: keys.ring,
            now,
            denylist_url=settings.denylist,
            certificate=settings.tls_certificate,
        ),
        watch=Watch(settings.console, engine, now),
        notifications=open_notifications(
            settings,
            engine,
            accounts,
            lambda: signing_key(keys.ring, settings.algorithms),
            now,
            metrics.notified,
        ),
    )
    if services.notifications.wanted:
        services.audit.follow(services.notifications.consumer)
    return services


def _feed(
    settings: Settings, denylist: Denylist, keys: RotationScheduler, clock: Clock
) -> Feed | None:
    if not settings.gateways:
        return None
    signer = FeedSigner(settings.issuer, lambda: signing_key(keys.ring, settings.algorithms), clock)
    hub = FeedHub(denylist, signer, streams=settings.feed_streams)
    return Feed(denylist, signer, hub, Snapshots(denylist, signer))


def _status_lists(
    settings: Settings, denylist: Denylist, keys: RotationScheduler, clock: Clock
) -> StatusLists | None:
    if not any(client.status_list for client in settings.clients.values()):
        return None
    return StatusLists(
        open_status_store(settings.redis_url, namespace=settings.namespace),
        Replica(
            denylist,
            max_staleness=max(DEFAULT_MAX_STALENESS, 2 * settings.heartbeat_interval),
            heartbeat_interval=settings.heartbeat_interval,
            wall_clock=clock,
        ),
        issuer=settings.issuer,
        signing_key=lambda: signing_key(keys.ring, settings.algorithms),
        clock=clock,
    )
