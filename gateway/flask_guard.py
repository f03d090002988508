"""A decorator for Flask views: the view runs for a request with a valid token alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar

from revocation import StalePolicy
from tokens import AccessClaims

from .errors import Refusable, Refusal, refusal_of
from .guard import Guard
from .verifier import Verifier

try:
    import flask
except ImportError as error:
    raise ImportError("gateway.flask_guard needs Flask: pip install flask") from error

View = TypeVar("View", bound=Callable[..., Any])


class FlaskGuard:
    """Makes decorators: `@guard.requires(scopes=["orders:write"])`, below `@app.route(...)`."""

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
    ) -> Callable[[View], View]:
        """As for `Guard`. It stands below `@app.route`, so that the route has the guarded view."""
        guard = Guard(
            self._verifier, scopes=scopes, roles=roles, acr=acr, max_age=max_age, policy=policy
        )

        def guarded(view: View) -> View:
            @wraps(view)
            def admitted(*args: Any, **options: Any) -> Any:
                try:
                    flask.g.gatepass_claims = guard.admit(
                        flask.request.environ.get("HTTP_AUTHORIZATION")
                    )
                except Refusable as error:
                    return _response(refusal_of(error))
                return flask.current_app.ensure_sync(view)(*args, **options)

            return admitted  # type: ignore[return-value]

        return guarded


def current_claims() -> AccessClaims:
    """The claims of the request that a guarded view answers. Raises `LookupError` elsewhere."""
    claims: AccessClaims | None = flask.g.get("gatepass_claims")
    if claims is None:
        raise LookupError("this view is not guarded")
    return claims


def _response(refusal: Refusal) -> flask.Response:
    return flask.Response(refusal.body, refusal.status, list(refusal.headers))
