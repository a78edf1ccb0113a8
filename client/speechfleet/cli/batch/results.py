"""The results of a batch: read from its manifest, or fetched from the store."""

from __future__ import annotations

import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

from speechfleet.batch.detached import fetch_results
from speechfleet.batch.manifest import NAME, as_corpus
from speechfleet.cli import output
from speechfleet.client import AsyncClient
from speechfleet.errors import InvalidRequest
from speechfleet.lifecycle import State


async def fetch(client: AsyncClient, id: str, out: Path) -> None:
    """Fetch the audio and the manifest of the items that have ended. Raises InvalidRequest."""
    if not await client.batch(id=id).fed_by():
        raise InvalidRequest(
            f"batch {id!r} was not detached (or is forgotten by now): its own command writes its "
            "audio and manifest"
        )
    succeeded = failed = 0
    async with aclosing(fetch_results(client.context, id, out)) as fetched:
        async for entries in fetched:
            failures = sum("error" in entry for entry in entries)
            succeeded, failed = succeeded + len(entries) - failures, failed + failures
    output.say(str(out / NAME))
    now = await client.batch(id=id).status()
    rest = "; the same command later fetches the rest" if now.outstanding else ""
    output.tell(f"{succeeded:,} fetched, {failed:,} failed{rest}")


def say(entry: dict[str, Any], *, failed: bool) -> None:
    """Print an entry; with ``failed`` only one that failed, as a line of a corpus."""
    if not failed or entry["state"] == State.FAILED:
        output.say(json.dumps(as_corpus(entry) if failed else entry, ensure_ascii=False))
