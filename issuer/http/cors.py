"""Cross-origin requests: which pages of other origins may call, and read what is answered.

Implements the CORS protocol of the Fetch standard. An origin is answered by its own name or not at
all, never by `*`, so that credentials go with listed origins alone (ASVS 3.4.2).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

BROWSER_PATHS = (
    "/login",
    "/refresh",
    "/logout",
    "/elevate",
    "/password",
    "/sessions",
    "/factors",
    "/revoke",
)
"""What a browser app calls; each with all that is below it."""

_PREFLIGHT_AGE = "600"
_METHODS = "GET, POST, DELETE"
_REQUEST_HEADERS = "Authorization, Content-Type"
_READABLE = "Retry-After, WWW-Authenticate, X-Request-Id"


class Cors:
    """Adds to an application's answers what lets listed origins read them."""

    def __init__(
        self,
        application: WSGIApplication,
        origins: Collection[str],
        *,
        paths: Collection[str] | None = None,
        credentials: bool,
    ) -> None:
        """`paths` None is every path. With `credentials` the browser's cookies may go along."""
        self._application = application
        self._origins = frozenset(origins)
        self._paths = None if paths is None else tuple(paths)
        self._credentials = credentials

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self._covers(environ.get("PATH_INFO", "")):
            return self._application(environ, start_response)
        origin = environ.get("HTTP_ORIGIN", "")
        allowed = self._allowing(origin) if origin in self._origins else []
        if (
            allowed
            and environ.get("REQUEST_METHOD") == "OPTIONS"
            and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        ):
            start_response("204 No Content", [*_VARY_OF_PREFLIGHT, *allowed, *_PREFLIGHT])
            return []

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            # Also where no origin was named: a cache must not give that answer to one that is.
            named = [*headers, ("Vary", "Origin"), *allowed]
            if allowed:
                named.append(("Access-Control-Expose-Headers", _READABLE))
            return start_response(status, named, *more)

        return self._application(environ, start)

    def _covers(self, path: str) -> bool:
        if self._paths is None:
            return True
        return any(path == known or path.startswith(known + "/") for known in self._paths)

    def _allowing(self, origin: str) -> list[tuple[str, str]]:
        headers = [("Access-Control-Allow-Origin", origin)]
        if self._credentials:
            headers.append(("Access-Control-Allow-Credentials", "true"))
        return headers


_VARY_OF_PREFLIGHT = [
    ("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
]
_PREFLIGHT = [
    ("Access-Control-Allow-Methods", _METHODS),
    ("Access-Control-Allow-Headers", _REQUEST_HEADERS),
    ("Access-Control-Max-Age", _PREFLIGHT_AGE),
]
