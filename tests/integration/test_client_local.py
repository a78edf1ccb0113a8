"""Clients without settings: they join the fleet of this user's home, or bring one up."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from speechfleet import AsyncClient, Client
from speechfleet.embedded import EmbeddedFleet, default_folder, fleet
from speechfleet.errors import MisconfiguredError
from tests.support.events import Events


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = default_folder()
    assert folder is not None
    return folder


def test_a_client_joins_what_runs_in_the_home(home: Path) -> None:
    with EmbeddedFleet(home, workers=0) as running, Client() as client:
        job = client.submit("Hello.", model="espeak/espeak-ng")
        with Client(redis_url=running.redis_url) as other:
            assert other.job(job.id).status().state == "QUEUED"


def test_without_a_fleet_it_says_how_to_get_one() -> None:
    with pytest.raises(MisconfiguredError, match=r"`speechfleet up`.*Client\.local\(\)"):
        Client()


def test_another_store_than_that_of_the_fleet_is_refused(home: Path, tmp_path: Path) -> None:
    with EmbeddedFleet(home, workers=0):
        other = (tmp_path / "other").as_uri()
        with pytest.raises(MisconfiguredError, match=f"SPEECHFLEET_STORE is {other}"):
            Client(store=other)


def test_local_brings_a_fleet_up_and_ends_it(events: Events, home: Path) -> None:
    with Client.local() as client:
        started = [events.next("started"), events.next("started")]
        assert sorted(lanes for _, *lanes in started) == [[], ["--lanes", "session"]]
        assert client.submit("Hello.", model="espeak/espeak-ng").status().state == "QUEUED"
        assert (home / "fleet.json").exists()
    assert {events.next("drained")[0], events.next("drained")[0]} == {pid for pid, *_ in started}
    assert not (home / "fleet.json").exists()


def test_local_on_a_folder_of_its_own_without_sessions(events: Events, tmp_path: Path) -> None:
    with Client.local(data=tmp_path / "own", sessions=False, namespace="mine") as client:
        events.next("started")
        assert client.submit("Hello.", model="espeak/espeak-ng").record().namespace == "mine"
    assert len([event for event in events.left() if event.startswith("started")]) == 0
    assert (tmp_path / "own" / "valkey").is_dir()


def test_local_without_blocking_the_loop(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop turns while the fleet starts, and while it stops."""
    turned: list[str] = []

    async def scene() -> str:
        loop = asyncio.get_running_loop()
        for name in ("start", "stop"):
            work = getattr(EmbeddedFleet, name)

            def beside_the_loop(fleet: EmbeddedFleet, name: str = name, work: Any = work) -> None:
                turn = threading.Event()
                loop.call_soon_threadsafe(turn.set)
                assert turn.wait(60), f"the loop stands still during the {name}"
                turned.append(name)
                work(fleet)

            monkeypatch.setattr(EmbeddedFleet, name, beside_the_loop)
        async with AsyncClient.local(sessions=False) as client:
            job = await client.submit("Hello.", model="espeak/espeak-ng")
            return (await job.status()).state

    assert asyncio.run(scene()) == "QUEUED"
    assert {"start", "stop"} <= set(turned)
    events.next("drained")


def test_a_cancelled_start_leaves_no_process(
    events: Events, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "SESSIONS", ["mute"])  # the start waits for this one to be ready

    async def scene() -> None:
        opening = asyncio.create_task(AsyncClient.local().__aenter__())
        started = [await asyncio.to_thread(events.next, "started") for _ in range(2)]
        opening.cancel()
        [mute] = [int(pid) for pid, *arguments in started if arguments]
        os.kill(mute, signal.SIGTERM)  # and is over when it ends
        with pytest.raises(asyncio.CancelledError):
            await opening

    asyncio.run(scene())
    for _ in range(2):
        events.next("drained")
    assert EmbeddedFleet.attach(home) is None
