"""What a worker counts of its jobs, for the fleet's metrics. Nothing is counted a chunk."""

from __future__ import annotations

import time
from collections.abc import Mapping

from speechfleet import telemetry
from speechfleet.errors import ProviderError, SpeechFleetError
from speechfleet.jobs import Record
from speechfleet.telemetry import Tally


class JobCounts:
    """One execution of a job. Made right after the claim, whose time the record tells.

    Ages are from submit (or retry) by the server's clock to the claim, and by this process's
    own from there: hosts need not agree on the time.
    """

    def __init__(self, tally: Tally, record: Record) -> None:
        self._tally = tally
        self._record = record
        self._model = record.fields.get("model", "")
        self._labels = (self._model, record.fields.get("lane", "live"))
        claimed = int(record.fields.get("updated", "0"))
        submitted = [at for at, event, _ in record.story if event in ("submit", "retry")]
        waited = (claimed - submitted[-1]) / 1000 if submitted else 0.0
        self._began = time.monotonic() - max(0.0, waited)

    def first_audio(self) -> None:
        """Called before the first audio that this execution publishes."""
        if not self._record.sample_rate:  # else another one was first
            self._tally.observe(telemetry.FIRST_AUDIO, *self._labels, seconds=self._age)

    def finished(self, published: int) -> None:
        self._tally.observe(telemetry.JOB, *self._labels, seconds=self._age)
        self._tally.add(telemetry.ENDED, *self._labels, "SUCCEEDED")
        self._tally.add(telemetry.PUBLISHED, by=published)

    def failed(self, error: SpeechFleetError, *, again: bool) -> None:
        labels = (self._model.partition("/")[0], error.code)
        if isinstance(error, ProviderError):
            self._tally.add(telemetry.ERRORS, *labels)
        if again:
            self._tally.add(telemetry.RETRIES, *labels)
        else:
            self._tally.add(telemetry.ENDED, *self._labels, "FAILED")

    def used(self, usage: Mapping[str, int]) -> None:
        for kind, amount in usage.items():
            self._tally.add(telemetry.USAGE, self._model, kind, by=amount)

    @property
    def _age(self) -> float:
        return time.monotonic() - self._began
