"""A span for each command to Redis within a trace: its name, never its arguments.

OpenTelemetry's own package for redis-py is a beta that gives keys, hence sessions' ids, away in
`db.statement`; and it makes a trace of each poll of the feed, two hundred a second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import redis
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Tracer
from redis.client import Pipeline
from redis.cluster import ClusterPipeline, RedisCluster

_PIPELINE = "PIPELINE"
_TRACED = "gatepass_traced"


def trace_commands(tracer: Tracer) -> None:
    """From now on, every client of this process is traced."""
    for kind in (redis.Redis, RedisCluster):
        _wrap(tracer, kind, "execute_command", _command)
    for pipeline in (Pipeline, ClusterPipeline):
        _wrap(tracer, pipeline, "execute", lambda _: _PIPELINE)


def _command(arguments: tuple[Any, ...]) -> str:
    # The first word alone: what follows in `SCRIPT LOAD` or `CLIENT KILL` is an argument.
    return str(arguments[0]).partition(" ")[0].upper()


def _wrap(
    tracer: Tracer, kind: type, method: str, name_of: Callable[[tuple[Any, ...]], str]
) -> None:
    plain = getattr(kind, method)
    if hasattr(plain, _TRACED):
        return

    @wraps(plain)
    def traced(self: Any, *arguments: Any, **options: Any) -> Any:
        if not trace.get_current_span().get_span_context().is_valid:
            return plain(self, *arguments, **options)
        name = name_of(arguments)
        with tracer.start_as_current_span(
            name,
            kind=SpanKind.CLIENT,
            attributes={"db.system.name": "redis", "db.operation.name": name},
            # An error's text may quote the command.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                return plain(self, *arguments, **options)
            except Exception as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(trace.StatusCode.ERROR)
                raise

    setattr(traced, _TRACED, True)
    setattr(kind, method, traced)
