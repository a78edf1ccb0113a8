"""The commands ``env``, ``workers``, ``drain`` and ``limits reset``."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from speechfleet.cli import options, output
from speechfleet.cli.completion import complete_model
from speechfleet.cli.connect import on_fleet, start_command
from speechfleet.client import AsyncClient
from speechfleet.embedded import EmbeddedFleet
from speechfleet.embedded.home import join_home_fleet, settings_of
from speechfleet.errors import InvalidRequest, MisconfiguredError
from speechfleet.ledger import RateLimit, keys
from speechfleet.ledger.circuit_breakers import Breaker, BreakerState
from speechfleet.ledger.workers import WorkerInfo
from speechfleet.settings import Settings


def env(data: options.DataFolder = None, as_json: options.AsJson = False) -> None:
    """Print the settings of the running fleet: `eval "$(speechfleet env)"`."""
    settings = _settings_of_running(data)
    if settings.redis_url is None:
        raise MisconfiguredError(
            "no fleet runs on this machine, and SPEECHFLEET_REDIS_URL is not set: start one with "
            "`speechfleet up` in another terminal"
        )
    values = {"SPEECHFLEET_REDIS_URL": settings.redis_url.get_secret_value()}
    if settings.store is not None:
        values["SPEECHFLEET_STORE"] = settings.store
    if as_json:
        output.emit(values)
        return
    for name, value in values.items():
        output.say(f"export {name}={shlex.quote(value)}")


def _settings_of_running(data: Path | None) -> Settings:
    settings = Settings.load()
    if data is None:
        settings, joined = join_home_fleet(settings)
    elif (joined := EmbeddedFleet.attach(data)) is not None:
        settings = settings_of(settings, joined.redis_url, joined.store_url)
    else:
        raise MisconfiguredError(
            f"no fleet runs on {data}: start one with `speechfleet up --data {data}`"
        )
    if joined is not None:
        joined.close()
    return settings


def workers(as_json: options.AsJson = False) -> None:
    """List the workers that are alive, the rate limits of models, and the circuit breakers."""

    async def work(client: AsyncClient) -> None:
        alive, limits = await client.workers(), await client.ledger.rate_limiter.all()
        breakers = await client.ledger.breakers.all()
        if as_json:
            output.emit({
                "workers": [asdict(worker) for worker in alive],
                "limits": [asdict(limit) for limit in limits],
                "breakers": [asdict(breaker) for breaker in breakers],
            })  # fmt: skip
            return
        output.table(
            ("boot id", "host", "pid", "version", "jobs", "lanes", "providers"),
            [
                (
                    worker.boot, worker.host, worker.pid, worker.version,
                    f"{worker.running}/{worker.slots}",
                    "draining" if worker.draining else " ".join(_lanes(worker)),
                    " ".join(sorted(name for name, why in worker.providers.items() if not why)),
                )
                for worker in alive
            ],
            rare=("version", "pid", "host"),
            nothing=f"no worker is alive: {start_command()} starts one",
        )  # fmt: skip
        if missing := _not_ready(alive):
            output.say("")
            output.table(("provider", "not ready in", "because"), missing)
        if limits:
            output.say("")
            columns = ("model", "requests a minute", "at once", "refused", "paused", "waiting")
            output.table(columns, map(_limit_row, limits))
        if breakers:
            headings = ("provider", "circuit breaker", "failures", "last error", "probe")
            output.table(headings, map(_breaker_row, breakers))

    on_fleet(work)


def _lanes(worker: WorkerInfo) -> list[str]:
    return sorted({keys.lane_of(queue)[0] for queue in worker.queues})


def _not_ready(workers: Sequence[WorkerInfo]) -> list[tuple[str, str, str]]:
    """Return providers that workers do not serve: name, number of those workers, reason."""
    found = Counter(
        (name, reason) for worker in workers for name, reason in worker.providers.items() if reason
    )
    every = len(workers)
    return [
        (name, f"{count} of {output.count(every, 'worker')}", reason)
        for (name, reason), count in sorted(found.items())
    ]


def _limit_row(limit: RateLimit) -> tuple[str, ...]:
    rate = f"{limit.rate:,.0f} ({'found' if limit.found else 'set'})" if limit.rate else ""
    waiting = ", ".join(f"{count} {lane}" for lane, count in limit.waiting.items() if count)
    paused = f"{limit.paused:.0f} s" if limit.paused else ""
    at_once = str(limit.concurrent or "")
    return limit.model, rate, at_once, str(limit.refused), paused, waiting


def _breaker_row(breaker: Breaker) -> tuple[str, ...]:
    state = breaker.state.replace("_", " ")
    probe = f"in {breaker.probe_in:.0f} s" if breaker.state is BreakerState.OPEN else ""
    return breaker.provider, state, str(breaker.failures), breaker.code, probe


def drain(
    boot: Annotated[
        str | None, typer.Argument(metavar="BOOT", help="The worker's boot id, see `workers`.")
    ] = None,
    everyone: Annotated[bool, options.flag("--all", help="All workers of the fleet.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Let a worker finish its jobs, or hand them over, and end; it is not started again."""
    if (boot is None) != everyone:
        raise InvalidRequest("give the boot id of one worker (see `workers`), or --all")

    async def work(client: AsyncClient) -> None:
        alive = [worker.boot for worker in await client.workers()]
        draining = alive if boot is None else [boot]
        if boot is not None and boot not in alive:
            known = ", ".join(alive) or "none"
            raise InvalidRequest(f"no worker {boot!r} is alive; those that are: {known}")
        await client.ledger.workers.drain(boot)
        if as_json:
            output.emit({"draining": draining})
        else:
            for each in draining:
                output.say(f"{each}: draining")

    on_fleet(work)


limits = typer.Typer(
    name="limits", no_args_is_help=True, help="The rate limits that the fleet has found."
)


@limits.command()
def reset(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="provider/model, see `workers`.",
            show_default=False,
            autocompletion=complete_model,
        ),
    ] = None,
    everyone: Annotated[bool, options.flag("--all", help="Forget them for all models.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Forget the rate limit and the pause of a model, so that calls are tried again at once."""
    if (model is None) != everyone:
        raise InvalidRequest("give the name of one model (see `workers`), or --all")

    async def work(client: AsyncClient) -> None:
        forgotten = await client.ledger.rate_limiter.reset(model)
        if as_json:
            output.emit({"reset": forgotten})
            return
        for name in forgotten:
            output.say(f"{name}: reset")
        if not forgotten:
            output.tell("there is no rate limit to reset")

    on_fleet(work)
