"""How much of a limit that nobody told us is used, and how many calls it has to refuse for that.

    .venv/bin/python -m tests.benchmarks.bench_rate_finder

A wire server grants so many requests a second and says nothing of it; a batch wants more. What
is used counts from the first refusal on (until then the limit is searched for), what is refused
from the very first call.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from speechfleet import AsyncClient, Msg
from speechfleet.embedded import EmbeddedFleet
from speechfleet.ledger import RateLimiter
from speechfleet_worker.testing.limit import Bucket
from speechfleet_worker.testing.openai_server import OpenAIServer
from tests.benchmarks.floors import Floors, main

RATE = 60.0
SECONDS = 28.0
SEARCHED = 5.0
"""Seconds after the first refusal from which on the use is measured."""
WORKERS = (1, 2, 4)
USED, REFUSED = 95.0, 1.0
MODEL = "openai/tts-1"


async def use(workers: int) -> tuple[Bucket, float, float]:
    """What the server granted and refused while a batch ran for a while; when that ended, and
    the rate found."""
    bucket = Bucket(RATE, burst=RATE / 4)
    server = OpenAIServer(limit=bucket, milliseconds=1, latency=0.1)
    with server.thread():
        async with (
            running(workers, server.environment()) as fleet,
            AsyncClient(redis_url=fleet.redis_url) as client,
        ):
            began = time.monotonic()
            texts = [Msg("", f"Text {n}.") for n in range(int(2 * RATE * SECONDS))]
            await client.submit_many(texts, model=MODEL, voice="alloy", lane="batch")
            await asyncio.sleep(began + SECONDS - time.monotonic())
            ended = time.monotonic()
            (budget,) = await RateLimiter(client.ledger.connection).all()
    return bucket, ended, budget.rate


@asynccontextmanager
async def running(workers: int, environ: dict[str, str]) -> AsyncGenerator[EmbeddedFleet, None]:
    """A fleet in a folder of its own, started and stopped beside the loop."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = EmbeddedFleet(Path(folder), workers=workers, slots=100, environ=environ, grace=0.0)
        await asyncio.to_thread(fleet.start)
        try:
            yield fleet
        finally:
            await asyncio.to_thread(fleet.stop)


async def measure() -> Floors:
    floors = Floors()
    for workers in WORKERS:
        bucket, ended, found = await use(workers)
        granted, refused = len(bucket.granted_at), len(bucket.refused_at)
        since = min(bucket.refused_at, default=bucket.granted_at[0]) + SEARCHED
        kept = [at for at in bucket.granted_at if since <= at < ended]
        # What the bucket may have saved before is allowed as well.
        allowed = (ended - since) * RATE + bucket.burst
        name = f"{workers} worker{'s' * (workers > 1)}"
        floors.at_least(
            f"{name}: of the allowed rate, once found", 100 * len(kept) / allowed, USED, "%"
        )
        floors.at_most(f"{name}: refused", 100 * refused / (granted + refused), REFUSED, "%")
        floors.tell(f"{name}: requests a second found", found / 60, "")
        floors.tell(f"{name}: granted", granted, "")
    return floors


if __name__ == "__main__":
    sys.exit(main(measure()))
