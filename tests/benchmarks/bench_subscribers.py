"""A thousand subscribers on a thousand streams in one process, against one subscriber.

    .venv/bin/python -m tests.benchmarks.bench_subscribers

Latency is from just before XADD in a publishing process of its own (the clock is the host's)
to the subscriber's hands.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from speechfleet.chunks import AudioEntry, Finished
from speechfleet.embedded import EmbeddedValkey
from speechfleet.ledger import Connection, Streams
from speechfleet.settings import Settings
from tests.benchmarks.floors import Floors, main, percentiles

MANY = 1000
RATE = 500
"""Entries a second in all, in either round."""
ENTRIES = 3000
TIMES = 3.0
PUBLISHER = """
import sys, time, redis
url, streams, entries, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
client, pad = redis.Redis.from_url(url), bytes(20_000)
begin = time.perf_counter()
for number in range(entries):
    while time.perf_counter() < begin + number / rate:
        time.sleep(0.0002)
    data = time.time_ns().to_bytes(8, "little") + pad
    client.xadd(f"bench:{number % streams}", {"kind": "audio", "offset": 0, "total": len(data),
                                              "data": data})
for number in range(streams):
    client.xadd(f"bench:{number}", {"kind": "finished", "bytes": 0, "duration_ms": 0,
                                    "object": "", "media_type": ""})
"""


async def listen(hub: Streams, key: str, latencies: list[float]) -> None:
    async with hub.subscribe(key) as subscription:
        while True:
            for _, entry in await subscription.next(30):
                if isinstance(entry, AudioEntry):
                    sent = int.from_bytes(entry.data[:8], "little")
                    latencies.append((time.time_ns() - sent) / 1e6)
                if isinstance(entry, Finished):
                    return


async def latencies_of(url: str, streams: int) -> list[float]:
    connection = Connection(Settings.load(redis_url=url))
    hub, latencies = Streams(connection), list[float]()
    await connection.redis.flushall()
    try:
        listeners = [
            asyncio.create_task(listen(hub, f"bench:{number}", latencies))
            for number in range(streams)
        ]
        await asyncio.sleep(1)  # all of them wait before the first entry comes
        arguments = [url, str(streams), str(ENTRIES), str(RATE)]
        publisher = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PUBLISHER, *arguments, stdout=subprocess.DEVNULL
        )
        await asyncio.gather(*listeners)
        await publisher.wait()
    finally:
        await hub.close()
        await connection.close()
    return latencies


async def measure() -> Floors:
    floors = Floors()
    with tempfile.TemporaryDirectory() as folder, EmbeddedValkey(Path(folder)) as server:
        tails: dict[int, list[float]] = {1: [], MANY: []}
        for _ in range(3):
            for streams, found in tails.items():
                found.append(percentiles(await latencies_of(server.url, streams))[1])
    one, many = (sorted(found)[1] for found in tails.values())
    floors.tell("added latency of 1 subscriber, p99 (median of 3)", one, "ms")
    floors.tell(f"added latency of {MANY} subscribers, p99 (median of 3)", many, "ms")
    floors.at_most("p99 of many / p99 of one", many / one, TIMES, "x")
    return floors


if __name__ == "__main__":
    sys.exit(main(measure()))
