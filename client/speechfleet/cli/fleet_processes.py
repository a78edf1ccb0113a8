"""The commands ``up``, ``worker`` and ``flower``: processes in the foreground."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from speechfleet.cli import options, output
from speechfleet.cli.serving import require_gateway
from speechfleet.embedded import EmbeddedFleet, default_folder
from speechfleet.embedded.foreground import run_together
from speechfleet.embedded.gateway_process import gateway_beside
from speechfleet.embedded.home import join_home_fleet
from speechfleet.embedded.requirements import require_worker
from speechfleet.errors import InvalidRequest, MisconfiguredError, MissingExtra
from speechfleet.request import Lane
from speechfleet.settings import Settings

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
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
LogLevel = Annotated[str, typer.Option("--log-level", help=", ".join(LOG_LEVELS))]


def up(
    data: options.DataFolder = None,
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

    Without --lanes, one more worker process holds realtime sessions. Prints the settings that
    make other programs use it, and then `ready`; `speechfleet env` prints them for a shell.
    """
    if workers:
        require_worker("a worker", "local")
    if gateway is not None:
        require_gateway()
    served = _check_lanes(lanes)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    interrupted = threading.Event()
    fleet = EmbeddedFleet(
        data or default_folder(),
        workers=workers,
        slots=concurrency,
        lanes=served,
        sessions=bool(workers) and served is None,
        store_url=Settings.load().store,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    with ExitStack() as stack:
        stack.callback(fleet.stop)
        fleet.start()
        for name in ("SPEECHFLEET_REDIS_URL", "SPEECHFLEET_STORE"):
            output.say(f"{name}={fleet.environ[name]}")
        if gateway is not None:
            environ, log = {**os.environ, **fleet.environ}, fleet.data / "logs" / "gateway.log"
            url = stack.enter_context(gateway_beside(environ, gateway, log=log))
            output.say(f"gateway {url}")
        output.say("ready")
        output.tell(_how_to_use(data))
        interrupted.wait()
        output.tell("draining ...")


def _how_to_use(data: Path | None) -> str:
    if data is None:
        return (
            "Commands and Python clients of this user find it by themselves; for other programs: "
            'eval "$(speechfleet env)"'
        )
    folder = shlex.quote(str(data.absolute()))
    return f'To use it from another terminal: eval "$(speechfleet env --data {folder})"'


def worker(
    lanes: Lanes = None,
    concurrency: Concurrency = None,
    providers: Annotated[
        str | None,
        typer.Option("--providers", help="Only these, separated by commas.", show_default=False),
    ] = None,
    events: Annotated[
        bool, options.flag("--events", help="Task events and remote control, for Flower.")
    ] = False,
    log_level: LogLevel = "INFO",
) -> None:
    """Run a worker in the foreground, on the fleet of the environment or of this user.

    It is one process; without --lanes two, of which one holds realtime sessions.
    """
    require_worker("a worker", "worker")
    served = _check_lanes(lanes)
    if log_level.upper() not in LOG_LEVELS:
        raise InvalidRequest(f"unknown log level {log_level!r}: it is {', '.join(LOG_LEVELS)}")
    environ = _fleet_environ()
    command = [sys.executable, "-m", "speechfleet_worker", "--log-level", log_level.upper()]
    for name, value in (("--concurrency", concurrency), ("--providers", providers)):
        if value is not None:
            command += [name, str(value)]
    if events:
        command.append("--events")
    sys.stdout.flush()
    if served is not None:
        command += ["--lanes", ",".join(served)]
        os.execve(sys.executable, command, environ)  # noqa: S606 # a list, no shell wanted
    commands = [[*command, "--lanes", lanes] for lanes in ("live,batch", Lane.SESSION.value)]
    grace = Settings.load().grace
    raise typer.Exit(run_together(commands, environ=environ, grace=grace))


def flower(
    host: Annotated[str, typer.Option(help="What to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5555,
) -> None:
    """Show the tasks of the fleet in Flower; its workers need --events.

    Further settings of Flower come from its own variables, such as FLOWER_BASIC_AUTH.
    """
    if find_spec("flower") is None or find_spec("celery") is None:
        raise MissingExtra("Flower", "flower")
    command = [sys.executable, "-m", "celery", "-A", "speechfleet_worker.flower", "flower"]
    sys.stdout.flush()
    os.execve(  # noqa: S606 # a list, no shell wanted
        sys.executable, [*command, f"--address={host}", f"--port={port}"], _fleet_environ()
    )


def _fleet_environ() -> Mapping[str, str]:
    """Return the environment of a process of this command's fleet. Raises MisconfiguredError."""
    settings, joined = join_home_fleet(Settings.load())
    if joined is not None:
        joined.close()  # no guest: the fleet does not wait for its workers to leave
        return {**os.environ, **joined.environ}
    if settings.redis_url is None:
        raise MisconfiguredError(
            "no fleet runs on this machine, and SPEECHFLEET_REDIS_URL is not set: `speechfleet "
            "up` starts a server with workers"
        )
    _ = settings.required_store
    return dict(os.environ)


def _check_lanes(lanes: str | None) -> list[str] | None:
    """Return the lanes that were named. Raises InvalidRequest."""
    if lanes is None:
        return None
    named = [lane.strip() for lane in lanes.split(",")]
    for lane in named:
        if lane not in list(Lane):
            raise InvalidRequest(f"unknown lane {lane!r}: it is live, batch or session")
    if Lane.SESSION in named and len(named) > 1:
        raise InvalidRequest(
            "--lanes: a worker process serves sessions alone; start another for the other lanes, "
            "or leave --lanes out"
        )
    return named
