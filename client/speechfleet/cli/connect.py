"""Connects a command to its fleet: the one of the environment, or this user's embedded one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from speechfleet.cli import output
from speechfleet.client import AsyncClient
from speechfleet.embedded import EmbeddedFleet, EmbeddedValkey, default_folder
from speechfleet.embedded.data_folder import close_to_others
from speechfleet.embedded.home import join_home_fleet, running_fleet, settings_of
from speechfleet.errors import FolderInUse, MisconfiguredError, ObjectMissing, StoreError
from speechfleet.settings import Settings
from speechfleet.store import Store

T = TypeVar("T")
FOLDER_TIMEOUT_S = 60.0
"""Seconds to wait for another user of the embedded fleet's folder."""
STARTING = "joining the fleet of this machine, or bringing one up ..."
STORE_ANSWER_S = 3.0
Work = Callable[[AsyncClient], Awaitable[T]]


def on_fleet(
    work: Work[T],
    *,
    start: bool = False,
    revive: bool = False,
    workers: int = 1,
    sessions: bool = False,
    quiet: bool = False,
) -> T:
    """Run ``work`` with a client of the command's fleet; see `settings_of_fleet`."""
    with settings_of_fleet(
        start=start, revive=revive, workers=workers, sessions=sessions, quiet=quiet
    ) as settings:
        return asyncio.run(_with_client(settings, work))


@contextmanager
def settings_of_fleet(
    *,
    start: bool = False,
    revive: bool = False,
    workers: int = 1,
    sessions: bool = False,
    quiet: bool = False,
) -> Iterator[Settings]:
    """Yield the settings of the environment's fleet, else of this user's embedded fleet.

    ``start``: bring that up, with so many workers, where none runs; ``revive``: only if it ever
    ran. Otherwise its server alone is brought up, if it ever ran, to look up what it did. If it
    never ran, the settings stay without a fleet. ``sessions``: with a worker that holds
    realtime sessions. ``quiet``: a terminal is not told that a fleet starts.
    """
    settings = Settings.load()
    folder = default_folder()
    if settings.redis_url is not None:
        yield settings
    elif start or (revive and _has_run(folder)):
        with ExitStack() as stack:
            with output.progress(quiet=quiet) as progress:
                progress.update(STARTING)
                embedded = stack.enter_context(
                    running_fleet(settings, folder, workers=workers, sessions=sessions)
                )
            yield embedded
    elif folder is not None and _has_run(folder):
        with _server_only(settings, folder) as embedded:
            yield embedded
    else:
        yield settings  # opening a client says what is missing


@contextmanager
def running_settings() -> Iterator[Settings | None]:
    """Yield the settings of a fleet that is set or runs; None where there is none."""
    settings, joined = join_home_fleet(Settings.load())
    try:
        yield settings if settings.redis_url is not None else None
    finally:
        if joined is not None:
            joined.close()


def start_command() -> str:
    """Name the command that starts a worker for the fleet of this command."""
    settings = Settings.load()
    if settings.redis_url is None:
        return "`speechfleet up`"
    needed = "" if settings.store else " (with SPEECHFLEET_STORE set)"
    return f"`speechfleet worker`{needed}"


async def _with_client(settings: Settings, work: Work[T]) -> T:
    async with AsyncClient(settings) as client:
        return await work(client)


def _has_run(folder: Path | None) -> bool:
    return folder is not None and (folder / "valkey").exists()


@contextmanager
def _server_only(settings: Settings, folder: Path) -> Iterator[Settings]:
    """Join the fleet that runs; else start its server alone, which nobody else can join."""
    close_to_others(folder)
    end = time.monotonic() + FOLDER_TIMEOUT_S
    while True:
        if (joined := EmbeddedFleet.attach(folder)) is not None:
            with joined:
                yield settings_of(settings, joined.redis_url, joined.store_url)
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
        store = settings.store or (folder / "store").as_uri()
        yield settings_of(settings, server.url, store)


def check_store(client: AsyncClient) -> None:
    """Raise MisconfiguredError or MissingExtra where the object store cannot be opened."""
    _ = client.store


async def store_trouble(store: Store) -> str:
    """Ask the store for an object that is not there; return what is wrong, "" if nothing is."""
    try:
        async with asyncio.timeout(STORE_ANSWER_S):
            await store.get("segments/none")
    except TimeoutError:
        return f"no answer within {STORE_ANSWER_S:g} s; `speechfleet doctor` says more"
    except ObjectMissing:
        return ""
    except StoreError as error:
        return str(error)
    return ""


async def check_served(client: AsyncClient, model: str) -> None:
    """Raise MisconfiguredError where no worker of the fleet is ready for a model's provider.

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
            f"no worker of this fleet is ready for {provider!r}: {reasons[0]}, "
            f"{_where_they_start()}",
            code="not_served",
        )


def _where_they_start() -> str:
    """Tell where the workers of this command's fleet get a package or a key from."""
    if Settings.load().redis_url is None:
        return "then run this command again; where `speechfleet up` runs, end and start it first"
    return f"where its workers start, and start them again ({start_command()})"
