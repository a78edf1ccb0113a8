"""Traces (OpenTelemetry): one from the client's submit through the worker to the store.

Off unless SPEECHFLEET_TRACES is set; then nothing is imported, and a span is one `if`. Where
spans go is said by OpenTelemetry's own ``OTEL_*`` variables (OTLP over HTTP), unless the program
has set up a tracer provider of its own, which is used as it is. The W3C ``traceparent`` of the
submit stands in the job's record: whichever worker takes the job, at whatever attempt, goes on
with the same trace. Spans hold ids and numbers, never text.
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

FLUSHED_WITHIN = 2000
"""Milliseconds that a process which ends leaves to the last spans."""

_tracer: Tracer | None = None


def enable() -> None:
    """From now on, for this process. Idempotent. Raises MissingExtra."""
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
    """What happens inside is a span of the present trace, or of that of ``parent``."""
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
    ) as one:
        try:
            yield
        except SpeechFleetError as error:
            # The code alone: a provider's words may quote what it was sent.
            one.set_status(StatusCode.ERROR, error.code)
            raise
        except Exception as error:
            one.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def traceparent() -> str:
    """The present span, as W3C Trace Context writes it; "" where there is none."""
    if _tracer is None:
        return ""
    from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415

    carrier: dict[str, str] = {}
    tracecontext.TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")


def flush() -> None:
    """Send what is left, before a process ends without Python's own farewell."""
    if _tracer is None:
        return
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    if isinstance(provider := trace.get_tracer_provider(), TracerProvider):
        provider.force_flush(FLUSHED_WITHIN)
