"""What a route asks of a request: a valid token with these scopes and roles."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Self

from revocation import RevocationError, StalePolicy
from tokens import AccessClaims, TokenError

from .errors import GatewayError, InsufficientScope, Refusable
from .verifier import Verifier

log = logging.getLogger("gatepass.gateway")


class Guard:
    """Admits requests to a route; the adapters of each framework stand on it."""

    def __init__(
        self,
        verifier: Verifier,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        policy: StalePolicy | None = None,
    ) -> None:
        """All of `scopes` and all of `roles` are needed; `policy` is the verifier's unless given.

        Raises `TypeError` for a bare string, which would be taken for its letters.
        """
        if isinstance(scopes, str) or isinstance(roles, str):
            raise TypeError("scopes and roles are collections of strings")
        self._verifier = verifier
        self._scopes = frozenset(scopes)
        self._roles = frozenset(roles)
        self._policy = policy

    def with_rule(
        self,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        policy: StalePolicy | None = None,
    ) -> Self:
        """A guard of the same verifier for a route with a rule of its own."""
        return type(self)(self._verifier, scopes=scopes, roles=roles, policy=policy)

    def admit(self, authorization: str | Sequence[str] | None) -> AccessClaims:
        """The claims of a request's `Authorization` header, or of the one among those given.

        Raises one of `Refusable`; `InsufficientScope` where the token is valid and not enough.
        """
        try:
            return self._checked(self._verifier.verify_header(authorization, self._policy))
        except Refusable as refusal:
            _tell(refusal)
            raise

    async def aadmit(self, authorization: str | Sequence[str] | None) -> AccessClaims:
        """As `admit`, without ever blocking the event loop."""
        try:
            return self._checked(await self._verifier.averify_header(authorization, self._policy))
        except Refusable as refusal:
            _tell(refusal)
            raise

    def _checked(self, claims: AccessClaims) -> AccessClaims:
        if not (self._scopes <= claims.scopes and self._roles.issubset(claims.roles)):
            raise InsufficientScope(self._scopes)
        return claims


def _tell(refusal: TokenError | RevocationError | GatewayError) -> None:
    # The code alone, which the client is not told: the reason's text may quote the token.
    log.info("refused: %s", refusal.code)
