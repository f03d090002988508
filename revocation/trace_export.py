"""Where traces go: what the standard `OTEL_*` variables say, and nowhere without them.

Spans are made with OpenTelemetry's API alone, which does nothing until a provider is there. The one
made here needs the extra `otel`; a program that brings its own, such as `opentelemetry-instrument`,
keeps it.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

log = logging.getLogger("gatepass.tracing")

NAME = "gatepass"
"""Of the instrumentation scope."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def wanted() -> bool:
    """Whether the environment asks for traces by OTLP."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    return exporter == "otlp" or (not exporter and any(map(os.environ.get, _ENDPOINTS)))


def start(service: str) -> Tracer | None:
    """Begin to export the spans of this process; None where nobody wants them.

    Exporting runs in a thread, so this belongs into the process that serves, after any fork. What
    cannot be exported is lost and told in the log: no request waits for a collector or fails by it.
    """
    if not wanted():
        return None
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as missing:
        log.warning("no traces: %s is missing; pip install 'gatepass[otel]'", missing.name)
        return None
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come before what is given here.
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service}
        provider = TracerProvider(resource=Resource.create(named))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
    return trace.get_tracer(NAME)


def stop() -> None:
    """Send what waits, for as long as OTEL_BSP_EXPORT_TIMEOUT at the most, and nothing more."""
    from opentelemetry import trace

    shutdown = getattr(trace.get_tracer_provider(), "shutdown", None)
    if shutdown is not None:
        shutdown()
