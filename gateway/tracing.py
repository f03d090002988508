"""A span for each request that the forward-auth service decides; nothing at all unless traced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Tracer

from .fetching import Fetch, Fetched, fetch_json

_CONTEXT = {b"traceparent", b"tracestate"}


@contextmanager
def deciding(
    tracer: Tracer, method: str, route: str, headers: Iterable[tuple[bytes, bytes]]
) -> Iterator[Span]:
    """A request's span, within the trace that its headers name (W3C Trace Context).

    It says what was decided, never for whom: no token, subject, session or address.
    """
    carrier = {
        name.decode(): value.decode("latin-1") for name, value in headers if name in _CONTEXT
    }
    with tracer.start_as_current_span(
        f"{method} {route}",
        context=propagate.extract(carrier),
        kind=SpanKind.SERVER,
        attributes={"http.request.method": method, "http.route": route},
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span


def decided(status: int, outcome: str) -> None:
    """Note how a request ended: an error only where nothing could be told."""
    span = trace.get_current_span()
    span.set_attribute("http.response.status_code", status)
    span.set_attribute("gatepass.outcome", outcome)
    if status >= 500:
        span.set_status(trace.StatusCode.ERROR)


def fetch_in_trace(tracer: Tracer, cafile: str | None) -> Fetch:
    """`fetch_json` that tells the issuer which trace it belongs to, where it belongs to one."""

    def fetch(url: str) -> Fetched:
        if not trace.get_current_span().get_span_context().is_valid:
            return fetch_json(url, cafile=cafile)
        carrier: dict[str, str] = {}
        with tracer.start_as_current_span(
            "GET", kind=SpanKind.CLIENT, attributes={"http.request.method": "GET"}
        ):
            propagate.inject(carrier)
            return fetch_json(url, cafile=cafile, headers=carrier)

    return fetch
