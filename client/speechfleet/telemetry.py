"""What is counted in a fleet, and how the counts add up. No I/O happens here.

Workers count in memory and tell Redis the difference now and then (`Tally`), so that counting
costs a job nothing and one look at Redis tells of all workers, also of those that are gone. The
gateway's ``/metrics`` gives the sums under the names of `METRICS`, behind ``speechfleet_``.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Metric:
    """A counter; a histogram of seconds where it has ``buckets`` (their upper ends)."""

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
PUBLISHED = Metric("published_bytes", "Audio of finished jobs that went through Redis.")

METRICS = {
    metric.name: metric
    for metric in (FIRST_AUDIO, JOB, STORE, ENDED, RETRIES, ERRORS, USAGE, PUBLISHED)
}
_SUM = "sum"


class Tally:
    """Counts of one process since they were last taken. For one thread."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Labels, int | str]] = Counter()

    def add(self, metric: Metric, *labels: str, by: int = 1) -> None:
        self._counts[metric.name, labels, ""] += by

    def observe(self, metric: Metric, *labels: str, seconds: float) -> None:
        bucket = bisect_left(metric.buckets, seconds)
        self._counts[metric.name, labels, bucket] += 1
        self._counts[metric.name, labels, _SUM] += round(1e6 * seconds)

    def take(self) -> dict[str, int]:
        """All of it, by the names of the fields that Redis sums it up in; begins anew."""
        counts, self._counts = self._counts, Counter()
        return {
            json.dumps([name, *labels, part], separators=(",", ":")): count
            for (name, labels, part), count in counts.items()
        }

    def put_back(self, fields: Mapping[str, int]) -> None:
        """What was taken and could not be told."""
        for field, count in fields.items():
            name, labels, part = _parse(field)
            self._counts[name, labels, part] += count


@dataclass(frozen=True)
class Sample:
    """One metric with one set of labels.

    ``value``: of a counter, or a histogram's sum in seconds. ``cumulative``: of a histogram, how
    many were no longer than each bucket's end; the last one is all of them.
    """

    metric: Metric
    labels: Labels
    value: float
    cumulative: tuple[int, ...] = ()


def samples(fields: Mapping[str, int]) -> list[Sample]:
    """What the summed fields say, sorted; what this version does not know is left out."""
    found: dict[tuple[str, Labels], dict[int | str, int]] = {}
    for field, count in fields.items():
        name, labels, part = _parse(field)
        if name in METRICS and len(labels) == len(METRICS[name].labels):
            found.setdefault((name, labels), {})[part] = count
    return [_sample(METRICS[name], labels, found[name, labels]) for name, labels in sorted(found)]


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
