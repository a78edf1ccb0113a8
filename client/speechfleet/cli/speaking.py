"""The commands ``say``, ``submit`` and ``listen``."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from speechfleet.cli import options, output
from speechfleet.cli.audio_output import STREAMED, deliver
from speechfleet.cli.connect import (
    check_served,
    check_store,
    on_fleet,
    start_command,
    store_trouble,
)
from speechfleet.cli.dialogue import Cast, read_dialogue
from speechfleet.cli.exit_status import as_json as error_as_json
from speechfleet.cli.exit_status import status_of
from speechfleet.cli.targets import Target
from speechfleet.cli.texts import names_file, read_text
from speechfleet.client import AsyncClient
from speechfleet.dialogue import DialoguePart, join_parts
from speechfleet.errors import (
    InvalidRequest,
    JobCancelled,
    JobFailed,
    MisconfiguredError,
    MissingExtra,
    SpeechFleetError,
)
from speechfleet.job import AsyncJob, AsyncSpeech
from speechfleet.request import Lane, Request, check_id
from speechfleet.settings import Settings
from speechfleet.spoken_form import take_spoken_form
from speechfleet.tts import Msg

NO_WORKER_AFTER_S = 1.0
"""Seconds without a worker after which the user gets a warning."""
STORE_AFTER_S = 4.0
"""Further seconds of waiting after which the store is asked whether it is there."""


def say(
    text: options.TextArgument = None,
    model: options.Model = None,
    voice: options.Voices = None,
    dialogue: options.DialogueFile = None,
    format: options.Format = None,
    out: options.Output = None,
    play: options.Play = False,
    id: options.MsgId = None,
    lane: options.Lane = "live",
    option: options.Options = None,
    language: options.Language = "",
    speakable: options.Speakable = None,
    lexicon: options.LexiconFile = None,
    loudness: options.Loudness = None,
    speed: options.Speed = None,
    fallback: options.Fallback = None,
    no_cache: options.NoCache = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Speak a text, wait for it, and print where the audio is.

    Without a fleet it brings one up on this machine. Ctrl-C cancels the job, unless --id gave
    it an id, by which it can be found later.
    """
    target = Target.check(out, play=play, as_json=as_json)
    form = options.spoken_form(speakable, lexicon, loudness, speed, fallback)
    msg, order = _order(
        _Content(text, voice or [], dialogue),
        id,
        model,
        target.format(format),
        lane,
        option,
        language,
        no_cache,
        form,
    )

    async def work(client: AsyncClient) -> None:
        if target.path is not None or not target.stdout:
            check_store(client)  # before anything is paid for
        await check_served(client, order["model"])
        job = await _submit(client, msg, id, order)
        async with _cancelled_on_interrupt(job, mine=id is None), _wait_warning(client, job):
            await _finish(job, target, order["format"], as_json=as_json, quiet=quiet)

    on_fleet(work, start=True, quiet=quiet)


def submit(
    text: options.TextArgument = None,
    model: options.Model = None,
    voice: options.Voices = None,
    dialogue: options.DialogueFile = None,
    format: options.Format = None,
    id: options.MsgId = None,
    lane: options.Lane = "live",
    option: options.Options = None,
    language: options.Language = "",
    speakable: options.Speakable = None,
    lexicon: options.LexiconFile = None,
    loudness: options.Loudness = None,
    speed: options.Speed = None,
    fallback: options.Fallback = None,
    no_cache: options.NoCache = False,
    as_json: options.AsJson = False,
) -> None:
    """Enqueue a text, print the id of its job, and return at once."""
    form = options.spoken_form(speakable, lexicon, loudness, speed, fallback)
    msg, order = _order(
        _Content(text, voice or [], dialogue),
        id,
        model,
        format or "wav",
        lane,
        option,
        language,
        no_cache,
        form,
    )

    async def work(client: AsyncClient) -> None:
        job = await _submit(client, msg, id, order)
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
    """Follow a job from its first byte to its end: while it is spoken, or afterwards."""
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
        async with _wait_warning(client, job):
            await _finish(job, target, wanted, as_json=as_json, quiet=quiet)

    on_fleet(work, revive=True, quiet=quiet)


@dataclass(frozen=True)
class _Content:
    """The text of a command with its voice, or a dialogue with its voices."""

    text: str | None
    voices: list[str]
    dialogue: Path | None

    def parts(self, cast: Cast) -> list[DialoguePart] | None:
        """Return the parts of a dialogue; None where it is none. Raises InvalidRequest."""
        if self.dialogue is None:
            return None
        if self.text is not None:
            raise InvalidRequest("give a text or --dialogue, not both")
        return read_dialogue(self.dialogue, cast)

    def cast(self) -> Cast:
        """Return who speaks. Raises InvalidRequest."""
        if self.dialogue is not None:
            return Cast.of(self.voices)
        if len(self.voices) > 1:
            raise InvalidRequest("a text has one --voice; several are for a --dialogue")
        return Cast()


async def _submit(
    client: AsyncClient, content: Msg | list[DialoguePart], id: str | None, order: dict[str, Any]
) -> AsyncJob:
    own = id if isinstance(content, list) else None
    return await client.submit(content, id=own, **order)


def _order(
    content: _Content,
    id: str | None,
    model: str | None,
    format: str,
    lane: str,
    option: list[str] | None,
    language: str,
    no_cache: bool,
    form: dict[str, Any],
) -> tuple[Msg | list[DialoguePart], dict[str, Any]]:
    """Return the message and its keywords. Raises InvalidRequest without asking a fleet."""
    cast = content.cast()
    voice = content.voices[0] if content.voices and content.dialogue is None else ""
    model, voice = options.model_and_voice(model or cast.model, voice)
    if lane not in (Lane.LIVE, Lane.BATCH):
        raise InvalidRequest(f"unknown lane {lane!r}: it is live or batch")
    given = options.provider_options(option)
    max_text = Settings.load().max_text
    parts = content.parts(cast)
    spoken = read_text(content.text, max_text) if parts is None else join_parts(parts)[0]
    order: dict[str, Any] = {
        "model": model, "voice": voice, "format": format, "lane": lane, "cache": not no_cache,
        **form,
    }  # fmt: skip
    if language:
        order["language"] = language
    options.check_no_overlap(order, given)
    Request(
        spoken, model, voice, given, format, language=language,
        form=take_spoken_form(dict(form), spoken),
    ).check(max_text)  # fmt: skip
    if id is not None:
        check_id(id)
    if parts is not None:
        return parts, {**order, **given}
    _tell_of_file(spoken)
    msg = Msg(name="", content=spoken)
    msg.id = id or msg.id
    return msg, {**order, **given}


def _tell_of_file(text: str) -> None:
    """Tell somebody who gave the name of a file that the name is spoken."""
    if names_file(text):
        output.tell(
            f"{text!r} is spoken as it stands; `speechfleet say < {shlex.quote(text)}` speaks the "
            "text in that file"
        )


async def _finish(
    job: AsyncJob, target: Target, format: str, *, as_json: bool, quiet: bool
) -> None:
    """Deliver the audio, then tell where it is."""
    try:
        with output.progress(quiet=quiet) as progress:
            speech = await deliver(job, target, format, progress)
    except (JobFailed, JobCancelled) as error:
        if not as_json:
            raise
        output.error(error.message)
        output.emit({**asdict(await job.status()), "error": error_as_json(error)})
        raise typer.Exit(status_of(error)) from None
    await report_speech(job, speech, target, as_json=as_json, quiet=quiet)


async def report_speech(
    job: AsyncJob, speech: AsyncSpeech, target: Target, *, as_json: bool, quiet: bool
) -> None:
    """Print where the audio of a job is, and its status with ``--json``."""
    url, status = await speech.url(), await job.status()
    if as_json:
        answer = {**asdict(status), "seconds": speech.duration}
        answer |= {"media_type": speech.media_type, "bytes": speech.size, "url": url}
        output.emit({**answer, "output": str(target.path) if target.path else None})
    elif not target.stdout:
        output.say(str(target.path or url))
    if not quiet:
        by = f" by {', '.join(status.spoken_by)}" if status.spoken_by else ""
        output.tell(f"{job.id}: {speech.duration:.1f} s of speech{by}, {speech.media_type}")


@contextlib.asynccontextmanager
async def _cancelled_on_interrupt(job: AsyncJob, *, mine: bool) -> AsyncIterator[None]:
    """Cancel a job of ours when this command is interrupted or its output has no reader."""
    try:
        yield
    except (asyncio.CancelledError, BrokenPipeError):
        if mine:
            with contextlib.suppress(SpeechFleetError):
                await job.cancel("interrupted at the terminal")
        raise


@contextlib.asynccontextmanager
async def _wait_warning(client: AsyncClient, job: AsyncJob) -> AsyncIterator[None]:
    """Tell the user what the job waits for: waiting in silence looks like a hang."""

    async def look() -> None:
        await asyncio.sleep(NO_WORKER_AFTER_S)
        with contextlib.suppress(SpeechFleetError):
            status = await job.status()
            if status.waiting == "no_worker":
                output.tell(_no_worker(status.model))
        await asyncio.sleep(STORE_AFTER_S)
        with contextlib.suppress(MisconfiguredError, MissingExtra):  # not needed to listen
            if trouble := await store_trouble(client.store):
                output.tell(f"it waits for the object store, until that answers: {trouble}")

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()


def _no_worker(model: str) -> str:
    provider = model.partition("/")[0]
    return (
        f"it waits: no worker of this fleet serves {provider!r} now; {start_command()} starts "
        "one, and `speechfleet doctor` says more"
    )
