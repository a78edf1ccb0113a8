"""The metrics of a fleet, and how the workers' counts add up. No I/O happens here.

Workers count in memory (`Tally`) and add the differences to sums in Redis from time to time. So
counting costs a job nothing, and the sums include workers that are gone. The gateway's
``/metrics`` shows the sums under the names of `METRICS`, behind ``speechfleet_``.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Metric:
    """A counter, or a histogram of seconds if it has ``buckets`` (their upper ends)."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


FIRST_AUDIO = Metric(
    "first_audio_seconds",
    "From submit (or retry) to a job's first audio.",
    ("model", "lane"),
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
JOB = Metric(
    "job_seconds",
    "From submit (or retry) to the stored audio.",
    ("model", "lane"),
    (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0),
)
STORE = Metric(
    "store_seconds",
    "Calls of workers to the object store.",
    (),
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
ENDED = Metric("jobs_ended", "Jobs that workers ended.", ("model", "lane", "state"))
RETRIES = Metric("retries", "Attempts after which another one was due.", ("provider", "code"))
ERRORS = Metric("provider_errors", "Failed attempts by code.", ("provider", "code"))
USAGE = Metric("usage", "Characters spoken, billed and cached, tokens, ...", ("model", "kind"))
FALLBACKS = Metric(
    "fallbacks", "Jobs that a fallback voice took over.", ("provider", "to", "code")
)
SUSPECT = Metric(
    "suspect_segments", "Aligned segments that probably lack some of their text.", ("model",)
)
PUBLISHED = Metric("published_bytes", "Audio of finished jobs that went through Redis.")

METRICS = {
    metric.name: metric
    for metric in (
        *(FIRST_AUDIO, JOB, STORE, ENDED, RETRIES, ERRORS, FALLBACKS, USAGE, SUSPECT),
        PUBLISHED,
    )
}
_SUM = "sum"


class Tally:
    """The counts of one process since they were last taken. For one thread."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Labels, int | str]] = Counter()

    def add(self, metric: Metric, *labels: str, by: int = 1) -> None:
        """Add to a counter."""
        self._counts[metric.name, labels, ""] += by

    def observe(self, metric: Metric, *labels: str, seconds: float) -> None:
        """Add a duration to a histogram."""
        bucket = bisect_left(metric.buckets, seconds)
        self._counts[metric.name, labels, bucket] += 1
        self._counts[metric.name, labels, _SUM] += round(1e6 * seconds)

    def take(self) -> dict[str, int]:
        """Return all counts by the names of their sums in Redis, and start from zero."""
        counts, self._counts = self._counts, Counter()
        return {
            json.dumps([name, *labels, part], separators=(",", ":")): count
            for (name, labels, part), count in counts.items()
        }

    def put_back(self, fields: Mapping[str, int]) -> None:
        """Add counts again that were taken and could not be sent."""
        for field, count in fields.items():
            name, labels, part = _parse(field)
            self._counts[name, labels, part] += count


OTHER = "other"
"""The label of all models beyond those that are counted one by one."""


def other_field(field: str) -> str:
    """Replace the model and the provider of a sum's name by `OTHER`."""
    name, labels, part = _parse(field)
    metric = METRICS.get(name)
    names = metric.labels if metric else ()
    bounded = [
        OTHER if label in ("model", "provider") else value
        for label, value in zip(names, labels, strict=False)
    ]
    return json.dumps([name, *bounded, part], separators=(",", ":"))


@dataclass(frozen=True)
class Sample:
    """The sum of one metric with one set of labels.

    ``value``: the count, or a histogram's sum in seconds. ``cumulative``: for a histogram, the
    number of durations up to each bucket's end; the last one is the number of all.
    """

    metric: Metric
    labels: Labels
    value: float
    cumulative: tuple[int, ...] = ()


def samples(fields: Mapping[str, int]) -> list[Sample]:
    """Decode the sums in Redis, sorted; metrics that this version does not know are left out."""
    parts: dict[tuple[str, Labels], dict[int | str, int]] = {}
    for field, count in fields.items():
        try:
            name, labels, part = _parse(field)
        except (ValueError, TypeError):
            continue
        if name in METRICS and len(labels) == len(METRICS[name].labels):
            parts.setdefault((name, labels), {})[part] = count
    return [_sample(METRICS[name], labels, parts[name, labels]) for name, labels in sorted(parts)]


def relabelled(
    unchanged: Sequence[Sample], label: str, rename: Callable[[str], str]
) -> list[Sample]:
    """Rename the values of one label; samples that become equal are added up."""
    sums: dict[tuple[str, Labels], Sample] = {}
    for sample in unchanged:
        names = sample.metric.labels
        values = (
            rename(v) if n == label else v for n, v in zip(names, sample.labels, strict=True)
        )
        labels = tuple(values)
        same = sums.get((sample.metric.name, labels))
        value = sample.value + (same.value if same else 0)
        buckets = sample.cumulative
        if same:
            buckets = tuple(a + b for a, b in zip(buckets, same.cumulative, strict=True))
        sums[sample.metric.name, labels] = Sample(sample.metric, labels, value, buckets)
    return list(sums.values())


def _sample(metric: Metric, labels: Labels, parts: Mapping[int | str, int]) -> Sample:
    if not metric.buckets:
        return Sample(metric, labels, parts.get("", 0))
    total, cumulative = 0, []
    for bucket in range(len(metric.buckets) + 1):
        total += parts.get(bucket, 0)
        cumulative.append(total)
    return Sample(metric, labels, parts.get(_SUM, 0) / 1e6, tuple(cumulative))


def _parse(field: str) -> tuple[str, Labels, int | str]:
    name, *labels, part = json.loads(field)
    return name, tuple(labels), part
