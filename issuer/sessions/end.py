"""End sessions: log out here, one of one's own, or everywhere (ASVS 7.4.1, 7.5.2)."""

from __future__ import annotations

from tokens import AccessClaims, Expired, TokenError

from ..errors import OAuthError
from ..journal import Reason
from ..services import Services


def logout(services: Services, *, refresh_token: str) -> bool:
    """End the session of a refresh token of any generation.

    False for a token that this issuer cannot read: nothing was ended, and nobody is told that it
    was. A session past its end has ended.
    """
    try:
        claims = services.open_refresh_token(refresh_token)
    except Expired:
        return True
    except TokenError:
        return False
    services.revoker.end_session(
        claims.sub, claims.sid, reason=Reason.LOGOUT, absolute_end=claims.exp
    )
    return True


def logout_bearer(services: Services, claims: AccessClaims) -> None:
    """End the session of an access token that has been verified."""
    _end(services, claims.sub, claims.sid, Reason.LOGOUT)


def end_own(services: Services, *, sub: str, sid: str) -> None:
    """End one of a person's own sessions. Raises `OAuthError` 404 if it is not theirs."""
    family = services.families.get(sub, sid)
    if family is None:
        raise OAuthError(404, "not_found", "there is no such session")
    _end(services, sub, sid, Reason.LOGOUT)


def _end(services: Services, sub: str, sid: str, reason: Reason) -> None:
    family = services.families.get(sub, sid)
    services.revoker.end_session(
        sub, sid, reason=reason, absolute_end=None if family is None else family.absolute_end
    )


def end_all(services: Services, *, sub: str, reason: Reason = Reason.LOGOUT_EVERYWHERE) -> None:
    """End every session of a person, in one step however many there are.

    Raises `UnknownAccount`.
    """
    change = services.accounts.raise_versions(
        sub, expires=services.revoker.entry_expiry(), reason=str(reason)
    )
    services.revoker.complete_id(change.journal_id)


def end_client(services: Services, client_id: str) -> None:
    """Disable a client, and refuse every token issued to it (or for an audience) until now.

    ASVS 7.4.5: in one step, whoever's sessions they are.
    """
    # An issuer whose clock is ahead may have stamped a token later than this.
    watermark = int(services.instant()) + services.settings.issuer_skew
    row_id = services.clients.disable(
        client_id, watermark=watermark, expires=services.revoker.entry_expiry()
    )
    services.revoker.complete_id(row_id)
