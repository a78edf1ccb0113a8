"""Count a worker's jobs for the fleet's metrics; nothing is counted per chunk."""

from __future__ import annotations

import time
from collections.abc import Mapping

from speechfleet.errors import ProviderError, SpeechFleetError
from speechfleet.observability import metrics
from speechfleet.observability.metrics import Tally
from speechfleet.record import Record

OTHER = "other"
"""Stands for a model of which nobody knows whether there is one."""


class JobCounts:
    """Counts an execution of a job. Made right after the claim, whose time the record tells.

    Ages are from submit (or retry) by the server's clock to the claim, and by this process's
    own from there: hosts need not agree on the time.
    """

    def __init__(self, tally: Tally, record: Record) -> None:
        self._tally = tally
        self._record = record
        self._model = record.model
        self._lane = record.lane
        self._has_audio = bool(record.sample_rate)
        claimed = record.updated
        submitted = [at for at, event, _ in record.history if event in ("submit", "retry")]
        waited = (claimed - submitted[-1]) / 1000 if submitted else 0.0
        self._began = time.monotonic() - max(0.0, waited)

    def speaks(self, model: str) -> None:
        """Note the model that speaks now, where a fallback voice took over."""
        self._model = model

    def first_audio(self) -> None:
        """Called before the first audio that this execution publishes."""
        if not self._record.sample_rate:  # else another one was first
            self._has_audio = True
            self._tally.observe(metrics.FIRST_AUDIO, *self._labels, seconds=self._age)

    def finished(self, published: int) -> None:
        self._has_audio = True
        self._tally.observe(metrics.JOB, *self._labels, seconds=self._age)
        self._tally.add(metrics.ENDED, *self._labels, "SUCCEEDED")
        self._tally.add(metrics.PUBLISHED, by=published)

    def failed(self, error: SpeechFleetError, *, again: bool) -> None:
        labels = (self._model.partition("/")[0], error.code)
        if isinstance(error, ProviderError):
            self._tally.add(metrics.ERRORS, *labels)
        if again:
            self._tally.add(metrics.RETRIES, *labels)
        else:
            self._tally.add(metrics.ENDED, *self._labels, "FAILED")

    def used(self, usage: Mapping[str, int]) -> None:
        self._has_audio = self._has_audio or usage.get("characters", 0) > 0
        for kind, amount in usage.items():
            self._tally.add(metrics.USAGE, self._labels[0], kind, by=amount)

    @property
    def _labels(self) -> tuple[str, str]:
        """The model and the lane. A name becomes a label once audio proves that it is one."""
        provider = self._model.partition("/")[0]
        return (self._model if self._has_audio else f"{provider}/{OTHER}", self._lane)

    @property
    def _age(self) -> float:
        return time.monotonic() - self._began
