"""Where the issuer's keys are: its metadata say so (RFC 8414 section 3.3)."""

from __future__ import annotations

from typing import Any

from .errors import KeysUnavailable
from .fetching import Fetch, Fetched


class KeysAddress:
    """Fetches an issuer's JWKS from wherever its metadata say, and remembers where that was."""

    def __init__(self, issuer: str, fetch: Fetch) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._jwks_uri: str | None = None

    def fetch_jwks(self) -> Fetched:
        """The JWKS as it was answered. Raises `KeysUnavailable`."""
        if self._jwks_uri is None:
            self._jwks_uri = self._discover()
        return self._fetch(self._jwks_uri)

    def forget(self) -> None:
        """After a failure: they may be somewhere else by now."""
        self._jwks_uri = None

    def _discover(self) -> str:
        url = f"{self._issuer}/.well-known/oauth-authorization-server"
        metadata = self._fetch(url).document
        named = metadata.get("issuer") if isinstance(metadata, dict) else None
        if named != self._issuer:
            another = f"another issuer, {str(named)[:200]!r}" if named else "no issuer"
            raise KeysUnavailable(f"{url} names {another}")
        uri = metadata.get("jwks_uri")
        if not isinstance(uri, str) or not uri.startswith(f"{self._issuer}/"):
            raise KeysUnavailable(f"{url} names keys that are not the issuer's own")
        return uri


def members_of(jwks: Any) -> list[Any]:
    """The keys of a JWKS (RFC 7517 section 5). Raises `KeysUnavailable` for anything else."""
    members = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(members, list):
        raise KeysUnavailable("the issuer's answer is not a JWKS")
    return members
