"""Joins the fleet of this user's home, or brings it up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import SecretStr

from speechfleet.embedded.data_folder import default_folder
from speechfleet.embedded.fleet import SESSIONS, open_fleet
from speechfleet.embedded.shared import SharedFleet, join
from speechfleet.embedded.worker_pool import WorkerPool
from speechfleet.errors import MisconfiguredError
from speechfleet.ledger import Connection, Workers, keys
from speechfleet.request import Lane
from speechfleet.settings import Settings


def join_home_fleet(settings: Settings) -> tuple[Settings, SharedFleet | None]:
    """Point settings that name no Redis to the fleet of this user's home, where one runs.

    Raises MisconfiguredError where that fleet has another store than the settings.
    """
    folder = default_folder() if settings.redis_url is None else None
    joined = join(folder) if folder is not None else None
    if joined is None:
        return settings, None
    try:
        return settings_of(settings, joined.redis_url, joined.store_url), joined
    except MisconfiguredError:
        joined.close()
        raise


@contextmanager
def running_fleet(
    settings: Settings, data: Path | None, *, workers: int = 1, sessions: bool = False
) -> Iterator[Settings]:
    """Join the fleet of a data folder, or bring it up; yield the settings of its clients.

    A fleet that is joined and has no worker for live jobs (for sessions, where ``sessions``)
    gets one of our own for as long as the body runs. Raises MisconfiguredError, FolderInUse.
    """
    with open_fleet(data, workers=workers, sessions=sessions, store_url=settings.store) as fleet:
        embedded = settings_of(settings, fleet.redis_url, fleet.store_url)
        missing = _missing_workers(embedded, sessions) if isinstance(fleet, SharedFleet) else []
        with _own_workers(missing, settings, fleet.environ):
            yield embedded


@asynccontextmanager
async def fleet_in_thread(
    data: Path | str | None, *, workers: int, sessions: bool
) -> AsyncGenerator[Settings, None]:
    """Enter `running_fleet` without holding up the event loop while processes start and end."""
    folder = Path(data) if data is not None else default_folder()
    fleet = running_fleet(Settings.load(), folder, workers=workers, sessions=sessions)
    entering = asyncio.ensure_future(asyncio.to_thread(fleet.__enter__))
    try:
        settings = await asyncio.shield(entering)
    except asyncio.CancelledError as error:
        # The thread goes on starting processes: end them once it has.
        await asyncio.wait([entering])
        if entering.exception() is None:
            await asyncio.to_thread(fleet.__exit__, type(error), error, None)
        raise
    try:
        yield settings
    except BaseException as error:
        await asyncio.to_thread(fleet.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(fleet.__exit__, None, None, None)


def settings_of(settings: Settings, redis_url: str, store_url: str) -> Settings:
    """Point the settings to an embedded fleet. Raises MisconfiguredError at another store."""
    if settings.store is not None and settings.store != store_url:
        raise MisconfiguredError(
            f"the fleet on this machine keeps its audio in {store_url}, and SPEECHFLEET_STORE is "
            f"{settings.store}: unset it, or end that fleet and start it again with this setting"
        )
    return settings.model_copy(update={"redis_url": SecretStr(redis_url), "store": store_url})


def _missing_workers(settings: Settings, sessions: bool) -> list[list[str]]:
    """Arguments of the workers that a joined fleet lacks."""
    served = asyncio.run(_served_lanes(settings))
    missing: list[list[str]] = [] if Lane.LIVE in served else [[]]
    return [*missing, SESSIONS] if sessions and Lane.SESSION not in served else missing


async def _served_lanes(settings: Settings) -> set[str]:
    connection = Connection(settings)
    try:
        await connection.open()
        workers = await Workers(connection).workers()
    finally:
        await connection.close()
    alive = (worker for worker in workers if not worker.draining)
    return {keys.lane_of(queue)[0] for worker in alive for queue in worker.queues}


@contextmanager
def _own_workers(
    arguments: list[list[str]], settings: Settings, environ: Mapping[str, str]
) -> Iterator[None]:
    """Run workers for as long as we use the fleet."""
    if not arguments:
        yield
        return
    with TemporaryDirectory(prefix="speechfleet-") as logs:
        pool = WorkerPool(
            Path(logs), lambda: {**os.environ, **environ}, grace=settings.grace, supervise=True
        )
        try:
            pool.launch(arguments)
            yield
        finally:
            pool.stop()
