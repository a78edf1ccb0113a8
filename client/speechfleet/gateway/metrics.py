"""The metrics of the whole fleet in Prometheus' text format.

Any gateway gives the same answer: queues, heartbeats and the workers' counts are in Redis. Only
HTTP requests are counted here, by each gateway process for itself.
"""

from __future__ import annotations

import itertools
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
from speechfleet.gateway.metric_labels import ModelLabels
from speechfleet.gateway.offered_models import ModelInfo
from speechfleet.ledger.circuit_breakers import Breaker, BreakerState
from speechfleet.ledger.overview import Overview
from speechfleet.ledger.webhooks import WebhookStatus
from speechfleet.observability.metrics import METRICS, Sample, relabelled, samples
from speechfleet.quotas import QuotaStatus

PREFIX = "speechfleet_"
MOST_NAMESPACES, MOST_WEBHOOKS = 200, 500
"""Namespaces and webhooks that are shown: each is a label."""


class HttpMetrics:
    """The counts of this process' own requests."""

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
    """Return all metrics in Prometheus' text format. Raises FleetUnavailable."""
    overview = await client.ledger.overview.overview(await client.workers())
    counted = samples(await client.ledger.overview.counts())
    catalogue = await client.ledger.overview.catalogue()
    models = [ModelInfo.decode(row) for rows in catalogue.values() for row in rows]
    counted = relabelled(counted, "model", ModelLabels(models, counted).label)
    breakers = await client.ledger.breakers.all()
    fleet = CollectorRegistry()
    tenants = await client.ledger.quotas.statuses(MOST_NAMESPACES)
    webhooks = (await client.ledger.webhooks.statuses())[:MOST_WEBHOOKS]
    families = (gauges(overview, breakers), quota_families(tenants), webhook_families(webhooks))
    fleet.register(_Families([*itertools.chain(*families), *sums(counted)]))
    return generate_latest(fleet) + generate_latest(http.registry)


class _Families(Collector):
    """A collector of families that were made before."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def gauges(overview: Overview, breakers: Sequence[Breaker]) -> Iterator[Family]:
    """Yield the gauges: the state of the fleet at this moment."""
    for name, help, value in (
        ("unfinished_jobs", "Jobs that are not over: scale workers by it.", overview.unfinished),
        ("delayed_jobs", "Jobs that wait for their next attempt.", overview.delayed),
        ("in_flight_jobs", "Jobs that a worker runs.", overview.running),
        ("workers", "Worker processes that are alive.", len(overview.workers)),
        ("sessions", "Sessions that are open.", overview.sessions),
        ("stream_bytes", "Bytes of audio in Redis.", overview.stream_bytes),
    ):
        yield GaugeMetricFamily(PREFIX + name, help, value)
    yield from _by_queue(overview)
    yield from _by_worker(overview)
    yield _by_provider(breakers)


def _by_queue(overview: Overview) -> Iterator[Family]:
    labels = ("lane", "provider")
    waiting = GaugeMetricFamily(f"{PREFIX}waiting_jobs", "Jobs in the queue.", labels=labels)
    depth = GaugeMetricFamily(
        f"{PREFIX}queue_depth", "Messages that no worker has taken.", labels=labels
    )
    oldest = GaugeMetricFamily(
        f"{PREFIX}oldest_waiting_seconds",
        "How long the first job in the queue waits.",
        labels=labels,
    )
    for queue in overview.queues:
        values = (queue.lane, queue.provider)
        waiting.add_metric(values, queue.waiting)
        depth.add_metric(values, queue.depth)
        oldest.add_metric(values, queue.oldest or 0.0)
    yield from (waiting, depth, oldest)


def _by_worker(overview: Overview) -> Iterator[Family]:
    running = GaugeMetricFamily(
        f"{PREFIX}running_jobs", "Jobs that a worker runs.", labels=("worker",)
    )
    slots = GaugeMetricFamily(
        f"{PREFIX}slots", "Jobs that a worker runs at most.", labels=("worker",)
    )
    for worker in overview.workers:
        running.add_metric((worker.boot,), worker.running)
        slots.add_metric((worker.boot,), worker.slots)
    yield from (running, slots)


def _by_provider(breakers: Sequence[Breaker]) -> Family:
    states = GaugeMetricFamily(
        f"{PREFIX}circuit_breaker",
        "1 in the state of a provider's circuit breaker; none for a provider without failures.",
        labels=("provider", "state"),
    )
    for breaker in breakers:
        for state in BreakerState:
            states.add_metric((breaker.provider, state), float(state is breaker.state))
    return states


def quota_families(tenants: Iterable[QuotaStatus]) -> Iterator[Family]:
    """Yield the limits of namespaces, what is taken of them, and what was refused."""
    labels = ("namespace", "limit")
    value = GaugeMetricFamily(
        f"{PREFIX}quota_limit", "A limit of a namespace's quota.", labels=labels
    )
    taken = GaugeMetricFamily(
        f"{PREFIX}quota_taken", "What is used or reserved of the limit.", labels=labels
    )
    refused = CounterMetricFamily(
        f"{PREFIX}quota_refused", "Submits, retries and pushes that a limit refused.",
        labels=labels,
    )  # fmt: skip
    for tenant in tenants:
        for name, limit in tenant.quota.limits().items():
            value.add_metric((tenant.namespace, name), limit)
            taken.add_metric((tenant.namespace, name), tenant.taken(name))
            refused.add_metric((tenant.namespace, name), tenant.refused.get(name, 0))
    yield from (value, taken, refused)


def webhook_families(webhooks: Iterable[WebhookStatus]) -> Iterator[Family]:
    """Yield how the events of webhooks fare."""
    found = list(webhooks)
    for kind, name, help in (
        (CounterMetricFamily, "sent", "Events that receivers took."),
        (CounterMetricFamily, "failed", "Tries that failed; most are repeated."),
        (CounterMetricFamily, "given_up", "Events that became dead letters."),
        (GaugeMetricFamily, "waiting", "Jobs and batches whose events wait."),
        (GaugeMetricFamily, "dead", "Dead letters that are kept."),
        (GaugeMetricFamily, "oldest", "How long the first event waits, in seconds."),
    ):
        unit = "_seconds" if name == "oldest" else ""
        family = kind(f"{PREFIX}webhook_{name}{unit}", help, labels=("namespace", "webhook"))
        for each in found:
            family.add_metric((each.hook.namespace, each.hook.id), getattr(each, name))
        yield family


def sums(counted: Sequence[Sample]) -> Iterator[Family]:
    """Yield the sums of what the workers counted since the fleet began."""
    for metric in METRICS.values():
        name = PREFIX + metric.name
        of_metric = [sample for sample in counted if sample.metric is metric]
        if metric.buckets:
            histogram = HistogramMetricFamily(name, metric.help, labels=metric.labels)
            for sample in of_metric:
                ends = [*(str(end) for end in metric.buckets), "+Inf"]
                buckets = list(zip(ends, sample.cumulative, strict=True))
                histogram.add_metric(sample.labels, buckets, sample.value)
            yield histogram
        else:
            counter = CounterMetricFamily(name, metric.help, labels=metric.labels)
            for sample in of_metric:
                counter.add_metric(sample.labels, sample.value)
            yield counter
