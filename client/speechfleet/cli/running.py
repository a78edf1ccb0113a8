"""``up``, ``worker``, ``workers`` and ``drain``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from contextlib import ExitStack
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from speechfleet.cli import options, output
from speechfleet.cli.fleet import on_fleet
from speechfleet.cli.serving import require_gateway
from speechfleet.client import AsyncClient
from speechfleet.errors import InvalidRequest, MissingExtra
from speechfleet.jobs import Lane
from speechfleet.ledger import Budget, Budgets
from speechfleet.local import EmbeddedFleet, default_folder
from speechfleet.local.foreground import run_together
from speechfleet.local.gateway import gateway_beside
from speechfleet.settings import Settings

Lanes = Annotated[
    str | None,
    typer.Option(
        "--lanes", help="Separated by commas: live,batch; or session.", show_default=False
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", min=1, help="Jobs at once, of each worker.", show_default=False),
]


def up(
    data: Annotated[
        Path | None,
        typer.Option(help="Holds all that lasts. Default: this user's data folder.",
                     show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes.")] = 1,
    lanes: Lanes = None,
    concurrency: Concurrency = None,
    gateway: Annotated[
        int | None,
        typer.Option("--gateway", min=0, max=65535, metavar="PORT", show_default=False,
                     help="Serve HTTP there too; 0: a free port."),
    ] = None,
) -> None:  # fmt: skip
    """Bring up a whole fleet on this machine, until it is interrupted.

    Without --lanes, one more worker process holds realtime sessions.
    Prints the two settings that make another terminal use it, and then `ready`.
    """
    _require_worker() if workers else None
    require_gateway() if gateway is not None else None
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    interrupted = threading.Event()
    fleet = EmbeddedFleet(
        data or default_folder(),
        workers=workers,
        slots=concurrency,
        lanes=lanes.split(",") if lanes else None,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    with ExitStack() as stack:
        stack.callback(fleet.stop)
        fleet.start()
        if workers and lanes is None:
            fleet.start_worker("--lanes", Lane.SESSION)
        for name in ("SPEECHFLEET_REDIS_URL", "SPEECHFLEET_STORE"):
            output.say(f"{name}={fleet.environ[name]}")
        if gateway is not None:
            environ, log = {**os.environ, **fleet.environ}, fleet.data / "logs" / "gateway.log"
            url = stack.enter_context(gateway_beside(environ, gateway, log=log))
            output.say(f"gateway {url}")
        output.say("ready")
        interrupted.wait()
        output.tell("draining ...")


def worker(
    lanes: Lanes = None,
    concurrency: Concurrency = None,
    providers: Annotated[
        str | None,
        typer.Option("--providers", help="Only these, separated by commas.", show_default=False),
    ] = None,
    events: Annotated[bool, typer.Option("--events", help="Task events, for Flower.")] = False,
    log_level: Annotated[str, typer.Option("--log-level")] = "INFO",
) -> None:
    """A worker in the foreground, on the fleet of the environment.

    It is one process; without --lanes two, of which one holds realtime sessions.
    """
    _require_worker()
    command = [sys.executable, "-m", "speechfleet_worker", "--log-level", log_level]
    for name, value in (("--concurrency", concurrency), ("--providers", providers)):
        if value is not None:
            command += [name, str(value)]
    if events:
        command.append("--events")
    sys.stdout.flush()
    if lanes is None:
        commands = [[*command, "--lanes", served] for served in ("live,batch", Lane.SESSION)]
        raise typer.Exit(run_together(commands, grace=Settings.load().grace))
    os.execv(sys.executable, [*command, "--lanes", lanes])  # noqa: S606 # a list, no shell wanted


def workers(as_json: options.AsJson = False) -> None:
    """The worker processes that are alive, and what providers' accounts let them ask."""

    async def work(client: AsyncClient) -> None:
        alive, budgets = await client.workers(), await Budgets(client.connection).all()
        if as_json:
            limits = [asdict(one) for one in budgets]
            output.emit({"workers": [asdict(one) for one in alive], "limits": limits})
            return
        output.table(
            ("boot id", "host", "pid", "version", "jobs", "queues", "not ready"),
            [
                (
                    one.boot, one.host, one.pid, one.version, f"{one.running}/{one.slots}",
                    "draining" if one.draining else " ".join(sorted(one.queues)),
                    "; ".join(f"{name}: {why}" for name, why in one.providers.items() if why),
                )
                for one in alive
            ],
        )  # fmt: skip
        if budgets:
            columns = ("model", "requests a minute", "refused", "paused", "waiting")
            output.table(columns, map(_limit, budgets))

    on_fleet(work)


def _limit(budget: Budget) -> tuple[str, ...]:
    rate = f"{budget.rate:,.0f} ({'found' if budget.found else 'set'})" if budget.rate else ""
    waiting = ", ".join(f"{count} {lane}" for lane, count in budget.waiting.items() if count)
    paused = f"{budget.paused:.0f} s" if budget.paused else ""
    return budget.model, rate, str(budget.refused), paused, waiting


def drain(
    boot: Annotated[
        str | None, typer.Argument(metavar="[BOOT]", help="The worker's boot id, see `workers`.")
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All workers of the fleet.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Let a worker finish or hand over its jobs, and end."""
    if (boot is None) != everyone:
        raise InvalidRequest("give the boot id of one worker (see `workers`), or --all")

    async def work(client: AsyncClient) -> None:
        alive = [one.boot for one in await client.workers()]
        asked = alive if boot is None else [boot]
        if boot is not None and boot not in alive:
            known = ", ".join(alive) or "none"
            raise InvalidRequest(f"no worker {boot!r} is alive; those that are: {known}")
        await client.fleet.drain(boot)
        if as_json:
            output.emit({"draining": asked})
        else:
            for one in asked:
                output.say(f"{one}: draining")

    on_fleet(work)


def _require_worker() -> None:
    if find_spec("celery") is None:
        raise MissingExtra("a worker", "worker")
