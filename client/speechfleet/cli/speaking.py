"""``say``, ``submit`` and ``listen``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from speechfleet.cli import options, output
from speechfleet.cli.delivery import STREAMED, deliver
from speechfleet.cli.fleet import check_served, on_fleet
from speechfleet.cli.targets import Target
from speechfleet.cli.texts import read_text
from speechfleet.client import AsyncClient
from speechfleet.errors import (
    InvalidRequest,
    JobCancelled,
    JobFailed,
    SpeechFleetError,
)
from speechfleet.job import AsyncJob, Speech
from speechfleet.jobs import Lane, Request, check_id
from speechfleet.settings import Settings
from speechfleet.tts import Msg

WAITING_TOLD_AFTER = 1.0
"""Seconds without a worker after which it is said what is waited for."""


def say(
    text: options.TextArgument = None,
    model: options.Model = None,
    voice: options.Voice = "",
    format: options.Format = None,
    out: options.Output = None,
    play: options.Play = False,
    id: options.MsgId = None,
    lane: options.Lane = "live",
    option: options.Options = None,
    no_cache: options.NoCache = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Speak a text and wait for it; prints where the audio is.

    Without SPEECHFLEET_REDIS_URL it brings up a fleet on this machine, and uses it. Ctrl-C
    cancels the job, unless --id gave it an id to be found under.
    """
    target = Target.check(out, play=play, as_json=as_json)
    msg, order = _order(text, id, model, voice, target.format(format), lane, option, no_cache)

    async def work(client: AsyncClient) -> None:
        if target.path is not None or not target.stdout:
            _ = client.store  # a store that is missing is told before anything is paid for
        await check_served(client, order["model"])
        job = await client.submit(msg, **order)
        async with _cancelled_with_us(job, mine=id is None), _told_of_waiting(job):
            await _finish(job, target, order["format"], as_json=as_json, quiet=quiet)

    on_fleet(work, start=True)


def submit(
    text: options.TextArgument = None,
    model: options.Model = None,
    voice: options.Voice = "",
    format: options.Format = None,
    id: options.MsgId = None,
    lane: options.Lane = "live",
    option: options.Options = None,
    no_cache: options.NoCache = False,
    as_json: options.AsJson = False,
) -> None:
    """Enqueue a text and return at once; prints the id of the job."""
    msg, order = _order(text, id, model, voice, format or "wav", lane, option, no_cache)

    async def work(client: AsyncClient) -> None:
        job = await client.submit(msg, **order)
        status = await job.status()
        if status.waiting == "no_worker":
            output.tell(_no_worker(status.model))
        output.emit(asdict(status)) if as_json else output.say(job.id)

    on_fleet(work)


def listen(
    id: options.Id,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            help="For --output -: wav, pcm, or the job's own. Default: wav.",
            show_default=False,
        ),
    ] = None,
    out: options.Output = None,
    play: options.Play = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Hear a job from its first byte and follow it to its end, live, late or again."""
    target = Target.check(out, play=play, as_json=as_json)

    async def work(client: AsyncClient) -> None:
        job = client.job(id)
        own = (await job.record()).request.format
        wanted = target.format(format, "wav" if target.stdout else own)
        if wanted != own and not (target.stdout and wanted in STREAMED):
            raise InvalidRequest(
                f"job {id!r} was spoken as {own}, not {wanted}: name the file .{own}, or take "
                "--output -, which gives wav and pcm of any job"
            )
        async with _told_of_waiting(job):
            await _finish(job, target, wanted, as_json=as_json, quiet=quiet)

    on_fleet(work)


def _order(
    text: str | None,
    id: str | None,
    model: str | None,
    voice: str,
    format: str,
    lane: str,
    option: list[str] | None,
    no_cache: bool,
) -> tuple[Msg, dict[str, Any]]:
    """What is to be submitted, refused here as far as it shows without a fleet."""
    if model is None:
        model, voice = options.DEFAULT_MODEL, voice or options.DEFAULT_VOICE
    if lane not in (Lane.LIVE, Lane.BATCH):
        raise InvalidRequest(f"unknown lane {lane!r}: it is live or batch")
    given = options.provider_options(option)
    max_text = Settings.load().max_text
    spoken = read_text(text, max_text)
    order = {"model": model, "voice": voice, "format": format, "lane": lane, "cache": not no_cache}
    for name in order.keys() & given.keys():
        raise InvalidRequest(f"--option {name}: use --{name}")
    Request(spoken, model, voice, given, format).check(max_text)
    msg = Msg(name="", content=spoken)
    if id is not None:
        msg.id = check_id(id)
    return msg, {**order, **given}


async def _finish(
    job: AsyncJob, target: Target, format: str, *, as_json: bool, quiet: bool
) -> None:
    """Deliver, then say what there is."""
    try:
        with output.progress(quiet=quiet) as progress:
            speech = await deliver(job, target, format, progress)
    except (JobFailed, JobCancelled):
        if as_json:
            output.emit(asdict(await job.status()))
        raise
    await told_of(job, speech, target, as_json=as_json, quiet=quiet)


async def told_of(
    job: AsyncJob, speech: Speech, target: Target, *, as_json: bool, quiet: bool
) -> None:
    """Where the audio is."""
    url = await speech.url()
    if as_json:
        told = {**asdict(await job.status()), "seconds": speech.duration}
        told |= {"media_type": speech.media_type, "bytes": speech.bytes, "url": url}
        output.emit({**told, "output": str(target.path) if target.path else None})
    elif not target.stdout:
        output.say(str(target.path or url))
    if not quiet:
        output.tell(f"{job.id}: {speech.duration:.1f} s of speech, {speech.media_type}")


@contextlib.asynccontextmanager
async def _cancelled_with_us(job: AsyncJob, *, mine: bool) -> AsyncIterator[None]:
    """Interrupted, or with nobody at the other end of stdout, nobody wants the rest."""
    try:
        yield
    except (asyncio.CancelledError, BrokenPipeError):
        if mine:
            with contextlib.suppress(SpeechFleetError):
                await job.cancel("interrupted at the terminal")
        raise


@contextlib.asynccontextmanager
async def _told_of_waiting(job: AsyncJob) -> AsyncIterator[None]:
    """Where no worker takes the job, waiting for it in silence would look like a hang."""

    async def look() -> None:
        await asyncio.sleep(WAITING_TOLD_AFTER)
        with contextlib.suppress(SpeechFleetError):
            status = await job.status()
            if status.waiting == "no_worker":
                output.tell(_no_worker(status.model))

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()


def _no_worker(model: str) -> str:
    provider = model.partition("/")[0]
    return (
        f"it waits: no worker of this fleet serves {provider!r} now; start one with "
        "`speechfleet worker`, and see `speechfleet doctor`"
    )
