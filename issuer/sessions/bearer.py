"""Who is calling: verifies an access token for the issuer's own endpoints."""

from __future__ import annotations

from dataclasses import dataclass

from revocation import Kind, Probe
from tokens import AccessClaims, TokenError

from ..accounts import Account
from ..errors import invalid_token
from ..services import Services


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified access token and the account behind it."""

    claims: AccessClaims
    account: Account
    reauthentication_due: bool = False
    """Whether the session has to prove anew who it is: its login stands for nothing any more."""


def authenticate(services: Services, token: str) -> Caller:
    """Verify a token, ask the denylist itself, and read the account.

    The issuer can afford the round trip, and SQL has the last word. Raises `OAuthError`.
    """
    try:
        claims, kid = services.verifier.verify_with_key(token)
    except TokenError as error:
        raise invalid_token(_TEXT.get(error.code, "the token is not valid here")) from None
    if refused_by_denylist(services, claims, kid) is not None:
        raise invalid_token("the token has been revoked")
    if claims.client_id not in services.settings.clients:
        raise invalid_token("the token's client is not one of this issuer any more")
    # An entry lasts longer than the token, but a process that was stopped before it asked may have
    # outlasted both: what has expired by now may have been revoked, too.
    if claims.exp + services.settings.leeway <= services.clock():
        raise invalid_token(_TEXT["expired"])
    standing = services.accounts.standing(
        claims.sub, sid=claims.sid, client_id=claims.client_id, audience=claims.aud[0]
    )
    account = standing.account
    if (
        account is None
        or not account.enabled
        or claims.sub_ver < account.sub_ver
        or standing.session_ended
        or standing.client_disabled
        or claims.iat <= standing.client_watermark
    ):
        raise invalid_token("the token has been revoked")
    return Caller(claims, account, standing.reauthentication_due)


_TEXT = {"expired": "the token has expired"}


def refused_by_denylist(services: Services, claims: AccessClaims, kid: str) -> Kind | None:
    """The kind of entry that refuses a token, asked of the denylist itself."""
    probe = Probe.of(claims, kid, services.denylist.state().salt)
    # A store that lacks what has been acknowledged must not answer "not revoked".
    return services.denylist.lookup(probe, services.positions.read())
