"""What a route asks of a request: a valid token that is enough for it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Self

from revocation import RevocationError, StalePolicy
from tokens import AccessClaims, TokenError

from .errors import GatewayError, Refusable
from .requirement import Requirement
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
        acr: str = "",
        max_age: int | None = None,
        policy: StalePolicy | None = None,
    ) -> None:
        """All of `scopes` and all of `roles` are needed; `policy` is the verifier's unless given.

        The person has been authenticated as well as `acr` says, or better, and `max_age` seconds
        ago at the most (RFC 9470). Raises `TypeError` for a bare string, which would be taken for
        its letters, and `ValueError` for an `acr` or a `max_age` that cannot be.
        """
        if isinstance(scopes, str) or isinstance(roles, str):
            raise TypeError("scopes and roles are collections of strings")
        self._verifier = verifier
        self._required = Requirement(frozenset(scopes), frozenset(roles), policy, acr, max_age)

    def with_rule(
        self,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        acr: str = "",
        max_age: int | None = None,
        policy: StalePolicy | None = None,
    ) -> Self:
        """A guard of the same verifier for a route with a rule of its own."""
        return type(self)(
            self._verifier, scopes=scopes, roles=roles, acr=acr, max_age=max_age, policy=policy
        )

    def admit(self, authorization: str | Sequence[str] | None) -> AccessClaims:
        """The claims of a request's `Authorization` header, or of the one among those given.

        Raises one of `Refusable`; `InsufficientScope` or `InsufficientAuthentication` where the
        token is valid and not enough.
        """
        try:
            return self._checked(self._verifier.verify_header(authorization, self._required.policy))
        except Refusable as refusal:
            _tell(refusal)
            raise

    async def aadmit(self, authorization: str | Sequence[str] | None) -> AccessClaims:
        """As `admit`, without ever blocking the event loop."""
        try:
            return self._checked(
                await self._verifier.averify_header(authorization, self._required.policy)
            )
        except Refusable as refusal:
            _tell(refusal)
            raise

    def _checked(self, claims: AccessClaims) -> AccessClaims:
        self._verifier.require(self._required, claims)
        return claims


def _tell(refusal: TokenError | RevocationError | GatewayError) -> None:
    # The code alone, which the client is not told: the reason's text may quote the token.
    log.info("refused: %s", refusal.code)
