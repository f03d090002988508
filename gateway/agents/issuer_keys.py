"""The issuer's public keys as PEM, for gateways that check signatures themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keys import InvalidKey, load_public_jwk
from revocation import suspension_aware_clock

from ..discovery import KeysAddress, members_of
from ..errors import KeysUnavailable
from ..fetching import Fetch, fetch_json
from ..jwks import MAX_AGE

log = logging.getLogger("gatepass.agent")


@dataclass(frozen=True, slots=True)
class PublicKeyFile:
    """One verification key and the one algorithm that it serves (RFC 8725 section 3.1)."""

    alg: str
    pem: str
    jwk: Mapping[str, Any]


class IssuerKeys:
    """The keys of the issuer's set, those that are pending included; asked for again and again.

    A fetch that fails keeps the last good copy, up to `MAX_AGE`.
    """

    def __init__(
        self,
        issuer: str,
        algorithms: frozenset[str],
        *,
        fetch: Fetch = fetch_json,
        clock: Callable[[], float] = suspension_aware_clock,
    ) -> None:
        """`algorithms` are those that the gateway knows; other keys are passed over."""
        self._address = KeysAddress(issuer, fetch)
        self._algorithms = algorithms
        self._clock = clock
        self._fetched_at: float | None = None
        self._keys: dict[str, PublicKeyFile] = {}
        self._told = set[str]()

    @property
    def keys(self) -> dict[str, PublicKeyFile]:
        """By `kid`, as of the last good copy."""
        return self._keys

    @property
    def ready(self) -> bool:
        """Whether there is a copy that is young enough to be gone by."""
        return self._fetched_at is not None and self._clock() - self._fetched_at <= MAX_AGE

    def refresh(self) -> None:
        """Fetch the set. Raises `KeysUnavailable`; the last copy stays."""
        now = self._clock()
        try:
            self._keys = self._read(self._address.fetch_jwks().document)
        except KeysUnavailable:
            self._address.forget()
            raise
        self._fetched_at = now

    def _read(self, document: Any) -> dict[str, PublicKeyFile]:
        keys: dict[str, PublicKeyFile] = {}
        for jwk in members_of(document):
            try:
                kid, alg, public = load_public_jwk(jwk)
            except (InvalidKey, TypeError, AttributeError) as error:
                self._tell(f"passing over a key of the JWKS: {error}")
                continue
            if alg not in self._algorithms or not _is_plain(kid):
                self._tell(f"this gateway cannot verify {alg} under kid {kid!r}")
                continue
            pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            keys[kid] = PublicKeyFile(alg, pem.decode("ascii"), jwk)
        return keys

    def _tell(self, what: str) -> None:
        if what not in self._told and len(self._told) < 100:
            self._told.add(what)
            log.warning("%s", what)


def _is_plain(kid: str) -> bool:
    # It becomes a word of a gateway's configuration; a thumbprint (RFC 7638) always passes.
    return kid.isascii() and kid.replace("-", "").replace("_", "").replace(".", "").isalnum()
