"""The command ``doctor``: checks what a job needs, and says what to do about it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict

import typer

from speechfleet.cli import options, output
from speechfleet.cli.connect import running_settings, start_command
from speechfleet.cli.exit_status import status_of
from speechfleet.cli.findings import Finding, Verdict
from speechfleet.cli.local_checks import examine_machine
from speechfleet.cli.redis_checks import examine_clock, examine_redis
from speechfleet.cli.store_checks import examine_store
from speechfleet.client import AsyncClient
from speechfleet.errors import MisconfiguredError, SpeechFleetError
from speechfleet.ledger.workers import WorkerInfo
from speechfleet.model_shutdowns import shutdown_warning
from speechfleet.settings import Settings, unknown_variables


def doctor(as_json: options.AsJson = False) -> None:
    """Check everything that `say` needs: Redis, store, workers, providers, or this machine.

    If jobs cannot be done, the exit status is 4 for a passing cause, else 2.
    """
    findings = _settings_checks()
    with running_settings() as settings:
        findings += _models(settings or Settings.load())
        findings += examine_machine() if settings is None else asyncio.run(examine(settings))
    healthy = all(finding.verdict is not Verdict.FAILURE for finding in findings)
    if as_json:
        shown = [{**asdict(finding), "status": int(finding.status)} for finding in findings]
        output.emit({"healthy": healthy, "findings": shown})
    else:
        output.table(
            ("subject", "verdict", "found", "what to do"),
            [(each.subject, each.verdict, each.found, each.mend) for each in findings],
            keys=2,
            folds=2,
        )
    if not healthy:
        failures = [each for each in findings if each.verdict is Verdict.FAILURE]
        raise typer.Exit(min(failure.status for failure in failures))


def _settings_checks() -> list[Finding]:
    """Name variables that begin as settings do and are none."""
    return [
        Finding(
            f"setting {name}",
            Verdict.WARNING,
            "is no setting and is ignored",
            f"set {near} instead" if near else "remove it",
        )
        for name, near in unknown_variables().items()
    ]


def _models(settings: Settings) -> list[Finding]:
    """Warn of models in the settings that their provider closes."""
    named = dict.fromkeys([settings.default_model or "", *settings.gateway_aliases.values()])
    warnings = {model: shutdown_warning(model) for model in named}
    findings = []
    for model, warning in warnings.items():
        if warning:
            found, _, mend = warning.partition(": ")
            findings.append(Finding(f"model {model}", Verdict.WARNING, found, mend))
    return findings


async def examine(settings: Settings) -> list[Finding]:
    """Make every check that can be made; one that fails does not hide the others."""
    try:
        client = AsyncClient(settings)
    except MisconfiguredError as error:
        return [Finding("Redis", Verdict.FAILURE, "not set", error.message)]
    try:
        findings = await _found("Redis", lambda: examine_redis(client))
        if findings[0].verdict is not Verdict.FAILURE:
            findings += await _found("clock", lambda: examine_clock(client))
            findings += await _found("workers", lambda: _workers(client))
            findings += await _found("queues", lambda: _queues(client))
        return findings + await _found("store", lambda: examine_store(client.store))
    finally:
        await client.close()


async def _found(subject: str, look: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    try:
        return await look()
    except SpeechFleetError as error:
        return [Finding(subject, Verdict.FAILURE, error.code, error.message, status_of(error))]


async def _workers(client: AsyncClient) -> list[Finding]:
    workers = await client.workers()
    if not workers:
        mend = f"start one: {start_command()}"
        return [Finding("workers", Verdict.WARNING, "none is alive: jobs wait in line", mend)]
    slots, running = sum(w.slots for w in workers), sum(w.running for w in workers)
    found = f"{len(workers)} alive, {running} of {slots} slots in use"
    return [Finding("workers", Verdict.OK, found), *_providers(workers)]


def _providers(workers: Sequence[WorkerInfo]) -> list[Finding]:
    """Judge the providers by what the workers report: only they have the SDKs and keys."""
    reasons: dict[str, list[str]] = {}
    for worker in workers:
        for provider, reason in worker.providers.items():
            reasons.setdefault(provider, []).append(reason)
    findings = []
    for provider, given in sorted(reasons.items()):
        ready = given.count("")
        found = f"ready in {ready} of {len(given)} workers"
        if ready:
            findings.append(Finding(f"provider {provider}", Verdict.OK, found))
        else:
            mend = f"{given[0]}, where the workers run, and start them again"
            findings.append(Finding(f"provider {provider}", Verdict.WARNING, found, mend))
    return findings


async def _queues(client: AsyncClient) -> list[Finding]:
    overview = await client.ledger.overview.overview(await client.workers())
    served = {queue for worker in overview.workers for queue in worker.queues}
    mend = f"start a worker that has what the provider needs: {start_command()}"
    return [
        Finding(
            f"queue {status.queue}",
            Verdict.WARNING,
            f"{output.count(status.waiting, 'job')} in line that no worker takes",
            mend,
        )
        for status in overview.queues
        if status.waiting and status.queue not in served
    ]
