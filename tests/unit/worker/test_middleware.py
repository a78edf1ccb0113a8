"""Hooks: their order, their errors, their registration, and the documented examples."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from speechfleet.errors import MisconfiguredError, SpeechFleetError
from speechfleet.settings import Settings
from speechfleet_worker import middleware as module
from speechfleet_worker.middleware import (
    JobInfo,
    JobOutcome,
    Middleware,
    MiddlewareFailed,
    MiddlewareStack,
    SegmentInfo,
)

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
JOB = JobInfo("default", "j1", "Anna", "stub/stub", "v", "live", "wav", "Hi.", 1)
SEGMENT = SegmentInfo(0, 0, 3, "Hi.", "Hi.", 0.5, False, "req-1", {"calls": 1})


class Quota(SpeechFleetError):
    code = "quota_of_mine"


class Noting(Middleware):
    """Notes every call in a list that several share."""

    def __init__(self, name: str = "a", notes: list[str] | None = None) -> None:
        self.name = name
        self.notes = notes if notes is not None else []

    async def before_job(self, job: JobInfo) -> None:
        self.notes.append(f"{self.name} before_job")

    async def before_call(self, job: JobInfo, text: str) -> str:
        self.notes.append(f"{self.name} before_call")
        return f"{text}{self.name}"

    async def after_segment(self, job: JobInfo, segment: SegmentInfo) -> None:
        self.notes.append(f"{self.name} after_segment")

    async def after_job(self, job: JobInfo, outcome: JobOutcome) -> None:
        self.notes.append(f"{self.name} after_job {outcome.state}")


class Failing(Middleware):
    """Raises this error in each of its hooks."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error or ValueError("a bug in a hook")

    async def before_job(self, job: JobInfo) -> None:
        raise self.error

    async def before_call(self, job: JobInfo, text: str) -> str:
        raise self.error

    async def after_segment(self, job: JobInfo, segment: SegmentInfo) -> None:
        raise self.error

    async def after_job(self, job: JobInfo, outcome: JobOutcome) -> None:
        raise self.error


async def test_the_base_class_does_nothing() -> None:
    stack = MiddlewareStack([Middleware()])
    await stack.before_job(JOB)
    assert await stack.before_call(JOB, "Hi.") == "Hi."
    await stack.after_segment(JOB, SEGMENT)
    await stack.after_job(JOB, JobOutcome("succeeded"))
    assert stack
    assert not MiddlewareStack()


async def test_hooks_are_layers_around_a_job() -> None:
    notes: list[str] = []
    stack = MiddlewareStack([Noting("a", notes), Noting("b", notes)])
    await stack.before_job(JOB)
    assert await stack.before_call(JOB, "x") == "xab"
    await stack.after_segment(JOB, SEGMENT)
    await stack.after_job(JOB, JobOutcome("failed"))
    assert notes == [
        *("a before_job", "b before_job", "a before_call", "b before_call"),
        *("b after_segment", "a after_segment", "b after_job failed", "a after_job failed"),
    ]


async def test_an_error_in_a_hook_is_logged_by_name_and_the_job_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notes: list[str] = []
    stack = MiddlewareStack([Failing(), Noting("b", notes)])
    with caplog.at_level(logging.ERROR):
        await stack.before_job(JOB)
        await stack.after_segment(JOB, SEGMENT)
        await stack.after_job(JOB, JobOutcome("succeeded"))
    assert len(notes) == 3
    for hook in ("before_job", "after_segment", "after_job"):
        assert f"the hook Failing.{hook} failed" in caplog.text
    assert "a bug in a hook" in caplog.text


async def test_an_error_before_a_call_ends_the_attempt() -> None:
    with pytest.raises(MiddlewareFailed, match=r"Failing\.before_call .* a bug") as caught:
        await MiddlewareStack([Failing()]).before_call(JOB, "Hi.")
    assert caught.value.retryable
    assert caught.value.code == "middleware_failed"


async def test_a_hook_may_refuse_a_job() -> None:
    stack = MiddlewareStack([Failing(Quota("used up"))])
    with pytest.raises(Quota):
        await stack.before_job(JOB)
    with pytest.raises(Quota):
        await stack.before_call(JOB, "Hi.")
    await stack.after_segment(JOB, SEGMENT)
    await stack.after_job(JOB, JobOutcome("failed"))


@pytest.mark.parametrize("text", ["", "  ", None, 5], ids=["empty", "blank", "none", "number"])
async def test_a_hook_must_return_a_text(text: object) -> None:
    class Wrong(Middleware):
        async def before_call(self, job: JobInfo, _: str) -> str:
            return text  # type: ignore[return-value]

    with pytest.raises(MiddlewareFailed, match="must return the text") as caught:
        await MiddlewareStack([Wrong()]).before_call(JOB, "Hi.")
    assert not caught.value.retryable


async def test_a_hook_that_hangs_is_given_up() -> None:
    class Hanging(Middleware):
        async def before_job(self, job: JobInfo) -> None:
            await asyncio.Event().wait()

        async def before_call(self, job: JobInfo, text: str) -> str:
            await asyncio.Event().wait()
            return text

    stack = MiddlewareStack([Hanging()], timeout=0.01)
    await stack.before_job(JOB)
    with pytest.raises(MiddlewareFailed, match="TimeoutError"):
        await stack.before_call(JOB, "Hi.")


def test_classes_are_registered_by_a_setting_and_by_entry_points(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Point:
        module, attr = Noting.__module__, "Noting"

    monkeypatch.setattr(module, "entry_points", lambda group: [Point()])
    monkeypatch.setenv("SPEECHFLEET_MIDDLEWARE", f"{__name__}:Failing, {__name__}:Noting")
    classes = SimpleNamespace(Noting=Noting, Failing=Failing)
    monkeypatch.setattr(module, "import_module", lambda name: classes)
    stack = MiddlewareStack.load(Settings.load())
    assert [type(layer) for layer in stack._layers] == [Noting, Failing]


@pytest.mark.parametrize(
    "target",
    ["no_such_module:Hook", "json:Hook", "json:JSONDecoder", "json"],
    ids=["module", "class", "other-class", "no-class"],
)
def test_a_class_that_cannot_be_made_is_named(target: str) -> None:
    with pytest.raises(MisconfiguredError, match="SPEECHFLEET_MIDDLEWARE.*" + target):
        MiddlewareStack.load(Settings(middleware=(target,)))


def example(name: str, kind: str) -> Middleware:
    """The class of a documented program."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    layer = getattr(program, kind)()
    assert isinstance(layer, Middleware)
    return layer


async def test_the_documented_pronunciation_fix() -> None:
    stack = MiddlewareStack([example("pronunciation_fix", "PronunciationFix")])
    text = "SQL on nginx; MySQL stays."
    assert await stack.before_call(JOB, text) == "sequel on engine x; MySQL stays."


async def test_the_documented_audit_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_LOG", str(tmp_path / "log.jsonl"))
    stack = MiddlewareStack([example("audit_log", "AuditLog")])
    await stack.before_job(JOB)
    await stack.after_segment(JOB, SEGMENT)
    await stack.after_job(JOB, JobOutcome("succeeded"))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["begun", "segment", "ended"]
    assert {line["job"] for line in lines} == {"j1"}
