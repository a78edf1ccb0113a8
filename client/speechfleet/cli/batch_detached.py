"""``batch CORPUS --detach``, and ``batch results ID --out DIR``: what the fleet itself feeds."""

from __future__ import annotations

from pathlib import Path

from speechfleet.cli import output
from speechfleet.client import AsyncClient
from speechfleet.corpus.batch import AsyncBatch
from speechfleet.corpus.fleet_fed import delete
from speechfleet.corpus.source import Examined
from speechfleet.errors import InvalidRequest
from speechfleet.settings import Settings


def check_detach(settings: Settings, out: Path | None, *, detach: bool, captions: bool) -> None:
    """Raises InvalidRequest where the options do not go together."""
    if not detach and out is None:
        raise InvalidRequest("--out DIR says where the audio and manifest.jsonl go")
    if detach and settings.redis_url is None:
        raise InvalidRequest(
            "--detach leaves the corpus to a fleet that goes on without this command: set "
            "SPEECHFLEET_REDIS_URL (`speechfleet up` starts one)"
        )
    if detach and captions:
        raise InvalidRequest("--captions are written by a command that stays: not with --detach")


async def send(batch: AsyncBatch, examined: Examined, *, as_json: bool, quiet: bool) -> None:
    """Upload the corpus, and say how to follow it."""
    id = await batch.detach()
    if as_json:
        output.emit({"id": id, "items": examined.items, "bad": len(examined.bad)})
        return
    output.say(id)
    if not quiet:
        output.tell(
            f"{examined.items:,} items are the fleet's now: `speechfleet batch status {id}` says "
            f"how far it is, `speechfleet batch results {id} --out DIR` fetches what is spoken"
        )


async def erase(client: AsyncClient, id: str, *, as_json: bool) -> None:
    await delete(client, id)
    output.emit({"id": id, "deleted": True}) if as_json else output.say(f"{id}: deleted")
