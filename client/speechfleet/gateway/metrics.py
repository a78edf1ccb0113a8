"""``/metrics``: the whole fleet in one scrape, whichever gateway is asked.

What workers counted lies in Redis, as do lines and heartbeats; only requests over HTTP are
counted here, one gateway process at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from speechfleet.client import AsyncClient
from speechfleet.ledger.telemetry import Overview
from speechfleet.telemetry import METRICS, Sample, samples

PREFIX = "speechfleet_"


class HttpMetrics:
    """What this process counts of its own requests."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            f"{PREFIX}http_requests",
            "Requests that were answered.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.streams = Gauge(
            f"{PREFIX}http_streams", "Streams that are open.", registry=self.registry
        )
        self.first_byte = Histogram(
            f"{PREFIX}http_first_audio_seconds",
            "From a request for speech to its first byte of audio.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self.registry,
        )


async def exposition(client: AsyncClient, http: HttpMetrics) -> bytes:
    """Prometheus' text format."""
    overview = await client.telemetry.overview(await client.workers())
    counted = samples(await client.telemetry.counts())
    fleet = CollectorRegistry()
    fleet.register(_Families([*gauges(overview), *sums(counted)]))
    return generate_latest(fleet) + generate_latest(http.registry)


class _Families(Collector):
    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def gauges(overview: Overview) -> Iterator[Family]:
    """What is so at this moment."""
    for name, help, value in (
        ("unfinished_jobs", "Jobs that are not over: scale workers by it.", overview.unfinished),
        ("delayed_jobs", "Jobs that wait for their next attempt.", overview.delayed),
        ("in_flight_jobs", "Jobs that a worker runs.", overview.running),
        ("workers", "Worker processes that are alive.", len(overview.workers)),
        ("sessions", "Sessions that are open.", overview.sessions),
        ("stream_bytes", "Audio that lies in Redis.", overview.stream_bytes),
    ):
        yield GaugeMetricFamily(PREFIX + name, help, value)
    yield from _by_line(overview)
    yield from _by_worker(overview)


def _by_line(overview: Overview) -> Iterator[Family]:
    labels = ("lane", "provider")
    waiting = GaugeMetricFamily(f"{PREFIX}waiting_jobs", "Jobs in line.", labels=labels)
    depth = GaugeMetricFamily(
        f"{PREFIX}queue_depth", "Messages that no worker has taken.", labels=labels
    )
    oldest = GaugeMetricFamily(
        f"{PREFIX}oldest_waiting_seconds", "How long the first in line waits.", labels=labels
    )
    for line in overview.lines:
        values = (line.lane, line.provider)
        waiting.add_metric(values, line.waiting)
        depth.add_metric(values, line.depth)
        oldest.add_metric(values, line.oldest or 0.0)
    yield from (waiting, depth, oldest)


def _by_worker(overview: Overview) -> Iterator[Family]:
    running = GaugeMetricFamily(
        f"{PREFIX}running_jobs", "Jobs that a worker runs.", labels=("worker",)
    )
    slots = GaugeMetricFamily(f"{PREFIX}slots", "Jobs that it runs at most.", labels=("worker",))
    for worker in overview.workers:
        running.add_metric((worker.boot,), worker.running)
        slots.add_metric((worker.boot,), worker.slots)
    yield from (running, slots)


def sums(counted: Sequence[Sample]) -> Iterator[Family]:
    """What the workers counted since the fleet began."""
    for metric in METRICS.values():
        name = PREFIX + metric.name
        found = [sample for sample in counted if sample.metric is metric]
        if metric.buckets:
            histogram = HistogramMetricFamily(name, metric.help, labels=metric.labels)
            for sample in found:
                ends = [*(str(end) for end in metric.buckets), "+Inf"]
                buckets = list(zip(ends, sample.cumulative, strict=True))
                histogram.add_metric(sample.labels, buckets, sample.value)
            yield histogram
        else:
            counter = CounterMetricFamily(name, metric.help, labels=metric.labels)
            for sample in found:
                counter.add_metric(sample.labels, sample.value)
            yield counter
