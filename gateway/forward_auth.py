"""The forward-auth service: an ASGI application that a gateway asks about each request.

`/verify` with the request's `Authorization` answers 200 with identity headers, 401 or 403 with
`WWW-Authenticate` (RFC 6750 section 3), or 503 with `Retry-After` where nothing can be told. Of the
request it reads `Authorization`, `traceparent` and the path's requirement, nothing else: no body,
no query string, and no header that tells of the original request.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from enum import StrEnum
from typing import Any

from revocation import RevocationError
from tokens import TokenError

from .errors import GatewayError, Refusable, refusal_of
from .identity import identity_headers
from .requirement import UnknownRequirement, requirement_of
from .service_log import fields, traceparent_of
from .verifier import Verifier

log = logging.getLogger("gatepass.gateway")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]


class LogRequests(StrEnum):
    """Which decisions are logged."""

    NONE = "none"
    REFUSED = "refused"
    ALL = "all"


class ForwardAuth:
    """An ASGI application around one verifier, which it starts and stops with the server."""

    def __init__(
        self, verifier: Verifier, *, log_requests: LogRequests = LogRequests.REFUSED
    ) -> None:
        self._verifier = verifier
        self._log_allowed = log_requests is LogRequests.ALL
        self._log_refused = log_requests is not LogRequests.NONE

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _answer(self, scope: Message, send: Send) -> None:
        # As it was sent: a decoded path could have more or fewer segments.
        path: bytes = scope["raw_path"].partition(b"?")[0]
        if path == b"/healthz":
            await _send(send, scope, 200, _JSON, b'{"status": "ok"}\n')
        elif path == b"/readyz":
            await self._tell_readiness(scope, send)
        else:
            await self._decide(path, scope, send)

    async def _decide(self, path: bytes, scope: Message, send: Send) -> None:
        try:
            required = requirement_of(path)
        except UnknownRequirement as error:
            log.warning("unknown_path", extra=fields(error=str(error)))
            body = _body("unknown_path", "the gateway's configuration asks for what is not there")
            await _send(send, scope, 404, _JSON, body)
            return
        authorizations, traceparents = [], []
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorizations.append(value.decode("latin-1"))
            elif name == b"traceparent":
                traceparents.append(value)
        trace = traceparents[0] if len(traceparents) == 1 else None
        try:
            claims = await self._verifier.averify_header(authorizations, required.policy)
            self._verifier.require(required, claims)
        except Refusable as error:
            await self._refuse(error, trace, scope, send)
            return
        if self._log_allowed:
            log.info("allowed", extra=fields(status=200, traceparent=traceparent_of(trace)))
        await _send(send, scope, 200, [*identity_headers(claims), _NO_STORE], b"")

    async def _refuse(
        self,
        error: TokenError | RevocationError | GatewayError,
        trace: bytes | None,
        scope: Message,
        send: Send,
    ) -> None:
        refusal = refusal_of(error)
        status = int(refusal.status[:3])
        if self._log_refused:
            told = fields(status=status, code=error.code, traceparent=traceparent_of(trace))
            log.info("refused", extra=told)
        headers = [(name.lower().encode(), value.encode()) for name, value in refusal.headers]
        await _send(send, scope, status, headers, refusal.body)

    async def _tell_readiness(self, scope: Message, send: Send) -> None:
        keys, replica = self._verifier.keys.ready, self._verifier.in_step
        parts = {"status": "ready" if keys and replica else "not ready"}
        parts |= {"keys": _word(keys), "replica": _word(replica)}
        headers = _JSON if keys and replica else [*_JSON, (b"retry-after", b"1")]
        body = json.dumps(parts).encode() + b"\n"
        await _send(send, scope, 200 if keys and replica else 503, headers, body)

    # --- life --------------------------------------------------------------------------------

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        self._verifier.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        await asyncio.to_thread(self._verifier.stop)
        await send({"type": "lifespan.shutdown.complete"})


_NO_STORE = (b"cache-control", b"no-store")
_JSON = [(b"content-type", b"application/json"), _NO_STORE]


def _body(error: str, description: str) -> bytes:
    return json.dumps({"error": error, "error_description": description}).encode() + b"\n"


def _word(ready: bool) -> str:  # noqa: FBT001 - a formatter
    return "ready" if ready else "not ready"


def _is_followed(name: bytes, value: bytes) -> bool:
    """Whether a header announces a body or another protocol."""
    if name == b"content-length":
        return value != b"0"
    return name in {b"transfer-encoding", b"upgrade"}


async def _send(send: Send, scope: Message, status: int, headers: Headers, body: bytes) -> None:
    sent = [*headers, (b"content-length", b"%d" % len(body))]
    if any(_is_followed(name, value) for name, value in scope["headers"]):
        # By what is none of ours and is not read: it is no request of the gateway's either
        # (RFC 9112 section 11.2).
        sent.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
