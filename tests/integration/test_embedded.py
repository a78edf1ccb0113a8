"""The embedded fleet with real processes: start, accidents, end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from speechfleet.embedded import EmbeddedFleet, worker_pool
from speechfleet.embedded import fleet as fleet_module
from speechfleet.embedded.reaper import WatchedProcess
from speechfleet.embedded.worker_process import WorkerProcess
from speechfleet.errors import MisconfiguredError
from tests.support.events import Events


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True)


def ended(pid: int, within: float = 60.0) -> bool:
    """Whether a process, our child or not, is gone within so many seconds."""
    try:
        return WatchedProcess(pid, rank=0, grace=0).ended_within(within)
    except ProcessLookupError:
        return True


def keepers() -> set[threading.Thread]:
    """The threads that start processes again; those of an earlier test may be about to end."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("keep ")}


def test_brings_up_what_a_job_needs(tmp_path: Path, events: Events) -> None:
    data = tmp_path / "data"
    with EmbeddedFleet(
        data, workers=2, slots=7, lanes=("live", "batch"), environ={"A_KEY": "x"}
    ) as fleet:
        assert client(fleet.redis_url).ping()
        assert fleet.store_url == (data / "store").as_uri()
        assert (data / "store").is_dir()
        assert fleet.environ["SPEECHFLEET_REDIS_URL"] == fleet.redis_url
        assert fleet.environ["SPEECHFLEET_STORE"] == fleet.store_url
        assert fleet.environ["A_KEY"] == "x"
        assert all(worker.boot_id == f"boot-{worker.pid}" for worker in fleet.workers)
        pids = {str(worker.pid) for worker in fleet.workers}
        started = [events.next("started") for _ in pids]
    assert {pid for pid, *_ in started} == pids
    assert all(args == "--lanes live,batch --concurrency 7".split() for _, *args in started)
    assert not any(worker.running for worker in fleet.workers)
    assert data.is_dir()


def test_workers_drain_while_the_server_serves(events: Events) -> None:
    with EmbeddedFleet(workers=2) as fleet:
        pids = {str(worker.pid) for worker in fleet.workers}
    assert {tuple(events.next("drained")) for _ in pids} == {(pid, "served") for pid in pids}


def test_a_temporary_folder_goes_with_the_fleet() -> None:
    with EmbeddedFleet(workers=0) as fleet:
        data = fleet.data
        assert data.is_dir()
    assert not data.exists()
    fleet.stop()


def test_jobs_outlive_the_fleet(tmp_path: Path) -> None:
    with EmbeddedFleet(tmp_path / "data", workers=0) as fleet:
        client(fleet.redis_url).set("job", "queued")
    with EmbeddedFleet(tmp_path / "data", workers=0) as fleet:
        assert client(fleet.redis_url).get("job") == "queued"


def test_a_fleet_starts_again_after_its_stop(tmp_path: Path, events: Events) -> None:
    fleet = EmbeddedFleet(tmp_path / "data")
    for _ in range(2):
        with fleet:
            [worker] = fleet.workers
            assert worker.running
        assert not worker.running


def test_two_fleets_do_not_collide() -> None:
    with EmbeddedFleet(workers=0) as one, EmbeddedFleet(workers=0) as other:
        client(one.redis_url).set("whose", "one")
        assert client(other.redis_url).get("whose") is None


def test_a_killed_worker_is_replaced_again_and_again(events: Events) -> None:
    with EmbeddedFleet() as fleet:
        [killed] = fleet.workers
        events.next("started")
        pids = {killed.pid}
        for _ in range(2):
            [worker] = fleet.workers
            worker.kill(signal.SIGKILL)
            pids.add(int(events.next("started")[0]))
        assert len(pids) == 3
        assert ended(killed.pid)
    assert int(events.next("drained")[0]) in pids
    assert all(ended(pid) for pid in pids)


def test_a_drained_worker_is_not_replaced(events: Events) -> None:
    before = keepers()
    with EmbeddedFleet() as fleet:
        [worker] = fleet.workers
        [keeper] = (t for t in keepers() - before if t.name == f"keep {worker.log.stem}")
        worker.kill(signal.SIGTERM)
        keeper.join(60)
        assert not keeper.is_alive()
        assert fleet.workers == [worker]
        assert worker.wait(0) == 0


@pytest.mark.parametrize("restarts", [0, 1])
def test_a_killed_server_is_replaced(restarts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedFleet(workers=0) as fleet:
        assert fleet.valkey is not None
        client(fleet.redis_url).set("word", "kept")
        for _ in range(restarts):
            fleet.valkey.restart()
        start, restarted = fleet.valkey.start, threading.Event()

        def started() -> None:
            start()
            restarted.set()

        monkeypatch.setattr(fleet.valkey, "start", started)
        fleet.valkey.kill(signal.SIGKILL)
        assert restarted.wait(60)
        assert client(fleet.redis_url).get("word") == "kept"


def test_unsupervised_it_stays_dead(events: Events) -> None:
    before = keepers()
    with EmbeddedFleet(supervise=False) as fleet:
        [worker] = fleet.workers
        worker.kill(signal.SIGKILL)
        assert worker.wait(60) == -signal.SIGKILL
        assert keepers() <= before
        assert fleet.workers == [worker]


def test_one_more_worker_with_arguments_of_its_own(events: Events) -> None:
    with EmbeddedFleet(lanes=("live",)) as fleet:
        worker = fleet.start_worker("--lanes", "session")
        assert worker in fleet.workers
        events.next("started")
        assert events.next("started") == [str(worker.pid), "--lanes", "session"]
    assert not worker.running
    with pytest.raises(MisconfiguredError, match="does not run"):
        fleet.start_worker()


def test_a_worker_that_does_not_start_says_why_and_leaves_nothing(events: Events) -> None:
    fleet = EmbeddedFleet()
    fleet._args = ["fail"]
    with pytest.raises(MisconfiguredError, match=r"(?s)ended while starting.*mode 'fail'"):
        fleet.start()
    assert fleet.valkey is not None
    assert not fleet.valkey.running
    assert not Path(fleet.valkey.folder).exists()


def test_a_worker_that_is_never_ready(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that it has begins here once it has started: Python itself may take long."""
    monkeypatch.setattr(worker_pool, "READY_TIMEOUT_S", 0.5)
    started: list[list[str]] = []
    await_ready = WorkerProcess.await_ready

    def once_started(worker: WorkerProcess, timeout: float) -> str:
        started.append(events.next("started"))
        return await_ready(worker, timeout)

    monkeypatch.setattr(WorkerProcess, "await_ready", once_started)
    fleet = EmbeddedFleet()
    fleet._args = ["mute"]
    with pytest.raises(MisconfiguredError, match="not ready in time"):
        fleet.start()
    [[pid, *_]] = started
    assert events.next("drained") == [pid, "served"]


def test_a_stuck_worker_is_killed_after_the_grace(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_module, "_EXIT_MARGIN_S", 0.3)
    fleet = EmbeddedFleet(grace=0.0)
    fleet.start()
    [worker] = fleet.workers
    assert fleet.valkey is not None
    fleet.valkey.kill(signal.SIGSTOP)  # The stand-in cannot drain without its server.
    fleet.stop()
    assert worker.wait(0) == -signal.SIGKILL


def test_another_server_and_another_store(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", redis_url)
    with EmbeddedFleet(valkey=False, workers=0, store_url="s3://bucket/prefix") as fleet:
        assert fleet.valkey is None
        assert fleet.environ["SPEECHFLEET_REDIS_URL"] == redis_url
        assert fleet.environ["SPEECHFLEET_STORE"] == "s3://bucket/prefix"
    assert client(redis_url).ping()


def test_no_server_to_use() -> None:
    with pytest.raises(MisconfiguredError, match="SPEECHFLEET_REDIS_URL"):
        EmbeddedFleet(valkey=False, workers=0).start()


# --- the end of the owner -------------------------------------------------------------------

_OWNER = """
import signal, sys
from pathlib import Path
from speechfleet.embedded import EmbeddedFleet
from speechfleet.embedded.reaper import REAPER

def told(fleet):
    pids = [worker.pid for worker in fleet.workers]
    print(fleet.data, REAPER._process.pid, fleet.valkey.pid, *pids, flush=True)

if sys.argv[1:] == ["forgetful"]:
    fleet = EmbeddedFleet(workers=2, grace=120.0)
    fleet.start()
    told(fleet)
else:
    with EmbeddedFleet(workers=2, grace=120.0) as fleet:
        told(fleet)
        signal.pause()
"""

Owner = Callable[..., tuple[subprocess.Popen[str], Path, list[int]]]


@pytest.fixture
def owner(events: Events) -> Iterator[Owner]:
    """Starts a process that owns a fleet; gives it, its folder, and its fleet's processes."""
    processes = []

    def start(*args: str) -> tuple[subprocess.Popen[str], Path, list[int]]:
        process = subprocess.Popen(
            [sys.executable, "-c", _OWNER, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        processes.append(process)
        assert process.stdout is not None
        folder, *pids = process.stdout.readline().split()
        return process, Path(folder), [int(pid) for pid in pids]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_nothing_outlives_an_owner_that_is_killed(
    owner: Owner, events: Events, number: int
) -> None:
    process, folder, pids = owner()
    process.send_signal(number)
    assert process.wait(60) == -number
    assert [events.next("drained")[1] for _ in range(2)] == ["served", "served"]
    assert all(ended(pid) for pid in pids)
    assert not folder.exists()


def test_ctrl_c_reaches_the_owner_alone_which_drains_its_workers(
    owner: Owner, events: Events
) -> None:
    process, folder, pids = owner()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=180)
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert [events.next("drained")[1] for _ in range(2)] == ["served", "served"]
    assert not any(line.startswith("interrupted") for line in events.left())
    assert all(ended(pid) for pid in pids)
    assert not folder.exists()


def test_an_owner_that_forgets_to_stop_it(owner: Owner, events: Events) -> None:
    process, folder, pids = owner("forgetful")
    assert process.wait(60) == 0
    assert all(ended(pid) for pid in pids)
    assert not folder.exists()
    assert [events.next("drained")[1] for _ in range(2)] == ["served", "served"]
