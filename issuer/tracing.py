"""Spans of requests, SQL statements and password hashing, for whoever wants traces (OpenTelemetry).

The packages that OpenTelemetry has for Flask, SQLAlchemy and redis-py are betas that record what
must not leave the process: paths, which here end with a session's id, and queries. These are a few
lines each, and none records a path, a parameter, an argument, a header or a body.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from flask import Flask, Response, request
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, StatusCode, Tracer, format_trace_id
from structlog.contextvars import bound_contextvars

from revocation import trace_export
from revocation.redis_tracing import trace_commands

from .audit.origin import current_origin

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

UNMATCHED = "none"
"""The route of a request for what is not there."""
_STACK = "gatepass_spans"
_CONTEXT = {"traceparent": "HTTP_TRACEPARENT", "tracestate": "HTTP_TRACESTATE"}
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def start(service: str) -> Tracer | None:
    """As `trace_export.start`, and commands to Redis are traced from then on."""
    tracer = trace_export.start(service)
    if tracer is not None:
        trace_commands(tracer)
    return tracer


def instrument(app: Flask, engine: sa.Engine, tracer: Tracer) -> None:
    """Trace the requests of an application, and the statements that it sends to its database."""
    app.after_request(_name_span)
    app.wsgi_app = _TracedRequests(app.wsgi_app, tracer)  # type: ignore[method-assign]
    _trace_statements(engine, tracer)


def span(name: str) -> AbstractContextManager[Any]:
    """A span around a piece of work; does nothing where there is no trace."""
    return trace.get_tracer(trace_export.NAME).start_as_current_span(
        name, record_exception=False, set_status_on_exception=False
    )


class _TracedRequests:
    """WSGI middleware: a span for each request, within the trace of its `traceparent`."""

    def __init__(self, app: WSGIApplication, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        carrier = {name: environ[key] for name, key in _CONTEXT.items() if key in environ}
        method = environ.get("REQUEST_METHOD", "")
        with (
            self._tracer.start_as_current_span(
                method if method in _METHODS else "HTTP",
                context=propagate.extract(carrier),
                kind=SpanKind.SERVER,
                attributes={"http.request.method": method if method in _METHODS else "_OTHER"},
                record_exception=False,
                set_status_on_exception=False,
            ) as current,
            bound_contextvars(trace_id=format_trace_id(current.get_span_context().trace_id)),
        ):
            return self._app(environ, start_response)


def _name_span(response: Response) -> Response:
    current = trace.get_current_span()
    route = request.url_rule.rule if request.url_rule else UNMATCHED
    if request.method in _METHODS:
        current.update_name(f"{request.method} {route}")
    current.set_attribute("http.route", route)
    current.set_attribute("http.response.status_code", response.status_code)
    current.set_attribute("gatepass.request_id", current_origin().request_id)
    if response.status_code >= 500:
        current.set_status(StatusCode.ERROR)
    return response


def _trace_statements(engine: sa.Engine, tracer: Tracer) -> None:
    """The statement's text, which has a placeholder for every value; never a parameter."""

    def begin(connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if not trace.get_current_span().get_span_context().is_valid:
            return
        operation = statement.lstrip().partition(" ")[0].upper()
        opened = tracer.start_span(
            operation,
            kind=SpanKind.CLIENT,
            attributes={
                "db.system.name": engine.dialect.name,
                "db.operation.name": operation,
                "db.query.text": statement,
            },
        )
        connection.info.setdefault(_STACK, []).append(opened)

    def end(connection: sa.Connection, *_: Any) -> None:
        if opened := connection.info.get(_STACK):
            opened.pop().end()

    def fail(context: Any) -> None:
        stack = context.connection.info.get(_STACK) if context.connection is not None else None
        if stack:
            failed = stack.pop()
            # The type alone: the text has the parameters in it.
            failed.set_attribute("error.type", type(context.original_exception).__name__)
            failed.set_status(StatusCode.ERROR)
            failed.end()

    sa.event.listen(engine, "before_cursor_execute", begin)
    sa.event.listen(engine, "after_cursor_execute", end)
    sa.event.listen(engine, "handle_error", fail)
