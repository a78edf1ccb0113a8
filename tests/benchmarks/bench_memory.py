"""What a finished stream weighs in Valkey, against the PCM that it carries.

.venv/bin/python -m tests.benchmarks.bench_memory
"""

from __future__ import annotations

import sys

from speechfleet import AsyncClient, Msg
from speechfleet.embedded import EmbeddedFleet
from tests.benchmarks.floors import Floors, main, stream_keys

TIMES = 1.05
TEXT = "Whereas recognition of the inherent dignity is the foundation of freedom. "


async def measure() -> Floors:
    floors = Floors()
    with EmbeddedFleet() as fleet:
        async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
            for name, count in (("4 s", 1), ("a minute", 14), ("ten minutes", 140)):
                text = "".join(f"{number} {TEXT}" for number in range(count))
                job = await client.submit(Msg("bench", text), model="espeak/espeak-ng")
                await job.result(timeout=120)
                pcm = (await job.record()).audio
                redis = client.ledger.connection.redis
                sizes = [
                    int(await redis.memory_usage(key, samples=0) or 0)
                    for key in await stream_keys(redis)
                ]
                await redis.delete(*await stream_keys(redis))
                row = f"Valkey / PCM, a stream of {name}"
                if count > 1:
                    floors.at_most(row, sum(sizes) / pcm, TIMES, "x")
                else:  # what every stream costs, some 5 kB, is most of it
                    floors.tell(row, sum(sizes) / pcm, "x")
    return floors


if __name__ == "__main__":
    sys.exit(main(measure()))
