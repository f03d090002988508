"""What a login or a refresh gives: an access token, a refresh token, and the time that is left."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace

from tokens import AccessClaims, RefreshClaims, seal, sign

from ..accounts import Account
from ..crash_points import CrashPoint, reach
from ..errors import invalid_grant
from ..families import Family
from ..policies.assurance import acr_of
from ..services import Services


@dataclass(frozen=True, slots=True)
class Context:
    """What a request says of the device, for the person's list of sessions."""

    address: str = ""
    user_agent: str = ""
    label: str = ""


NOWHERE = Context()


@dataclass(frozen=True, slots=True)
class Grant:
    """Tokens for one session; durations in seconds from now."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    sid: str
    idle_expires_in: int | None
    absolute_expires_in: int
    scope: str
    elevated_expires_in: int | None = None
    """Until the elevation ends; None without one."""


def random_id() -> str:
    """128 bits from the operating system's generator (ASVS 7.2.3), base64url."""
    return secrets.token_urlsafe(16)


def grant(services: Services, family: Family, account: Account, instant: float) -> Grant:
    """Mint both tokens of a family's current generation.

    `instant` was taken before the first read of account and family: a process that is stopped
    between reading and minting must not make a token that outlives the entry meant to stop it.
    Raises `OAuthError` where the session has less than a second left.
    """
    reach(CrashPoint.GRANT_MINTING)
    now = int(instant)
    client = services.settings.clients[family.client_id]
    # A gateway enforces the session's ends too, through `exp` (ASVS 7.3.1, 7.3.2).
    exp = min(now + client.access_lifetime, int(family.end))
    elevation = family.elevated(account.sub_ver, now)
    if elevation is not None:
        exp = min(exp, elevation.until)
    shown = elevation or family
    if exp <= now:
        raise invalid_grant("the session has reached its end; log in again")
    claims = AccessClaims(
        iss=services.settings.issuer,
        sub=account.id,
        aud=(client.audience,),
        client_id=family.client_id,
        iat=now,
        exp=exp,
        jti=random_id(),
        sid=family.sid,
        auth_time=shown.auth_time,
        sub_ver=account.sub_ver,
        amr=shown.amr,
        scope=shown.scope,
        roles=account.roles,
        acr=acr_of(shown.amr),
    )
    key = services.signing_key()
    if client.status_list and services.status_lists is not None:
        status = services.status_lists.claim(claims, key.kid)
        claims = replace(claims, extra={"status": status})
    access_token = sign(claims, key)
    audience = services.settings.audiences.get(client.audience)
    if audience is not None:
        access_token = seal(access_token, audience.recipient())
    refresh_token = services.sealer.mint(
        RefreshClaims(
            iss=services.settings.issuer,
            sub=account.id,
            sid=family.sid,
            client_id=family.client_id,
            gen=family.gen,
            exp=family.absolute_end,
        )
    )
    idle_end = family.idle_end
    return Grant(
        access_token=access_token,
        refresh_token=refresh_token,
        expires_in=exp - now,
        sid=family.sid,
        idle_expires_in=None if idle_end is None else max(0, int(idle_end - instant)),
        absolute_expires_in=max(0, int(family.absolute_end - instant)),
        scope=shown.scope,
        elevated_expires_in=None if elevation is None else elevation.until - now,
    )
