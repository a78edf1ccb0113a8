"""``doctor``: what is reachable, what is misconfigured, and how to mend it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import typer

from speechfleet.cli import options, output
from speechfleet.cli.fleet import settings_of_fleet
from speechfleet.client import AsyncClient
from speechfleet.errors import MisconfiguredError, SpeechFleetError
from speechfleet.ledger.connection import Server, errors
from speechfleet.ledger.fleet import Worker
from speechfleet.settings import Settings

CLOCK_SKEW = 60.0
"""Seconds. S3 refuses requests whose clock is 15 minutes off, and links expire by it."""
NEARLY_FULL = 0.8
UNHEALTHY = 2


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """It works, but not as it should."""
    FAILURE = "failure"
    """Jobs cannot be done."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``mend``: what to do, "" where nothing."""

    subject: str
    verdict: Verdict
    found: str
    mend: str = ""


def doctor(as_json: options.AsJson = False) -> None:
    """Look at Redis, the store, the workers and the providers; status 2 if jobs cannot be done."""
    with settings_of_fleet() as settings:
        findings = asyncio.run(examine(settings))
    healthy = all(finding.verdict is not Verdict.FAILURE for finding in findings)
    if as_json:
        output.emit({"healthy": healthy, "findings": [asdict(finding) for finding in findings]})
    else:
        output.table(
            ("subject", "verdict", "found", "what to do"),
            [(each.subject, each.verdict, each.found, each.mend) for each in findings],
        )
    if not healthy:
        raise typer.Exit(UNHEALTHY)


async def examine(settings: Settings) -> list[Finding]:
    """Every check that can be made; one that fails does not hide the others."""
    try:
        client = AsyncClient(settings)
    except MisconfiguredError as error:
        return [Finding("Redis", Verdict.FAILURE, "not set", error.message)]
    try:
        findings = await _found("Redis", lambda: _redis(client))
        if findings[0].verdict is not Verdict.FAILURE:
            findings += await _found("clock", lambda: _clock(client))
            findings += await _found("workers", lambda: _workers(client))
            findings += await _found("queues", lambda: _queues(client))
        return findings + await _found("store", lambda: _store(client))
    finally:
        await client.close()


async def _found(subject: str, look: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    try:
        return await look()
    except SpeechFleetError as error:
        return [Finding(subject, Verdict.FAILURE, error.code, error.message)]


async def _redis(client: AsyncClient) -> list[Finding]:
    await client.connection.open()
    with errors():
        server = await client.connection.server()
    version = ".".join(map(str, server.version))
    return [Finding("Redis", Verdict.OK, f"reachable, version {version}"), *_settings(server)]


def _settings(server: Server) -> list[Finding]:
    findings = []
    policy, used, limit = server.eviction, server.memory_used, server.memory_limit
    if not server.append_only:
        found = "appendonly is no: a restart loses jobs"
        mend = "set `appendonly yes` and `appendfsync everysec`"
        findings.append(Finding("Redis persistence", Verdict.WARNING, found, mend))
    if policy != "noeviction":
        verdict = Verdict.FAILURE if limit else Verdict.WARNING
        found = f"maxmemory-policy is {policy}: jobs are thrown away where memory is short"
        findings.append(
            Finding("Redis eviction", verdict, found, "set `maxmemory-policy noeviction`")
        )
    if limit and used > NEARLY_FULL * limit:
        found = f"{used >> 20} of {limit >> 20} MB are used"
        mend = "raise `maxmemory`, or lower SPEECHFLEET_STREAM_BYTES or SPEECHFLEET_RECORD_TTL"
        findings.append(Finding("Redis memory", Verdict.WARNING, found, mend))
    return findings


async def _clock(client: AsyncClient) -> list[Finding]:
    before = time.time()
    seconds, micros = await client.connection.scripts.call("TIME")
    skew = int(seconds) + int(micros) / 1e6 - (before + time.time()) / 2
    if abs(skew) < CLOCK_SKEW:
        return []
    found = f"this machine and Redis differ by {skew:+.0f} s"
    return [Finding("clock", Verdict.WARNING, found, "synchronize the clocks (NTP)")]


async def _workers(client: AsyncClient) -> list[Finding]:
    workers = await client.workers()
    if not workers:
        mend = "start one: `speechfleet worker`"
        return [Finding("workers", Verdict.WARNING, "none is alive: jobs wait in line", mend)]
    slots, running = sum(w.slots for w in workers), sum(w.running for w in workers)
    found = f"{len(workers)} alive, {running} of {slots} slots in use"
    return [Finding("workers", Verdict.OK, found), *_providers(workers)]


def _providers(workers: Sequence[Worker]) -> list[Finding]:
    """As the workers tell: SDKs and keys are theirs, and nobody else's to look at."""
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
            findings.append(Finding(f"provider {provider}", Verdict.WARNING, found, given[0]))
    return findings


async def _queues(client: AsyncClient) -> list[Finding]:
    served = {queue for worker in await client.workers() for queue in worker.queues}
    mend = "start a worker for that lane, with what that provider needs: `speechfleet worker`"
    return [
        Finding(
            f"queue {depth.queue}",
            Verdict.WARNING,
            f"{depth.waiting:,} jobs wait that no worker takes",
            mend,
        )
        for depth in await client.fleet.depths()
        if depth.waiting and depth.queue not in served
    ]


async def _store(client: AsyncClient) -> list[Finding]:
    await client.store.check()
    return [Finding("store", Verdict.OK, f"{client.settings.store}: written, read and deleted")]
