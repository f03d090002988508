"""The forward-auth service: an ASGI application that a gateway asks about each request.

`/verify` with the request's `Authorization` answers 200 with identity headers, 401 or 403 with
`WWW-Authenticate` (RFC 6750 section 3), or 503 with `Retry-After` where nothing can be told. Of the
request it reads `Authorization`, the path's requirement, and, for logs and traces alone,
`X-Request-Id`, `traceparent` and `tracestate`, nothing else: no body, no query string, and no
header that tells of the original request.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from revocation import RevocationError, trace_export
from tokens import TokenError

from .counts import ALLOWED, ANSWERS, Counts
from .errors import GatewayError, Refusable, Refusal, refusal_of
from .identity import identity_headers
from .metrics import CONTENT_TYPE, ServiceMetrics, text_of
from .metrics_access import MetricsAccess
from .request_ids import HEADER, RequestIds
from .requirement import ROOT, UnknownRequirement, requirement_of
from .service_log import LogRequests, fields, traceparent_of
from .verifier import Verifier

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

log = logging.getLogger("gatepass.gateway")

PUBLISHING_INTERVAL = 1.0
"""Seconds after which the latency that one process has seen is there for the others."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]


class ForwardAuth:
    """An ASGI application around one verifier, which it starts and stops with the server."""

    def __init__(
        self,
        verifier: Verifier,
        *,
        log_requests: LogRequests = LogRequests.REFUSED,
        counts: Counts | None = None,
        metrics_access: MetricsAccess | None = None,
        request_ids: RequestIds | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """`counts` are shared by the processes of a service; without `tracer` nothing is traced."""
        self._verifier = verifier
        self._log_allowed = log_requests is LogRequests.ALL
        self._log_refused = log_requests is not LogRequests.NONE
        self._counts = counts or Counts()
        self._metrics = ServiceMetrics(verifier, self._counts)
        self._metrics_access = metrics_access or MetricsAccess(None)
        self._request_ids = request_ids or RequestIds(trusted=False)
        self._tracer = tracer
        self._publishing: asyncio.Task[None] | None = None

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
        elif path == b"/metrics":
            await self._tell_metrics(scope, send)
        elif self._tracer is None:
            await self._decide(path, scope, send)
        else:
            await self._decide_traced(self._tracer, path, scope, send)

    async def _decide_traced(self, tracer: Tracer, path: bytes, scope: Message, send: Send) -> None:
        from .tracing import decided, deciding

        # Not the path itself, which has the client's behind it at some gateways.
        with deciding(tracer, scope["method"], ROOT.decode(), scope["headers"]):
            decided(*await self._decide(path, scope, send))

    async def _decide(self, path: bytes, scope: Message, send: Send) -> tuple[int, str]:
        """Answer; returns the status and the outcome."""
        begun = perf_counter_ns()
        authorizations, traceparents, given = [], [], []
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorizations.append(value.decode("latin-1"))
            elif name == b"traceparent":
                traceparents.append(value)
            elif name == HEADER:
                given.append(value)
        request_id = (HEADER, self._request_ids.begin(given))
        trace = traceparents[0] if len(traceparents) == 1 else None
        try:
            required = requirement_of(path)
        except UnknownRequirement as error:
            log.warning("unknown_path", extra=fields(error=str(error)))
            body = _body("unknown_path", "the gateway's configuration asks for what is not there")
            await _send(send, scope, 404, [*_JSON, request_id], body)
            return 404, "unknown_path"
        try:
            claims = await self._verifier.averify_header(authorizations, required.policy)
            self._verifier.require(required, claims)
        except Refusable as error:
            status = await self._refuse(error, trace, request_id, scope, send)
            answer = _UNAVAILABLE if status >= 500 else _REFUSED
            self._counts.decided(error.code, answer, perf_counter_ns() - begun)
            return status, error.code
        if self._log_allowed:
            log.info("allowed", extra=fields(status=200, traceparent=traceparent_of(trace)))
        headers = [*identity_headers(claims), _NO_STORE, request_id]
        await _send(send, scope, 200, headers, b"")
        self._counts.decided(ALLOWED, _ALLOWED, perf_counter_ns() - begun)
        return 200, ALLOWED

    async def _refuse(
        self,
        error: TokenError | RevocationError | GatewayError,
        trace: bytes | None,
        request_id: tuple[bytes, bytes],
        scope: Message,
        send: Send,
    ) -> int:
        refusal = refusal_of(error)
        status = int(refusal.status[:3])
        if self._log_refused:
            told = fields(status=status, code=error.code, traceparent=traceparent_of(trace))
            log.info("refused", extra=told)
        await _send(send, scope, status, [*_sent(refusal), request_id], refusal.body)
        return status

    async def _tell_metrics(self, scope: Message, send: Send) -> None:
        access = self._metrics_access
        if access.admits(scope.get("client"), scope["headers"]):
            text = await asyncio.to_thread(text_of, self._metrics)
            await _send(send, scope, 200, [(b"content-type", CONTENT_TYPE), _NO_STORE], text)
        else:
            refusal = access.refusal
            await _send(send, scope, int(refusal.status[:3]), _sent(refusal), refusal.body)

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
        self._publishing = asyncio.create_task(self._publish())
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        self._publishing.cancel()
        await asyncio.to_thread(self._verifier.stop)
        if self._tracer is not None:
            await asyncio.to_thread(trace_export.stop)
        await send({"type": "lifespan.shutdown.complete"})

    async def _publish(self) -> None:
        while True:
            self._counts.publish(self._verifier.replica.latencies)
            await asyncio.sleep(PUBLISHING_INTERVAL)


_ALLOWED, _REFUSED, _UNAVAILABLE = range(len(ANSWERS))
_NO_STORE = (b"cache-control", b"no-store")
_JSON = [(b"content-type", b"application/json"), _NO_STORE]


def _body(error: str, description: str) -> bytes:
    return json.dumps({"error": error, "error_description": description}).encode() + b"\n"


def _sent(refusal: Refusal) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in refusal.headers]


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
