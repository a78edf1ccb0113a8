"""``batch CORPUS``, ``batches``, and ``batch status | cancel | retry-failed | results ID``.

What follows ``batch`` is a corpus unless it is the name of one of the others: a corpus that is
called "status" is given as ``./status``.
"""

from __future__ import annotations

import json
import os
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from speechfleet.cli import options, output
from speechfleet.cli.batch_detached import check_detach, erase, send
from speechfleet.cli.batch_progress import BatchProgress
from speechfleet.cli.batch_results import fetch, say, written
from speechfleet.cli.fleet import check_served, on_fleet
from speechfleet.cli.plan import estimate, print_plan
from speechfleet.client import AsyncClient
from speechfleet.corpus.batch import AsyncBatch
from speechfleet.corpus.captions import Form
from speechfleet.corpus.fleet_fed import parts
from speechfleet.corpus.formats import READERS
from speechfleet.corpus.manifest import NAME
from speechfleet.corpus.source import Corpus, Examined, open_corpus
from speechfleet.errors import InvalidRequest, SpeechFleetError
from speechfleet.jobs import State
from speechfleet.ledger import BatchStatus
from speechfleet.settings import Settings

FAILED = 1
BAD_LINES_TOLD = 1000
RUN = "run"
BatchId = Annotated[str, typer.Argument(metavar="ID", help="Of the batch.", show_default=False)]
CorpusName = Annotated[
    str,
    typer.Argument(
        metavar="CORPUS",
        help="JSONL, OpenAI's batch form, CSV, TSV, LJSpeech or plain text, also as .gz; "
        "- is stdin.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        help="Where the audio and manifest.jsonl go; the same DIR again goes on.",
        show_default=False,
    ),
]
InputFormat = Annotated[
    str | None,
    typer.Option("--input-format", help=f"{', '.join(READERS)}. Default: by what is in it.",
                 show_default=False),
]  # fmt: skip
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Speak the rest where lines are bad.")]
Remote = Annotated[
    bool, typer.Option("--remote", help="Leave the audio in the store; the manifest has its keys.")
]
Captions = Annotated[
    str | None, typer.Option("--captions", help="srt or vtt, a file an item.", show_default=False)
]
Window = Annotated[
    int | None,
    typer.Option("--window", min=1, help="Items in the fleet at once.", show_default=False),
]
MaxChars = Annotated[
    float | None,
    typer.Option("--max-chars", min=0, help="Stop before DIR has cost more characters.",
                 show_default=False),
]  # fmt: skip
MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost", min=0, help="Stop before DIR has cost more (SPEECHFLEET_PRICES).",
                 show_default=False),
]  # fmt: skip
Detach = Annotated[
    bool, typer.Option("--detach", help="Leave it to the fleet, which then feeds itself.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what it would take and cost; nothing is sent.")
]


class _CorpusOrCommand(TyperGroup):
    """``batch X``: the command X where there is one, else the corpus X."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [RUN, *args]
        return super().parse_args(ctx, args)


group = typer.Typer(
    name="batch", cls=_CorpusOrCommand, no_args_is_help=True, rich_markup_mode="markdown",
    help="Speak a corpus: `batch CORPUS -m MODEL -v VOICE --out DIR` (`batch run -h` says more)",
)  # fmt: skip


@group.command(RUN)
def run(
    corpus: CorpusName,
    out: Out = None,
    model: options.Model = None,
    voice: options.Voice = "",
    format: options.Format = None,
    option: options.Options = None,
    id: Annotated[
        str | None,
        typer.Option("--id", help="The batch's. Default: the folder's.", show_default=False),
    ] = None,
    input_format: InputFormat = None,
    skip_bad: SkipBad = False,
    remote: Remote = False,
    captions: Captions = None,
    window: Window = None,
    max_chars: MaxChars = None,
    max_cost: MaxCost = None,
    detach: Detach = False,
    dry_run: DryRun = False,
    no_cache: options.NoCache = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Speak every text of a corpus, each once.

    Interrupted, by whatever it was, the same command goes on: what stands in the manifest is
    not spoken again. Lines that were added or changed are spoken then. Without
    SPEECHFLEET_REDIS_URL it brings up a fleet on this machine, a worker a core.
    """
    settings = Settings.load()
    order = _order(model, voice, format, option, no_cache)
    if not dry_run:
        check_detach(settings, out, detach=detach, captions=captions is not None)
    with open_corpus(corpus, input_format) as opened:
        files = not remote or captions is not None
        examined = opened.examine(order, settings.max_text, files=files)
        _tell_bad(examined, opened, skip_bad=skip_bad)
        if dry_run:
            plan = estimate(opened, order, out, settings, files=files)
            output.emit(plan.told()) if as_json else print_plan(plan)
            return

        async def work(client: AsyncClient) -> None:
            for each in sorted(examined.models):
                await check_served(client, each)
            batch = AsyncBatch(
                client,
                opened.items(order, settings.max_text, files=files),
                order,
                id=id,
                out=out,
                remote=remote,
                captions=_form(captions),
                window=window,
                max_chars=max_chars,
                max_cost=max_cost,
                openai=opened.format == "openai",
                about={"corpus": opened.source.name, "total": str(examined.items)},
            )
            if detach or out is None:
                await send(batch, examined, as_json=as_json, quiet=quiet)
            else:
                await _follow(batch, examined, out, as_json=as_json, quiet=quiet)

        on_fleet(work, start=True, workers=os.cpu_count() or 1)


def _order(
    model: str | None, voice: str, format: str | None, option: list[str] | None, no_cache: bool
) -> dict[str, Any]:
    if model is None:
        model, voice = options.DEFAULT_MODEL, voice or options.DEFAULT_VOICE
    given = options.provider_options(option)
    order: dict[str, Any] = {"model": model, "voice": voice, "format": format or "wav"}
    if no_cache:
        order["cache"] = False
    for name in order.keys() & given.keys():
        raise InvalidRequest(f"--option {name}: use --{name}")
    return {**order, **given}


def _form(captions: str | None) -> Form | None:
    match captions:
        case None | "srt" | "vtt":
            return captions
        case _:
            raise InvalidRequest(f"--captions is srt or vtt, not {captions!r}")


def _tell_bad(examined: Examined, corpus: Corpus, *, skip_bad: bool) -> None:
    """Every bad line, before anything is spoken."""
    for bad in examined.bad[:BAD_LINES_TOLD]:
        output.tell(str(bad))
    count = len(examined.bad)
    if not count:
        return
    if not skip_bad:
        raise InvalidRequest(
            f"{count:,} bad of {count + examined.items:,} in {corpus.source.name} (read as "
            f"{corpus.format}): nothing was spoken; mend them, or --skip-bad speaks the rest"
        )
    output.tell(f"{count:,} bad lines are skipped")


async def _follow(
    batch: AsyncBatch, examined: Examined, out: Path, *, as_json: bool, quiet: bool
) -> None:
    try:
        with BatchProgress(batch, examined, quiet=quiet) as progress:
            async with aclosing(batch.results()) as entries:
                async for entry in entries:
                    progress.advance(entry)
    except BaseException as error:  # Ctrl-C comes as CancelledError
        if batch.summary.id:  # or nothing was begun
            told = "" if isinstance(error, SpeechFleetError) else "interrupted; "
            output.tell(f"{told}{_goes_on(batch)}")
        raise
    summary = batch.summary
    if as_json:
        output.emit({**asdict(summary), "items": examined.items, "bad": len(examined.bad),
                     "out": str(out), "manifest": str(out / NAME)})  # fmt: skip
    else:
        output.say(str(out / NAME))
    if not quiet:
        output.tell(_summed(batch, examined))
    if summary.failed:
        output.tell(f"{summary.failed:,} failed: see {out / 'errors.jsonl'}, which is a corpus")
    if summary.failed or summary.cut_short:
        raise typer.Exit(FAILED)


def _goes_on(batch: AsyncBatch) -> str:
    return (
        "the same command goes on where this one ended; what was sent already goes on by itself "
        f"where the fleet does (`speechfleet batch cancel {batch.id}` stops it)"
    )


def _summed(batch: AsyncBatch, examined: Examined) -> str:
    sums = batch.summary
    parts = [
        f"{sums.succeeded:,} spoken",
        f"{sums.cached:,} of them without a call" if sums.cached else "",
        f"{sums.skipped:,} done before" if sums.skipped else "",
        f"{sums.failed:,} failed" if sums.failed else "",
        f"{sums.seconds / 3600:.2f} hours of audio in {sums.took:.1f} s",
        f"{sums.spent.characters:,.0f} characters billed",
    ]
    line = ", ".join(part for part in parts if part)
    left = examined.items - sums.succeeded - sums.skipped - sums.failed
    return f"{line}; stopped before the limit, {left:,} are left" if sums.cut_short else line


# --- batches that there are -----------------------------------------------------------------


def batches(as_json: options.AsJson = False) -> None:
    """The batches of this namespace, newest first."""

    async def work(client: AsyncClient) -> None:
        found = await client.batches.list(client.namespace)
        if as_json:
            output.emit({"batches": [asdict(each) for each in found]})
            return
        output.table(
            ("id", "state", "corpus", "total", "done", "failed", "under way", "since (UTC)"),
            [
                (each.id, each.state, each.about.get("corpus", ""), each.about.get("total", ""),
                 each.succeeded, each.failed, each.outstanding, output.moment(each.created))
                for each in found
            ],
        )  # fmt: skip

    on_fleet(work)


@group.command()
def status(id: BatchId, as_json: options.AsJson = False) -> None:
    """What the fleet has counted of a batch."""

    async def work(client: AsyncClient) -> None:
        now = await client.batch(id=id).status()
        feed = await client.feeds.find(client.namespace, id)
        fed_by = "" if feed is None else feed.boot or "the fleet"
        told = {**asdict(now), "fed_by": fed_by}
        output.emit(told) if as_json else _print_status(now, fed_by)

    on_fleet(work)


def _print_status(now: BatchStatus, fed_by: str) -> None:
    usage = {name: f"{value:,g}" for name, value in now.usage.items()}
    facts = {
        "state": now.state,
        "error": f"{now.code}: {now.message}" if now.code else "",
        **now.about,
        "fed by": fed_by,
        "submitted": f"{now.submitted:,}",
        "under way": f"{now.outstanding:,}",
        "to be read": f"{now.unread:,}",
        "spoken": f"{now.succeeded:,}, {now.cached:,} of them without a call",
        "failed": f"{now.failed:,}",
        "usage": ", ".join(f"{name} {value}" for name, value in usage.items()),
    }
    output.say(now.id)
    output.table(("", ""), [(name, value) for name, value in facts.items() if value])


@group.command()
def cancel(
    id: BatchId,
    reason: Annotated[str, typer.Option("--reason", help="Kept in the records.")] = (
        "cancelled at the terminal"
    ),
    as_json: options.AsJson = False,
) -> None:
    """Stop a batch: what waits and what runs."""

    async def work(client: AsyncClient) -> None:
        count = await client.batch(id=id).cancel(reason)
        if as_json:
            output.emit({"id": id, "cancelled": count})
        else:
            output.say(f"{id}: {count:,} items cancelled")

    on_fleet(work)


@group.command()
def delete(id: BatchId, as_json: options.AsJson = False) -> None:
    """Erase a batch that does not run; of a detached one corpus, manifest and audio, too."""
    on_fleet(lambda client: erase(client, id, as_json=as_json))


@group.command("retry-failed")
def retry_failed(id: BatchId, as_json: options.AsJson = False) -> None:
    """Speak the items that failed again; the batch's own command reads how they end."""

    async def work(client: AsyncClient) -> None:
        batch = client.batch(id=id)
        await batch.status()
        count = await batch.retry_failed()
        if as_json:
            output.emit({"id": id, "retried": count})
        else:
            output.say(f"{id}: {count:,} items are spoken again")

    on_fleet(work)


@group.command()
def results(
    id: BatchId,
    failed: Annotated[bool, typer.Option("--failed", help="Only those, as a corpus.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Fetch a detached batch's audio, too.",
                     show_default=False),
    ] = None,
) -> None:  # fmt: skip
    """How each item ended, a line of JSON each: of the manifest, and what is not in it yet.

    With --out the audio and the manifest of a detached batch are fetched into DIR instead; again
    later, and what ended meanwhile is fetched too.
    """

    async def work(client: AsyncClient) -> None:
        if out is not None:
            await fetch(client, id, out)
            return
        now = await client.batch(id=id).status()
        if await client.feeds.find(client.namespace, id) is not None:
            async for entries in parts(client.feeds, client.store, client.namespace, id):
                for entry in entries:
                    say(entry, failed=failed)
        for entry in written(now):
            say(entry, failed=failed)
        after = "0"
        while found := await client.batches.results(client.namespace, id, after=after, wait=0):
            after = found[-1].entry
            for each in found:
                if not failed or each.state is State.FAILED:
                    output.say(json.dumps(asdict(each), ensure_ascii=False))

    on_fleet(work)
