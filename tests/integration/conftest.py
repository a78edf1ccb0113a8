"""A worker without work, and the sight of what happens to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from speechfleet.ledger import Connection
from speechfleet.settings import Settings
from tests.support.events import Events
from tests.support.spoken_batch import Spoken


@pytest.fixture(autouse=True)
def patience(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client gives up after one connect that takes long; on a busy machine it may."""
    monkeypatch.setenv("SPEECHFLEET_REDIS_CONNECT_TIMEOUT", "60")


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Events]:
    """Makes ``python -m speechfleet_worker`` run the stand-in; tells what it does."""
    package = tmp_path / "path" / "speechfleet_worker"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    stand_in = Path(__file__).parents[1] / "support" / "stand_in_worker.py"
    shutil.copy(stand_in, package / "__main__.py")
    pipe = tmp_path / "events"
    events = Events(pipe)
    monkeypatch.setenv("PYTHONPATH", str(package.parent), prepend=os.pathsep)
    monkeypatch.setenv("EVENTS", str(pipe))
    yield events
    events.close()


@pytest.fixture
async def spoken(redis_url: str) -> AsyncIterator[Spoken]:
    connection = Connection(Settings.load(redis_url=redis_url))
    await connection.open()
    yield Spoken(connection)
    await connection.close()
