"""The issuer's public keys as PEM, for gateways that check signatures themselves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keys import InvalidKey, load_public_jwk

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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`algorithms` are those that the gateway knows; other keys are passed over."""
        self._issuer = issuer
        self._algorithms = algorithms
        self._fetch = fetch
        self._clock = clock
        self._jwks_uri: str | None = None
        self._fetched_at: float | None = None
        self._keys: dict[str, PublicKeyFile] = {}
        self._told = set[str]()

    @property
    def keys(self) -> dict[str, PublicKeyFile]:
        """By `kid`, as of the last good copy."""
        return self._keys

    @property
    def trusted(self) -> bool:
        """Whether there is a copy that is young enough to be gone by."""
        return self._fetched_at is not None and self._clock() - self._fetched_at <= MAX_AGE

    def refresh(self) -> None:
        """Fetch the set. Raises `KeysUnavailable`; the last copy stays."""
        now = self._clock()
        self._keys = self._read(self._fetch(self._discovered()).document)
        self._fetched_at = now

    def _discovered(self) -> str:
        """The `jwks_uri` of the issuer's metadata (RFC 8414 section 3.3)."""
        if self._jwks_uri is None:
            url = f"{self._issuer}/.well-known/oauth-authorization-server"
            metadata = self._fetch(url).document
            if not isinstance(metadata, dict) or metadata.get("issuer") != self._issuer:
                raise KeysUnavailable(f"{url} is not the metadata of {self._issuer}")
            uri = metadata.get("jwks_uri")
            if not isinstance(uri, str) or not uri.startswith(f"{self._issuer}/"):
                raise KeysUnavailable(f"{url} names keys that are not the issuer's own")
            self._jwks_uri = uri
        return self._jwks_uri

    def _read(self, document: Any) -> dict[str, PublicKeyFile]:
        members = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(members, list):
            raise KeysUnavailable("the issuer's answer is not a JWKS")
        keys: dict[str, PublicKeyFile] = {}
        for jwk in members:
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
