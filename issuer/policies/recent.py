"""Whether a login is recent enough for a change of sensitive data (ASVS 7.5.1)."""

from __future__ import annotations

from tokens import AccessClaims

from ..errors import insufficient_authentication
from .settings import ClientRules


def require_recent(rules: ClientRules, claims: AccessClaims, now: float) -> None:
    """Raise `OAuthError` 401 where the caller logged in, or was elevated, too long ago (RFC 9470).

    `now` in seconds, by the issuer's clock.
    """
    longest = rules.reauthenticate
    if longest and now - claims.auth_time > longest:
        raise insufficient_authentication(
            "a more recent authentication is required: use /elevate first", max_age=longest
        )
