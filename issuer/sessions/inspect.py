"""Revocation (RFC 7009) and introspection (RFC 7662) of single tokens."""

from __future__ import annotations

from typing import Any

from revocation import Entry
from tokens import AccessClaims, RefreshClaims, TokenError, UnknownKid, is_sealed

from ..errors import OAuthError
from ..families import Status
from ..journal import Reason
from ..parties import Client
from ..services import Services
from .bearer import authenticate

_INACTIVE: dict[str, Any] = {"active": False}


def revoke_token(services: Services, *, token: str, client_id: str | None) -> None:
    """Revoke an access token, or end the session of a refresh token (RFC 7009 section 2.1).

    `client_id` is the authenticated or named client, None where none was given: then the token
    must be a public client's. An unknown token is no error. Raises `OAuthError`.
    """
    found = _read(services, token)
    if found is None:
        _refuse_sealed(token)
        return
    _require_own(services, found.client_id, client_id)
    if isinstance(found, RefreshClaims):
        services.revoker.end_session(
            found.sub, found.sid, reason=Reason.RFC7009, absolute_end=found.exp
        )
        return
    expires = found.exp + services.settings.entry_margin + 1
    services.revoker.revoke(Entry.token(found.jti, expires), reason=Reason.RFC7009, sub=found.sub)


def _read(services: Services, token: str) -> AccessClaims | RefreshClaims | None:
    """The claims of a token of ours that somebody could still take, or None."""
    found, known = _try(services, token)
    if found is None and not known:
        # Another issuer may have begun to use a key that this one has not read yet.
        services.keys.tick()
        found, _ = _try(services, token)
    return found


def _try(services: Services, token: str) -> tuple[AccessClaims | RefreshClaims | None, bool]:
    """The claims, and whether the key was known."""
    known = True
    try:
        return services.revocable.verify(token), known
    except UnknownKid:
        known = False
    except TokenError:
        pass
    try:
        return services.sealer.open(token, services.clock()), known
    except UnknownKid:
        known = False
    except TokenError:
        pass
    return None, known


def _refuse_sealed(token: str) -> None:
    """A token sealed for an audience cannot be read here, so that "revoked" would be untrue.

    RFC 7009 section 2.2.1. Its session can be ended, by its refresh token or by logging out.
    """
    if is_sealed(token):
        raise OAuthError(
            400,
            "unsupported_token_type",
            "a sealed access token cannot be revoked by itself; revoke the refresh token",
        )


def _require_own(services: Services, owner: str, client_id: str | None) -> None:
    if client_id == owner:
        return
    configured = services.clients.get(owner)
    if client_id is None and (configured is None or configured.secret_sha256 is None):
        return
    raise OAuthError(400, "unauthorized_client", "the token was issued to another client")


def introspect(services: Services, *, token: str, client: Client) -> dict[str, Any]:
    """What a token is worth now (RFC 7662 section 2.2).

    Inactive without a reason for whatever is not valid, and for tokens of another audience, so
    that one API learns nothing of another's (section 4).
    """
    try:
        claims = authenticate(services, token).claims
    except OAuthError as error:
        if error.status == 503:
            raise
        return _introspect_refresh(services, token, client)
    if client.audience not in claims.aud:
        return _INACTIVE
    return {"active": True, "token_type": "Bearer", **claims.to_payload()}


def _introspect_refresh(services: Services, token: str, client: Client) -> dict[str, Any]:
    try:
        claims = services.open_refresh_token(token)
    except TokenError:
        return _INACTIVE
    owner = services.clients.get(claims.client_id)
    if owner is None or owner.audience != client.audience:
        return _INACTIVE
    standing = services.accounts.standing(
        claims.sub, sid=claims.sid, client_id=claims.client_id, audience=owner.audience
    )
    family = services.families.get(claims.sub, claims.sid)
    account = standing.account
    if (
        account is None
        or not account.enabled
        or standing.session_ended
        or standing.reauthentication_due
        or standing.client_disabled
        or family is None
        or family.status is not Status.LIVE
        or family.auth_time <= standing.client_watermark
        or family.end <= services.clock()
        or family.credential_version != account.credential_version
        or claims.gen != family.gen
    ):
        return _INACTIVE
    return {
        "active": True,
        "token_type": "refresh_token",
        "iss": claims.iss,
        "sub": claims.sub,
        "sid": claims.sid,
        "client_id": claims.client_id,
        "scope": family.scope,
        "exp": int(family.end),
    }
