"""Results of a batch, read from all places where they are written down."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from speechfleet.batch.manifest import Entry, entry_of
from speechfleet.batch.output_folder import read_entries
from speechfleet.batch.remote_manifest import RemoteManifest
from speechfleet.context import Context
from speechfleet.lifecycle import State

WAITS_FOR_A_WORKER = "the fleet"
"""The feeder of a detached batch while no worker has taken it."""


async def feeder_of(context: Context, id: str) -> str:
    """Return the boot id of the worker that feeds a batch, `WAITS_FOR_A_WORKER`, or ""."""
    feed = await context.ledger.feeds.find(context.namespace, id)
    return "" if feed is None else feed.boot or WAITS_FOR_A_WORKER


async def ended_items(context: Context, id: str) -> AsyncGenerator[Entry, None]:
    """Yield the entries of a manifest, in the store or here, then what it does not have yet.

    Raises BatchNotFound.
    """
    about = (await context.ledger.batches.get(context.namespace, id)).about
    if await feeder_of(context, id):
        remote = RemoteManifest(context.ledger.feeds, context.store, context.namespace, id)
        async with aclosing(remote.entries()) as parts:
            async for part in parts:
                for entry in part:
                    yield entry
    elif out := about.get("out"):
        for entry in read_entries(Path(out)):
            yield entry
    async with aclosing(_unread(context, id)) as unread:
        async for entry in unread:
            yield entry


async def _unread(context: Context, id: str) -> AsyncGenerator[Entry, None]:
    """Yield the ends that nobody has read and written down yet."""
    ledger, namespace, after = context.ledger, context.namespace, "0"
    while results := await ledger.batches.results(namespace, id, after=after, wait=0):
        after = results[-1].entry
        for result in results:
            record = await ledger.jobs.find(namespace, result.job_id)
            if record is not None:
                place = {"object": result.object} if result.state is State.SUCCEEDED else {}
                yield entry_of(result, record.request, place)
