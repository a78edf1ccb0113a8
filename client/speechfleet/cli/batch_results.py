"""``batch results ID``: what is written of a batch, here or in the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from speechfleet.cli import output
from speechfleet.client import AsyncClient
from speechfleet.corpus.fleet_fed import fetch_results
from speechfleet.corpus.manifest import NAME, as_corpus
from speechfleet.errors import InvalidRequest
from speechfleet.jobs import State
from speechfleet.ledger import BatchStatus


async def fetch(client: AsyncClient, id: str, out: Path) -> None:
    """Audio and manifest of what has ended by now."""
    if await client.feeds.find(client.namespace, id) is None:
        raise InvalidRequest(
            f"batch {id!r} was not detached (or is forgotten by now): its own command writes its "
            "audio and manifest"
        )
    succeeded = failed = 0
    async with aclosing(fetch_results(client, id, out)) as fetched:
        async for entries in fetched:
            failures = sum("error" in entry for entry in entries)
            succeeded, failed = succeeded + len(entries) - failures, failed + failures
    output.say(str(out / NAME))
    output.tell(f"{succeeded:,} fetched, {failed:,} failed; the same command fetches the rest")


def say(entry: dict[str, Any], *, failed: bool) -> None:
    if not failed or entry["state"] == State.FAILED:
        output.say(json.dumps(as_corpus(entry) if failed else entry, ensure_ascii=False))


def written(now: BatchStatus) -> Iterator[dict[str, Any]]:
    """The manifest's entries, where it lies on this machine."""
    manifest = Path(now.about.get("out", "")) / NAME
    if not now.about.get("out") or not manifest.is_file():
        return
    with manifest.open(encoding="utf-8") as file:
        last = {entry["id"]: entry for entry in map(json.loads, _whole_lines(file))}
    yield from last.values()


def _whole_lines(file: Any) -> Iterator[str]:
    """One that is being written has no end yet."""
    return (line for line in file if line.endswith("\n"))
