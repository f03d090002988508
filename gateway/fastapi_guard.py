"""A dependency for FastAPI routes: the claims of a request with a valid token."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable

from revocation import StalePolicy
from tokens import AccessClaims

from .asgi import authorizations
from .errors import Refusable, refusal_of
from .guard import Guard
from .verifier import Verifier

try:
    from fastapi import HTTPException, Security
    from fastapi.requests import HTTPConnection
    from fastapi.security import HTTPBearer
except ImportError as error:
    raise ImportError("gateway.fastapi_guard needs FastAPI: pip install fastapi") from error

# For the OpenAPI document alone: what it finds is not looked at.
_SCHEME = Security(HTTPBearer(auto_error=False, bearerFormat="JWT", scheme_name="gatepass"))


class FastApiGuard:
    """`claims: AccessClaims = Depends(guard.requires(scopes=["orders:write"]))`."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def requires(
        self,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        acr: str = "",
        max_age: int | None = None,
        policy: StalePolicy | None = None,
    ) -> Callable[..., Awaitable[AccessClaims]]:
        """As for `Guard`. A refusal is an `HTTPException` whose detail is the OAuth error."""
        guard = Guard(
            self._verifier, scopes=scopes, roles=roles, acr=acr, max_age=max_age, policy=policy
        )

        async def admitted(connection: HTTPConnection, _scheme: object = _SCHEME) -> AccessClaims:
            try:
                return await guard.aadmit(authorizations(connection.headers.raw))
            except Refusable as error:
                refusal = refusal_of(error)
                headers = {name: value for name, value in refusal.headers if name != "Content-Type"}
                raise HTTPException(
                    int(refusal.status[:3]), json.loads(refusal.body), headers
                ) from None

        return admitted
