"""One trace from a client's submit, through a worker's process, to the store."""

from __future__ import annotations

import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from speechfleet import AsyncClient
from speechfleet.embedded import EmbeddedFleet
from speechfleet.errors import SpeechFleetError
from speechfleet.keywords import request_of
from speechfleet.observability import tracing
from tests.support.gateways import TEXT, gateway, http, order

ESPEAK = "espeak/espeak-ng"


@dataclass
class Collector:
    """What workers have sent; `wait` returns once there are spans of all these names."""

    url: str
    spans: list[Span] = field(default_factory=list)
    told: threading.Condition = field(default_factory=threading.Condition)

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self.told:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    self.spans += scope.spans
            self.told.notify_all()

    def wait(self, trace: bytes, *names: str) -> list[Span]:
        def there() -> bool:
            return set(names) <= {span.name for span in self.spans if span.trace_id == trace}

        with self.told:
            assert self.told.wait_for(there, 120), [span.name for span in self.spans]
            return [span for span in self.spans if span.trace_id == trace]


@contextmanager
def collecting() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    serving = threading.Thread(target=server.serve_forever, args=(0.05,))
    serving.start()
    try:
        yield collector
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@pytest.fixture(scope="module")
def traced(module_folder: Path) -> Iterator[tuple[EmbeddedFleet, Collector]]:
    with collecting() as collector:
        environ = {
            "SPEECHFLEET_TRACES": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        with EmbeddedFleet(module_folder / "data", environ=environ, grace=2.0) as fleet:
            yield fleet, collector


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """This process's own spans."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("tests"))
    yield exporter
    provider.shutdown()


def named(spans: list[Span], name: str) -> list[Span]:
    return [span for span in spans if span.name == f"speechfleet.{name}"]


def attributes(span: Span) -> dict[str, str | int]:
    values = {one.key: one.value for one in span.attributes}
    return {key: value.string_value or value.int_value for key, value in values.items()}


def ids(span: ReadableSpan) -> tuple[bytes, bytes]:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id.to_bytes(16), context.span_id.to_bytes(8)


async def test_one_trace_from_submit_to_store(
    traced: tuple[EmbeddedFleet, Collector], seen: InMemorySpanExporter
) -> None:
    fleet, collector = traced
    async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
        job = await client.submit("A secret. Another one.", model=ESPEAK, format="flac")
        await job.result(120)
    (submit,) = seen.get_finished_spans()
    trace, submitted = ids(submit)
    spans = collector.wait(trace, *map("speechfleet.{}".format, ("speak", "segment", "store")))
    (speak,), segments, (store,) = (named(spans, name) for name in ("speak", "segment", "store"))
    assert submit.name == "speechfleet.submit"
    assert speak.parent_span_id == submitted
    assert attributes(speak)["speechfleet.job"] == f"default/{job.id}"
    assert {span.parent_span_id for span in (*segments, store)} == {speak.span_id}
    assert sorted(attributes(span)["speechfleet.index"] for span in segments) == [0, 1]
    assert speak.start_time_unix_nano <= store.start_time_unix_nano
    assert store.end_time_unix_nano <= speak.end_time_unix_nano
    assert not any(b"secret" in span.SerializeToString() for span in spans)


async def test_a_trace_goes_through_a_gateway(
    traced: tuple[EmbeddedFleet, Collector], tmp_path: Path
) -> None:
    fleet, collector = traced
    trace, caller = secrets.token_bytes(16), secrets.token_bytes(8)
    with gateway(fleet, tmp_path) as url:
        async with http(url, traceparent=f"00-{trace.hex()}-{caller.hex()}-01") as client:
            answer = await client.post("/v1/audio/speech", json=order())
            assert answer.status_code == 200
        names = ("submit", "speak", "store")
        ours = map("speechfleet.{}".format, names)
        spans = collector.wait(trace, "POST /v1/audio/speech", *ours)
    (submit,), (speak,) = (named(spans, name) for name in names[:2])
    assert speak.parent_span_id == submit.span_id
    # Above it are the spans that FastAPI makes of the request.
    parents = {span.span_id: span.parent_span_id for span in spans}
    above = submit.parent_span_id
    while above in parents:
        above = parents[above]
    assert above == caller
    assert not any(TEXT.encode() in span.SerializeToString() for span in spans)


async def test_what_failed_has_its_code(
    traced: tuple[EmbeddedFleet, Collector], seen: InMemorySpanExporter
) -> None:
    fleet, collector = traced
    async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
        job = await client.submit("Who is this?", model=ESPEAK, voice="nobody")
        with pytest.raises(SpeechFleetError) as refused:
            await job.result(120)
    trace, _ = ids(seen.get_finished_spans()[0])
    (speak,) = named(collector.wait(trace, "speechfleet.speak"), "speak")
    assert (speak.status.code, speak.status.message) == (
        Status.STATUS_CODE_ERROR,
        refused.value.code,
    )


async def test_the_same_order_under_another_trace_is_the_same_job(
    traced: tuple[EmbeddedFleet, Collector], seen: InMemorySpanExporter
) -> None:
    fleet, _ = traced
    async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
        first = await client.submit("Twice.", model=ESPEAK)
        record = await first.record()
        with tracing.span("elsewhere"):
            request = request_of("Twice.", {"model": ESPEAK}, client.settings)[1]
        assert request.trace != record.request.trace
        assert request.digest == record.request.digest


def test_nothing_is_imported_unless_it_is_asked_for() -> None:
    program = (
        "import sys, speechfleet.client, speechfleet_worker.worker\n"
        "import speechfleet.observability.tracing as t\n"
        "with t.span('x', job='y'): assert t.traceparent() == ''\n"
        "t.flush()\n"
        # redis-py imports the part for metrics itself, where it is installed.
        "ours = ('opentelemetry.sdk.trace', 'opentelemetry.exporter')\n"
        "assert not [name for name in sys.modules if name.startswith(ours)]"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
