"""An ASGI middleware: nothing behind it sees a request or a WebSocket without a valid token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from revocation import StalePolicy

from .errors import Refusable, Refusal, refusal_of
from .guard import Guard
from .verifier import Verifier

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

CLAIMS = "gatepass.claims"
"""Where the application finds the claims: in the scope, which no client can write to."""
_POLICY_VIOLATION = 1008


class AsgiGuard:
    """Wraps an application, or one that is mounted in another, each with a rule of its own.

    A CORS middleware goes around it: a preflight has no token, and pages have to read refusals.
    """

    def __init__(
        self,
        application: Application,
        verifier: Verifier,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        acr: str = "",
        max_age: int | None = None,
        policy: StalePolicy | None = None,
    ) -> None:
        """As for `Guard`."""
        self._application = application
        self._guard = Guard(
            verifier, scopes=scopes, roles=roles, acr=acr, max_age=max_age, policy=policy
        )

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._application(scope, receive, send)
            return
        try:
            claims = await self._guard.aadmit(authorizations(scope["headers"]))
        except Refusable as error:
            if scope["type"] == "http":
                await _answer(refusal_of(error), "http.response", send)
            else:
                await _refuse_websocket(refusal_of(error), scope, receive, send)
            return
        await self._application({**scope, CLAIMS: claims}, receive, send)


def authorizations(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """Each `Authorization` header of a request."""
    return [value.decode("latin-1") for name, value in headers if name.lower() == b"authorization"]


async def _refuse_websocket(refusal: Refusal, scope: Message, receive: Receive, send: Send) -> None:
    await receive()  # websocket.connect
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await _answer(refusal, "websocket.http.response", send)
    else:
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})


async def _answer(refusal: Refusal, kind: str, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in refusal.headers]
    headers.append((b"content-length", b"%d" % len(refusal.body)))
    await send({"type": f"{kind}.start", "status": int(refusal.status[:3]), "headers": headers})
    await send({"type": f"{kind}.body", "body": refusal.body})
