"""Which fleet a command works on: the one of the environment, or this user's embedded one."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from pydantic import SecretStr

from speechfleet import keys
from speechfleet.client import AsyncClient
from speechfleet.errors import FolderInUse, MisconfiguredError
from speechfleet.jobs import Lane
from speechfleet.local import EmbeddedFleet, EmbeddedValkey, default_folder, open_fleet
from speechfleet.local.crew import Crew
from speechfleet.settings import Settings

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds for which another user of the embedded fleet's folder is waited for."""
Work = Callable[[AsyncClient], Awaitable[T]]


def on_fleet(work: Work[T], *, start: bool = False, workers: int = 1, sessions: bool = False) -> T:
    """Do it on the fleet of the command; see `settings_of_fleet`."""
    with settings_of_fleet(start=start, workers=workers, sessions=sessions) as settings:
        return asyncio.run(_with_client(settings, work))


@contextmanager
def settings_of_fleet(
    *, start: bool = False, workers: int = 1, sessions: bool = False
) -> Iterator[Settings]:
    """The fleet of the environment; without one, this user's embedded fleet.

    ``start``: bring that up, with so many workers, where none runs. Otherwise only its server
    is, if it ever ran, to look up what it did; if it never did, the settings stay without one.
    ``sessions``: with a worker that holds realtime sessions.
    """
    settings = Settings.load()
    if settings.redis_url is not None:
        yield settings
        return
    with _started(settings, workers, sessions) if start else _looked_up(settings) as embedded:
        yield embedded


async def _with_client(settings: Settings, work: Work[T]) -> T:
    async with AsyncClient(settings) as client:
        return await work(client)


@contextmanager
def _started(settings: Settings, workers: int, sessions: bool) -> Iterator[Settings]:
    with open_fleet(default_folder(), workers=workers) as fleet:
        embedded = _of(settings, fleet.redis_url, fleet.store_url)
        if sessions and not asyncio.run(_with_client(embedded, _holds_sessions)):
            with _session_worker(settings, fleet.environ):
                yield embedded
        else:
            yield embedded


async def _holds_sessions(client: AsyncClient) -> bool:
    sessions = keys.queue(Lane.SESSION, "")
    queues = (queue for worker in await client.workers() for queue in worker.queues)
    return any(queue.startswith(sessions) for queue in queues)


@contextmanager
def _session_worker(settings: Settings, environ: Mapping[str, str]) -> Iterator[None]:
    """One of our own, for as long as we use the fleet, whosever it is."""
    with TemporaryDirectory(prefix="speechfleet-") as logs:
        crew = Crew(
            Path(logs), lambda: {**os.environ, **environ}, grace=settings.grace, supervise=True
        )
        try:
            crew.launch(1, ["--lanes", Lane.SESSION])
            yield
        finally:
            crew.stop()


@contextmanager
def _looked_up(settings: Settings) -> Iterator[Settings]:
    """The fleet that runs; or its server alone, which nobody else can join meanwhile."""
    folder = default_folder()
    if folder is None or not (folder / "valkey").exists():
        yield settings  # opening a client says what is missing
        return
    end = time.monotonic() + PATIENCE
    while True:
        if (joined := EmbeddedFleet.attach(folder)) is not None:
            with joined:
                yield _of(settings, joined.redis_url, joined.store_url)
            return
        server = EmbeddedValkey(folder / "valkey")
        try:
            server.start()
            break
        except FolderInUse:
            # A fleet that starts or ends just now, or another look-up.
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
    with server:
        yield _of(settings, server.url, (folder / "store").as_uri())


def _of(settings: Settings, redis_url: str, store_url: str) -> Settings:
    return settings.model_copy(update={"redis_url": SecretStr(redis_url), "store": store_url})


async def check_served(client: AsyncClient, model: str) -> None:
    """Say at once what no worker of the fleet can do, instead of waiting for it.

    A fleet without any worker may get one at any moment: that is left to the waiting.
    """
    provider = model.partition("/")[0]
    reasons = [
        worker.providers[provider]
        for worker in await client.workers()
        if provider in worker.providers
    ]
    if reasons and all(reasons):
        raise MisconfiguredError(
            f"no worker of this fleet is ready for {provider!r}: {reasons[0]}", code="not_served"
        )
