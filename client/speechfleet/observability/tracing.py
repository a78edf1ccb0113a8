"""Traces (OpenTelemetry): one from the client's submit through the worker to the store.

Traces are off unless SPEECHFLEET_TRACES is set; while they are off, nothing is imported and a
span costs one `if`. OpenTelemetry's own ``OTEL_*`` variables name the collector (OTLP over HTTP).
A tracer provider that the program has set up is used as it is. The W3C ``traceparent`` of the
submit is kept in the job's record, so that every attempt by every worker continues the same
trace. Spans hold ids and numbers, never text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from typing import TYPE_CHECKING

from speechfleet.errors import MissingExtra, SpeechFleetError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

FLUSH_TIMEOUT_MS = 2000
"""Milliseconds that a process waits at its end until the last spans are sent."""

_tracer: Tracer | None = None


def enable() -> None:
    """Turn traces on for this process. Idempotent. Raises MissingExtra."""
    global _tracer  # noqa: PLW0603 # OpenTelemetry's provider is the process's as well
    if _tracer is not None:
        return
    try:
        from opentelemetry import trace  # noqa: PLC0415 # an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    except ImportError:
        raise MissingExtra("traces (SPEECHFLEET_TRACES)", "otel") from None
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(_exporting())
    _tracer = trace.get_tracer("speechfleet", version("speechfleet"))


def _exporting() -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    name = os.environ.get("OTEL_SERVICE_NAME", "speechfleet")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def span(name: str, *, parent: str = "", **attributes: str | int) -> AbstractContextManager[None]:
    """Record a span of the current trace, or of the trace of ``parent``."""
    return nullcontext() if _tracer is None else _span(_tracer, name, parent, attributes)


@contextmanager
def _span(
    tracer: Tracer, name: str, parent: str, attributes: dict[str, str | int]
) -> Iterator[None]:
    from opentelemetry.trace import StatusCode  # noqa: PLC0415
    from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415

    extract = tracecontext.TraceContextTextMapPropagator().extract
    context = extract({"traceparent": parent}) if parent else None
    named = {f"speechfleet.{key}": value for key, value in attributes.items()}
    with tracer.start_as_current_span(
        f"speechfleet.{name}",
        context=context,
        attributes=named,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except SpeechFleetError as error:
            # Only the code: a provider's message may quote the text.
            current.set_status(StatusCode.ERROR, error.code)
            raise
        except Exception as error:
            current.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def traceparent() -> str:
    """Return the current span in the form of W3C Trace Context; "" where there is none."""
    if _tracer is None:
        return ""
    from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415

    carrier: dict[str, str] = {}
    tracecontext.TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")


def flush() -> None:
    """Send the last spans, in a process that ends without Python's exit handlers."""
    if _tracer is None:
        return
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    if isinstance(provider := trace.get_tracer_provider(), TracerProvider):
        provider.force_flush(FLUSH_TIMEOUT_MS)
