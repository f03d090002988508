"""The issuer's public keys: discovered, cached, and kept through failures."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from keys import InvalidKey, load_public_jwk
from revocation import suspension_aware_clock
from revocation.jitter import jittered
from tokens import AlgorithmRefused, UnknownKid, VerificationKey, signature_libraries

from .discovery import KeysAddress, members_of
from .errors import KeysUnavailable
from .fetching import FETCH_TIMEOUT, Fetch, fetch_json, within

log = logging.getLogger("gatepass.gateway")

TOTAL_TIMEOUT = 2 * FETCH_TIMEOUT
"""Seconds for metadata and keys together, looking up the issuer's name included."""
COOL_DOWN = 10.0
"""Seconds between two fetches, whatever asks for them: an unknown `kid` costs one at most."""
MAX_AGE = 3600.0
"""Seconds for which a copy is trusted when the issuer cannot be reached."""
_FIRST_PAUSE = 0.5
"""Seconds after which a thread without any copy tries again, then twice as long, and so on."""


class WouldWait(Exception):
    """Nothing can be told without waiting for the issuer."""


class JwksClient:
    """Finds verification keys by `kid`, from a cached copy of the issuer's JWKS.

    A fetch that fails keeps the last good copy, up to `MAX_AGE`; a key that has left the set is
    no longer trusted once a newer copy is here. Once started, a thread fetches ahead of expiry, so
    that nobody waits for a key that is known; without it whoever finds the copy old fetches.
    """

    def __init__(
        self,
        issuer: str,
        *,
        fetch: Fetch = fetch_json,
        clock: Callable[[], float] = suspension_aware_clock,
    ) -> None:
        signature_libraries()  # loaded here, before there is a thread
        self._address = KeysAddress(issuer, fetch)
        self.clock = clock
        self._set = _KeySet({}, {})
        self.cached: Mapping[str, VerificationKey] = {}
        """The keys of the last good copy, by `kid`."""
        self.fresh_until = float("-inf")
        """Seconds of `clock`: before it they are to be trusted, from then on `find` decides."""
        self._fetched_at: float | None = None
        self._next_fetch = float("-inf")
        self._refresh_at = float("-inf")
        self._started = False
        self._thread: threading.Thread | None = None
        self.renew()
        _CLIENTS.add(self)

    def find(self, kid: str) -> VerificationKey:
        """The trusted key of this `kid`, the same object for as long as its JWK is the same.

        Raises `UnknownKid`, or `KeysUnavailable`.
        """
        now = self.clock()
        key = self.cached.get(kid)
        if key is not None and now < self.fresh_until:
            return key
        return self._find_in_old_copy(kid, now)

    def find_at_once(self, kid: str) -> VerificationKey:
        """As `find`; raises `WouldWait` where that takes a fetch."""
        now = self.clock()
        key = self.cached.get(kid)
        if key is not None and now < self.fresh_until:
            return key
        known = key is not None and self._may_be_trusted(now)
        if now >= self._next_fetch and not (known and self._started):
            raise WouldWait
        return self._find_in_old_copy(kid, now)

    def _find_in_old_copy(self, kid: str, now: float) -> VerificationKey:
        key = self.cached.get(kid)
        known = key is not None and self._may_be_trusted(now)
        if self._started and not self._runs:
            self.start()  # after a fork, which threads do not survive
        if now >= self._next_fetch:
            if known and self._runs:
                self._wake.set()
            else:
                # Whoever has a key goes on with it while another thread fetches.
                self._refresh(now, wait=not known)
                key = self.cached.get(kid)
        if not self._may_be_trusted(now):
            raise KeysUnavailable("there is no copy of the issuer's keys that may be trusted")
        if key is None:
            raise UnknownKid(kid)
        return key

    def _may_be_trusted(self, now: float) -> bool:
        return self._fetched_at is not None and now - self._fetched_at <= MAX_AGE

    @property
    def ready(self) -> bool:
        """Whether there is a copy that may be trusted."""
        return self._may_be_trusted(self.clock())

    def load(self) -> None:
        """Fetch the keys unless that was tried within the cool-down; a failure is logged alone."""
        now = self.clock()
        if now >= self._next_fetch:
            self._refresh(now, wait=True)

    # The thread.

    def start(self) -> None:
        """Fetch ahead of expiry from a thread of this process."""
        self._started = True
        self._stopping.clear()
        self._thread = threading.Thread(target=self._keep_fresh, name="gatepass-keys", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Fetch no more by itself; what is cached stays."""
        self._started = False
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None

    def renew(self) -> None:
        """Forget locks and the thread: those of a parent process mean nothing here."""
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = None

    @property
    def _runs(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _keep_fresh(self) -> None:
        stopping, wake = self._stopping, self._wake
        pause = _FIRST_PAUSE
        while not stopping.is_set():
            now = self.clock()
            if self._fetched_at is None:
                # Requests ask at once, whatever this thread has tried.
                self._refresh(now, wait=True, cool_down=0.0)
                wait, pause = pause, min(2 * pause, COOL_DOWN)
            elif now >= self._refresh_at:
                self._refresh(now, wait=True)
                wait = 0.0
            else:
                wait = self._refresh_at - now
            if wait:
                wake.wait(wait)
                wake.clear()

    # Fetching.

    def _refresh(self, now: float, *, wait: bool, cool_down: float | None = None) -> None:
        if not self._lock.acquire(timeout=2 * TOTAL_TIMEOUT if wait else 0):
            return
        try:
            if now < self._next_fetch:
                return  # another thread has just tried
            try:
                self._fetch_keys(now)
            finally:
                self._next_fetch = now + (COOL_DOWN if cool_down is None else cool_down)
                self._refresh_at = max(self._refresh_at, self._next_fetch)
        finally:
            self._lock.release()

    def _fetch_keys(self, now: float) -> None:
        try:
            fetched = within(TOTAL_TIMEOUT, self._address.fetch_jwks)
            keys = self._set.successor(fetched.document)
        except KeysUnavailable as error:
            kept = "keeping the last good keys" if self._fetched_at is not None else "no keys yet"
            log.warning("%s: %s", kept, error)
            self._address.forget()
            return
        lifetime = min(fetched.max_age, MAX_AGE)
        self._set, self.cached = keys, keys.keys
        self._fetched_at = now
        self.fresh_until = now + lifetime
        # Gateways that started together do not ask together.
        self._refresh_at = now + jittered(0.8 * lifetime, 0.125)


_CLIENTS: weakref.WeakSet[JwksClient] = weakref.WeakSet()


def _renew_after_fork() -> None:
    for client in list(_CLIENTS):
        client.renew()


os.register_at_fork(after_in_child=_renew_after_fork)


@dataclass(frozen=True, slots=True)
class _KeySet:
    """The usable keys of a JWKS, by `kid`, and the JWKs that they were made from."""

    keys: Mapping[str, VerificationKey]
    jwks: Mapping[str, Any]

    def successor(self, document: Any) -> _KeySet:
        """The keys of a newer JWKS (RFC 7517 section 5: unknown ones are passed over).

        A key of an unchanged JWK is the same object as before. Raises `KeysUnavailable`.
        """
        keys: dict[str, VerificationKey] = {}
        jwks: dict[str, Any] = {}
        for jwk in members_of(document):
            try:
                kid, alg, public = load_public_jwk(jwk)
                known = self.jwks.get(kid) == jwk
                keys[kid] = self.keys[kid] if known else VerificationKey.of(kid, alg, public)
                jwks[kid] = jwk
            except (InvalidKey, AlgorithmRefused, TypeError, AttributeError) as error:
                log.warning("passing over a key of the JWKS: %s", error)
        return _KeySet(keys, jwks)
