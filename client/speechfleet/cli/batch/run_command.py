"""The command ``batch CORPUS``: speaks every text of a corpus, each once."""

from __future__ import annotations

import os
from contextlib import aclosing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import typer

from speechfleet.batch.batch import AsyncBatch
from speechfleet.batch.manifest import NAME
from speechfleet.captions import FORMS, CaptionForm, check_captions
from speechfleet.cli import options, output
from speechfleet.cli.batch import arguments, corpus_options
from speechfleet.cli.batch.detached import check_detach, send
from speechfleet.cli.batch.group import RUN, group
from speechfleet.cli.batch.plan import estimate, print_plan
from speechfleet.cli.batch.precheck import LINES, Precheck
from speechfleet.cli.batch.progress import BatchProgress, speech_time
from speechfleet.cli.connect import check_served, on_fleet
from speechfleet.cli.exit_status import ExitStatus
from speechfleet.cli.targets import check_format
from speechfleet.client import AsyncClient
from speechfleet.corpus.corpus import Examined, open_corpus
from speechfleet.errors import InvalidRequest, SpeechFleetError
from speechfleet.provider_options import options_of
from speechfleet.request import Request
from speechfleet.settings import Settings


@dataclass(frozen=True)
class Reporting:
    """The form in which the end of a run is reported."""

    as_json: bool
    quiet: bool


@group.command(
    RUN,
    epilog="Batches that exist: `batch status | cancel | results | retry-failed | delete ID`, "
    "and `batches`, which lists them.",
)
def run(
    corpus: corpus_options.CorpusNames,
    out: arguments.Out = None,
    model: options.Model = None,
    voice: options.Voice = "",
    format: options.Format = None,
    option: options.Options = None,
    language: options.Language = "",
    speakable: options.Speakable = None,
    lexicon: options.LexiconFile = None,
    loudness: options.Loudness = None,
    speed: options.Speed = None,
    fallback: options.Fallback = None,
    id: arguments.Id = None,
    input_format: corpus_options.InputFormat = None,
    text_column: corpus_options.TextColumn = "",
    id_column: corpus_options.IdColumn = "",
    voice_column: corpus_options.VoiceColumn = "",
    delimiter: corpus_options.Delimiter = "",
    ids: corpus_options.Ids = None,
    skip_bad: arguments.SkipBad = False,
    remote: arguments.Remote = False,
    captions: arguments.Captions = None,
    words: arguments.Words = False,
    window: arguments.Window = None,
    max_chars: arguments.MaxChars = None,
    max_cost: arguments.MaxCost = None,
    detach: arguments.Detach = False,
    dry_run: arguments.DryRun = False,
    no_cache: options.NoCache = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Speak every text of a corpus, each once.

    After any interruption the same command resumes: items that stand in the manifest are not
    spoken again, and lines that were added or changed are spoken then. Without a fleet it
    brings one up on this machine, with a worker for each core.
    """
    settings = Settings.load()
    form = options.spoken_form(speakable, lexicon, loudness, speed, fallback)
    order = {**_order(model, voice, format, option, language, no_cache), **form}
    reading = corpus_options.read_options(text_column, id_column, voice_column, delimiter, ids)
    caption_form = _form(captions, words=words)
    option_names = partial(options_of, settings=settings)
    if not dry_run:
        check_detach(settings, out, detach=detach)
    with open_corpus(corpus, input_format, reading, option_names) as opened:
        files = not remote or captions is not None
        check = Precheck(order, settings, passes_over=opened.format == LINES)
        limit = settings.max_text
        examined = opened.examine(order, limit, files=files, observe=check.observe)
        corpus_options.report(examined, opened, skip_bad=skip_bad)
        examined.items -= check.finish(opened.source.name, skip_bad=skip_bad)
        if dry_run:
            plan = estimate(opened, check, out, files=files)
            output.emit(plan.as_json()) if as_json else print_plan(plan)
            return

        async def work(client: AsyncClient) -> None:
            for each in sorted(examined.models):
                await client.check_provider(Request("", each))
                await check_served(client, each)
            batch = AsyncBatch(
                client.context,
                check.good(opened.items(order, settings.max_text, files=files)),
                order,
                id=id,
                out=out,
                remote=remote,
                captions=caption_form,
                words=words,
                window=window,
                max_chars=max_chars,
                max_cost=max_cost,
                openai=opened.format == "openai",
                about={"corpus": opened.source.name, "total": str(examined.items)},
            )
            if detach or out is None:
                await send(batch, examined, as_json=as_json, quiet=quiet)
            else:
                await _follow(batch, examined, out, Reporting(as_json, quiet))

        on_fleet(work, start=True, workers=os.cpu_count() or 1, quiet=quiet)


def _order(
    model: str | None,
    voice: str,
    format: str | None,
    option: list[str] | None,
    language: str,
    no_cache: bool,
) -> dict[str, Any]:
    """Return what each item of the corpus asks for, unless it says otherwise."""
    model, voice = options.model_and_voice(model, voice)
    given = options.provider_options(option)
    order: dict[str, Any] = {
        "model": model, "voice": voice, "format": check_format(format or "wav"),
    }  # fmt: skip
    if language:
        order["language"] = language
    if no_cache:
        order["cache"] = False
    options.check_no_overlap(order, given)
    return {**order, **given}


def _form(captions: str | None, *, words: bool) -> CaptionForm | None:
    if captions is not None:
        return check_captions(captions)[0]
    if words:
        raise InvalidRequest(f"--words is about --captions: say which ({', '.join(FORMS)})")
    return None


async def _follow(batch: AsyncBatch, examined: Examined, out: Path, reporting: Reporting) -> None:
    """Speak the batch, show its progress, and tell how it ended."""
    try:
        with BatchProgress(batch, examined, quiet=reporting.quiet) as progress:
            async with aclosing(batch.results()) as entries:
                async for entry in entries:
                    progress.advance(entry)
    except BaseException as error:  # Ctrl-C comes as CancelledError
        if batch.summary.id:  # else nothing was begun
            prefix = "" if isinstance(error, SpeechFleetError) else "interrupted; "
            output.tell(f"{prefix}{_how_to_resume(batch)}")
        raise
    summary = batch.summary
    if reporting.as_json:
        output.emit({**asdict(summary), "items": examined.items, "bad": examined.bad_count,
                     "out": str(out), "manifest": str(out / NAME)})  # fmt: skip
    else:
        output.say(str(out / NAME))
    if not reporting.quiet:
        output.tell(_summed(batch, examined))
    if summary.failed:
        output.tell(f"{summary.failed:,} failed: see {out / 'errors.jsonl'}, which is a corpus")
    if summary.failed or summary.cut_short:
        raise typer.Exit(ExitStatus.FAILED)


def _how_to_resume(batch: AsyncBatch) -> str:
    return (
        "the same command resumes it. Items that are queued already will still be spoken by a "
        f"fleet that keeps running; `speechfleet batch cancel {batch.id}` stops them"
    )


def _summed(batch: AsyncBatch, examined: Examined) -> str:
    sums = batch.summary
    parts = [
        f"{sums.succeeded:,} spoken",
        f"{sums.cached:,} of them without a call" if sums.cached else "",
        f"{sums.skipped:,} done before" if sums.skipped else "",
        f"{sums.failed:,} failed" if sums.failed else "",
        f"{sums.suspect:,} may lack text (`suspect` in the manifest)" if sums.suspect else "",
        f"{speech_time(sums.seconds)} of speech in {sums.took:.1f} s",
        f"{sums.spent.characters:,.0f} characters billed",
        *(f"{output.count(items, 'item')} by {name}" for name, items in sums.spoken_by.items()),
    ]
    line = ", ".join(part for part in parts if part)
    left = examined.items - sums.succeeded - sums.skipped - sums.failed
    return f"{line}; stopped before the limit, {left:,} are left" if sums.cut_short else line
