"""Celery's pool: what it hands over, when it accepts, and how it reports an end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from celery.exceptions import InvalidTaskError
from kombu.exceptions import ContentDisallowed

from speechfleet.ledger.message import NUDGE, TASK, JobMessage
from speechfleet_worker.middleware import JobOutcome
from speechfleet_worker.pool import Ended, JobPool, pool_of


class Recorder:
    """Takes messages, and ends none by itself."""

    def __init__(self) -> None:
        self.started: list[tuple[JobMessage, str]] = []
        self.nudged: list[str] = []
        self.ended: Ended | None = None

    def start(self, message: JobMessage, queue: str, ended: Ended) -> None:
        self.started.append((message, queue))
        self.ended = ended

    def nudge(self, name: str) -> None:
        self.nudged.append(name)

    def on_celery_thread(self, function: Callable[[], object]) -> None:
        function()


@pytest.fixture
def receiver() -> Recorder:
    return Recorder()


@pytest.fixture
def pool(receiver: Recorder) -> JobPool:
    return pool_of(receiver)(limit=3)


class Request:
    """What Celery's own request does with the two callbacks."""

    def __init__(self) -> None:
        self.accepted = 0
        self.reports: list[Any] = []

    def apply(
        self, pool: JobPool, task: str, body: object, kind: str = "application/json"
    ) -> None:
        pool.apply_async(
            None,
            (task, "id", {"delivery_info": {"routing_key": "q"}}, json.dumps(body), kind, "utf-8"),
            accept_callback=self._accept,
            callback=self.reports.append,
            correlation_id="id",
        )

    def _accept(self, *_: object) -> None:
        self.accepted += 1


def message(*arguments: str) -> object:
    return [arguments, {}, {"chain": None}]


def test_a_job_is_handed_over_and_ends_with_its_report(pool: JobPool, receiver: Recorder) -> None:
    request = Request()
    request.apply(pool, TASK, message("default/a", "7"))
    assert receiver.started == [(JobMessage("default/a", "7"), "q")]
    assert request.accepted == 1
    assert not request.reports
    assert receiver.ended is not None
    receiver.ended("default/b", JobOutcome("succeeded"))
    ((failed, result, seconds),) = request.reports
    assert (failed, result) == (0, "default/b: succeeded")
    assert seconds >= 0


def test_a_failed_job_is_a_failed_task(pool: JobPool, receiver: Recorder) -> None:
    request = Request()
    request.apply(pool, TASK, message("default/a", "7"))
    assert receiver.ended is not None
    receiver.ended("default/a", JobOutcome("failed", "bad_input", "No such voice."))
    ((failed, result, _),) = request.reports
    assert failed
    assert str(result.exception) == "default/a: bad_input: No such voice."


def test_a_nudge_is_no_job(pool: JobPool, receiver: Recorder) -> None:
    request = Request()
    request.apply(pool, NUDGE, message("default/s", ""))
    assert receiver.nudged == ["default/s"]
    assert not receiver.started
    assert len(request.reports) == 1


@pytest.mark.parametrize(
    "body", [{}, [], [[1, 2]], [["one"]], "text"], ids=["object", "list", "number", "one", "text"]
)
def test_a_message_of_somebody_else_is_refused_before_it_is_accepted(
    pool: JobPool, receiver: Recorder, body: object
) -> None:
    request = Request()
    with pytest.raises(InvalidTaskError):
        request.apply(pool, TASK, body)
    assert not request.accepted
    assert not receiver.started


def test_nothing_but_json_is_read(pool: JobPool) -> None:
    with pytest.raises(ContentDisallowed):
        Request().apply(pool, TASK, message("a", "1"), kind="application/x-python-serialize")
