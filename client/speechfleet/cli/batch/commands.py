"""The commands on batches that exist: ``batches`` and ``batch status | cancel | ... ID``."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import asdict

from speechfleet.cli import options, output
from speechfleet.cli.batch import arguments
from speechfleet.cli.batch.detached import erase
from speechfleet.cli.batch.group import group
from speechfleet.cli.batch.results import fetch, say
from speechfleet.cli.batch.watching import watch_batch
from speechfleet.cli.connect import on_fleet
from speechfleet.client import AsyncClient
from speechfleet.ledger import BatchStatus


def batches(as_json: options.AsJson = False) -> None:
    """List the batches of this namespace, newest first."""

    async def work(client: AsyncClient) -> None:
        found = await client.ledger.batches.list(client.namespace)
        if as_json:
            output.emit({"batches": [asdict(each) for each in found]})
            return
        output.table(
            ("id", "state", "corpus", "total", "done", "failed", "under way", "since (UTC)"),
            [
                (each.id, each.state, each.about.get("corpus", ""),
                 "" if each.total is None else each.total,
                 min(each.succeeded, each.done), each.failed,
                 each.outstanding, output.moment(each.created))
                for each in found
            ],
            rare=("since (UTC)", "corpus", "under way"),
            nothing="this namespace has no batches",
        )  # fmt: skip

    on_fleet(work)


@group.command()
def status(
    id: arguments.BatchId, watch: arguments.Watch = False, as_json: options.AsJson = False
) -> None:
    """Show what the fleet has counted of a batch, over all its runs."""

    async def work(client: AsyncClient) -> None:
        if watch:
            await watch_batch(client.batch(id=id), quiet=as_json)
        now, fed_by = await client.batch(id=id).status(), await client.batch(id=id).fed_by()
        if as_json:
            output.emit({**asdict(now), "fed_by": fed_by})
        else:
            _print_status(now, fed_by)

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
    id: arguments.BatchId,
    reason: arguments.Reason = "cancelled at the terminal",
    as_json: options.AsJson = False,
) -> None:
    """Stop a batch: the items that wait and those that run."""

    async def work(client: AsyncClient) -> None:
        count = await client.batch(id=id).cancel(reason)
        if as_json:
            output.emit({"id": id, "cancelled": count})
        else:
            output.say(f"{id}: {output.count(count, 'item')} cancelled")

    on_fleet(work)


@group.command()
def delete(
    id: arguments.BatchId, yes: options.Yes = False, as_json: options.AsJson = False
) -> None:
    """Erase a batch that has ended; of a detached one corpus, manifest and audio, too.

    A running batch cannot be deleted.
    """
    output.confirm(f"Erase the batch {id!r} and what it has stored?", yes=yes)
    on_fleet(lambda client: erase(client, id, as_json=as_json))


@group.command("retry-failed")
def retry_failed(id: arguments.BatchId, as_json: options.AsJson = False) -> None:
    """Speak the items that failed again; the batch's own command reads how they end."""

    async def work(client: AsyncClient) -> None:
        batch = client.batch(id=id)
        await batch.status()
        count = await batch.retry_failed()
        if as_json:
            output.emit({"id": id, "retried": count})
        else:
            output.say(f"{id}: {output.count(count, 'item')} queued again")

    on_fleet(work)


@group.command()
def results(
    id: arguments.BatchId,
    failed: arguments.OnlyFailed = False,
    out: arguments.FetchInto = None,
) -> None:
    """Print the result of each item as a line of JSON: of the manifest, and newer ones.

    With --out the audio and the manifest of a detached batch are fetched into DIR instead; the
    same command again fetches what ended in the meantime.
    """

    async def work(client: AsyncClient) -> None:
        if out is not None:
            await fetch(client, id, out)
            return
        async with aclosing(client.batch(id=id).entries()) as entries:
            async for entry in entries:
                say(entry, failed=failed)

    on_fleet(work)
