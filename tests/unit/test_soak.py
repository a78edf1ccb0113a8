"""The soak's own parts: what it must notice, and what it must leave behind it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from unittest.mock import Mock

import pytest

from speechfleet import AsyncClient
from speechfleet.embedded.worker_process import WorkerProcess
from speechfleet.errors import JobCancelled, MisconfiguredError, ResultTimeout
from speechfleet.job import AsyncJob
from tests.soak import load as soak_load
from tests.soak.load import Load, Plan
from tests.soak.process_watch import ProcessWatch, Watched
from tests.soak.run_folder import OWNER, make_folder, release
from tests.soak.stage import LOADING_S, SoakStage
from tests.soak.starting import TRIES, crashed, start_worker


@pytest.fixture
def broken(tmp_path: Path) -> Watched:
    """A process that ended by itself."""
    log = tmp_path / "log"
    log.write_text("out of memory\n")
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    process.wait()
    return Watched.popen("Valkey", process, log)


def test_a_process_that_ends_by_itself_is_told_once_with_its_log(broken: Watched) -> None:
    found: list[str] = []
    watch = ProcessWatch(lambda: [broken], set(), found)
    watch.look()
    watch.look()
    [line] = found
    assert "Valkey ended by itself with status 3" in line
    assert "out of memory" in line


def test_a_process_that_a_fault_has_ended_is_not_told(broken: Watched) -> None:
    found: list[str] = []
    ProcessWatch(lambda: [broken], {broken.pid}, found).look()
    assert found == []


def test_a_worker_is_asked_after_another_took_its_place(broken: Watched) -> None:
    found: list[str] = []
    listed = [broken]
    status: list[int | None] = [None]
    listed[0] = Watched(broken.name, broken.pid, lambda: status[0], broken.log)
    watch = ProcessWatch(lambda: listed, set(), found)
    watch.look()
    listed.clear()
    status[0] = -11
    watch.look()
    assert len(found) == 1


def test_a_soak_that_was_killed_leaves_its_folder_to_the_next(tmp_path: Path) -> None:
    killed, running = make_folder("folder", tmp_path), make_folder("folder", tmp_path)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    (killed / OWNER).write_text(str(process.pid))
    kept = make_folder("s3", tmp_path)
    release(kept, keep=True)
    make_folder("sentinel", tmp_path)
    assert not killed.exists()
    assert (running / OWNER).read_text() == str(os.getpid())
    assert kept.exists(), "its logs are wanted"


CRASHES = f"import os; os.kill(os.getpid(), {signal.SIGSEGV:d})"


class Scripted(WorkerProcess):
    """A worker that is a program of the test's own."""

    program = CRASHES

    def __init__(self, log: Path, *args: str) -> None:
        environ = {"PYTHONPATH": str(log.parent), "PATH": os.environ["PATH"]}
        package = log.parent / "speechfleet_worker"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(self.program)
        super().__init__(args, environ=environ, log=log, grace=1.0)


class Works(Scripted):
    program = "print('ready boot-1', flush=True); input()"


class Ends(Scripted):
    program = "raise SystemExit(3)"


class CrashesLater(Scripted):
    program = f"print('ready boot-1', flush=True); {CRASHES}"


class ScriptedFleet:
    """Starts one worker of each kind after the other."""

    def __init__(self, log: Path, *kinds: type[Scripted]) -> None:
        self._log = log
        self._kinds: Iterator[type[Scripted]] = iter(kinds)
        self.started: list[Scripted] = []

    def start_worker(self, *args: str) -> WorkerProcess:
        worker = next(self._kinds)(self._log, *args)
        self.started.append(worker)
        worker.await_ready(120)
        return worker


def test_a_worker_that_crashed_before_it_was_ready_is_started_again(tmp_path: Path) -> None:
    fleet = ScriptedFleet(tmp_path / "log", Scripted, Scripted, Works)
    worker = start_worker(fleet, "--lanes", "session")
    try:
        assert worker.boot_id == "boot-1"
        assert [each.args for each in fleet.started] == [["--lanes", "session"]] * 3
    finally:
        worker.kill()


def test_a_worker_that_ended_otherwise_is_not_started_again(tmp_path: Path) -> None:
    fleet = ScriptedFleet(tmp_path / "log", Ends, Works)
    with pytest.raises(MisconfiguredError, match="with status 3"):
        start_worker(fleet)
    assert len(fleet.started) == 1


def test_a_worker_that_always_crashes_is_told_from_one_that_ends(tmp_path: Path) -> None:
    with pytest.raises(MisconfiguredError) as caught:
        start_worker(ScriptedFleet(tmp_path / "log", *[Scripted] * TRIES))
    assert crashed(caught.value)
    with pytest.raises(MisconfiguredError) as caught:
        start_worker(ScriptedFleet(tmp_path / "log", Ends))
    assert not crashed(caught.value)


@pytest.mark.parametrize(
    ("kind", "may_crash", "told"),
    [(Scripted, True, 0), (Scripted, False, 1), (Ends, True, 1), (CrashesLater, True, 1)],
    ids=["at-its-start", "at-its-start-without-the-clock", "ended-at-its-start", "while-working"],
)
def test_only_a_crash_while_starting_with_the_clock_is_excused(
    tmp_path: Path, kind: type[Scripted], may_crash: bool, told: int
) -> None:
    worker, found = kind(tmp_path / "log"), list[str]()
    worker.wait(120)
    watch = ProcessWatch(lambda: [Watched.worker(worker, may_crash=may_crash)], set(), found)
    watch.look()
    watch.look()
    assert len(found) == told
    assert watch.excused == 1 - told


class Answering(AsyncClient):
    """Answers whatever asks for a job."""

    def __init__(self, answer: Exception) -> None:
        self._answer = answer

    def job(self, id: str) -> AsyncJob:
        raise self._answer


@pytest.mark.parametrize(
    ("answer", "came"),
    [
        pytest.param(TimeoutError(), False, id="the wait around it was over first"),
        pytest.param(ResultTimeout("job-1", 120), False, id="no result in time"),
        pytest.param(JobCancelled("cancelled"), True, id="an end of another kind"),
    ],
)
async def test_an_end_that_does_not_come_is_left_to_the_invariants(
    answer: Exception, came: bool
) -> None:
    load = Load(cast("SoakStage", None), seed=1)
    assert await load._ended(Answering(answer), Plan("north", "job-1", ["One."])) is came
    assert load.violations == []


async def test_an_end_that_nobody_hears_is_told_with_its_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(soak_load, "LISTEN_S", 0.01)

    async def for_ever() -> None:
        await asyncio.Event().wait()

    load = Load(cast("SoakStage", None), seed=1)
    await load._heard(Plan("north", "session-1", ["One."]), asyncio.create_task(for_ever()))
    assert load.violations == ["north/session-1: its end was not heard within 0.01 s"]


def test_the_repair_of_a_fault_waits_for_a_server_that_is_slow() -> None:
    stage = Mock(spec=SoakStage, redis_url="redis://127.0.0.1:1/0")
    settings = SoakStage.server(stage).connection_pool.connection_kwargs
    assert settings["socket_timeout"] == settings["socket_connect_timeout"] == LOADING_S
