"""Batches that the fleet feeds by itself: ``batch CORPUS --detach``."""

from __future__ import annotations

from pathlib import Path

from speechfleet.batch.batch import AsyncBatch
from speechfleet.batch.detached import delete
from speechfleet.cli import output
from speechfleet.client import AsyncClient
from speechfleet.corpus.corpus import Examined
from speechfleet.errors import InvalidRequest
from speechfleet.settings import Settings


def check_detach(settings: Settings, out: Path | None, *, detach: bool) -> None:
    """Raise InvalidRequest where the options contradict each other."""
    if not detach and out is None:
        raise InvalidRequest("--out DIR says where the audio and manifest.jsonl go")
    if detach and settings.redis_url is None:
        raise InvalidRequest(
            "--detach leaves the corpus to a fleet that goes on without this command: start one "
            'with `speechfleet up`, then `eval "$(speechfleet env)"`, or set SPEECHFLEET_REDIS_URL'
        )


async def send(batch: AsyncBatch, examined: Examined, *, as_json: bool, quiet: bool) -> None:
    """Upload the corpus and tell how to follow the batch."""
    id = await batch.detach()
    if as_json:
        output.emit({"id": id, "items": examined.items, "bad": examined.bad_count})
        return
    output.say(id)
    if not quiet:
        output.tell(
            f"the fleet speaks {output.count(examined.items, 'item')}: `speechfleet batch status "
            f"{id} --watch` shows how far it is, and `speechfleet batch results {id} --out DIR` "
            "fetches the audio"
        )


async def erase(client: AsyncClient, id: str, *, as_json: bool) -> None:
    """Delete a batch that does not run."""
    await delete(client.context, id)
    output.emit({"id": id, "deleted": True}) if as_json else output.say(f"{id}: deleted")
