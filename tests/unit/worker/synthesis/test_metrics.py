"""Counts of a worker: names of models that tenants made up are no labels."""

from __future__ import annotations

import json

from speechfleet.errors import UnknownModel
from speechfleet.observability.metrics import Tally
from speechfleet.record import Record
from speechfleet_worker.synthesis.metrics import JobCounts

MODEL = "kokoro/Project Zebra"


def counts(**fields: str) -> tuple[Tally, JobCounts]:
    values = {"state": "RUNNING", "epoch": "1", "model": MODEL, "updated": "0", **fields}
    raw = {name.encode(): value.encode() for name, value in values.items()}
    tally = Tally()
    return tally, JobCounts(tally, Record.decode("default", "x", raw))


def labels(tally: Tally) -> set[str]:
    return {json.loads(field)[1] for field in tally.take()}


def test_a_model_that_never_spoke_is_no_label() -> None:
    tally, job = counts()
    job.used({"calls": 1})
    job.failed(UnknownModel(MODEL), again=False)
    assert labels(tally) == {"kokoro/other"}


def test_a_model_that_spoke_is_a_label() -> None:
    tally, job = counts()
    job.first_audio()
    job.failed(UnknownModel(MODEL), again=False)
    assert labels(tally) == {MODEL}


def test_a_batch_without_listeners_counts_its_characters_by_model() -> None:
    tally, job = counts(lane="batch")
    job.used({"characters": 5})
    assert labels(tally) == {MODEL}
