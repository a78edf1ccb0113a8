"""The gateway: five hundred listeners on one event loop, and the first byte of a request.

    .venv/bin/python -m tests.benchmarks.bench_gateway

Latency of listeners is from just before XADD in a publishing process of its own (the clock is
the host's) to the listener's socket; each hears speech as fast as it is spoken. The first byte
is compared with the first chunk at an AsyncClient that follows the same job.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from speechfleet import AsyncClient, Msg
from speechfleet.embedded import EmbeddedFleet
from speechfleet.embedded.gateway_process import GatewayProcess
from speechfleet.ledger.keys import JobKeys
from speechfleet.provider_options import BUILT_IN_PROVIDERS
from tests.benchmarks.floors import ROOT, Floors, main, percentiles, resident

LISTENERS = 500
RATE = 24_000
ENTRY = 19_200
"""Bytes: 0.4 s of speech."""
ENTRIES = 12
P99, MEMORY, LATER = 25.0, 300.0, 15.0
REQUESTS = 150
PUBLISHER = """
import sys, time, redis
url, keys, entries, size = sys.argv[1], sys.argv[5:], int(sys.argv[2]), int(sys.argv[3])
client, pad, every = redis.Redis.from_url(url), bytes(size - 8), float(sys.argv[4]) / len(keys)
for key in keys:
    client.xadd(key, {"kind": "started", "attempt": 1, "worker": "", "model": "", "voice": "",
                      "media_type": "audio/pcm;rate=24000", "sample_rate": 24000, "channels": 1})
begin = time.perf_counter()
for number in range(entries * len(keys)):
    while time.perf_counter() < begin + number * every:
        time.sleep(0.0002)
    at = number // len(keys) * size
    data = time.time_ns().to_bytes(8, "little") + pad
    client.xadd(keys[number % len(keys)],
                {"kind": "audio", "offset": at, "total": at + size, "data": data})
for key in keys:
    client.xadd(key, {"kind": "finished", "bytes": entries * size, "duration_ms": 0,
                      "object": "", "media_type": ""})
"""


class Listener(asyncio.Protocol):
    """Takes the chunks of one answer, as the network brings them."""

    def __init__(self, request: bytes, latencies: list[float]) -> None:
        self._request = request
        self._latencies = latencies
        self._data = bytearray()
        self._in_body = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._in_body:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            assert head.startswith(b"HTTP/1.1 200"), head
            self._data, self._in_body = rest, True
        while self._take():
            pass

    def _take(self) -> bool:
        """One chunk of the transfer encoding, if it is all there."""
        line = self._data.find(b"\r\n")
        if line < 0:
            return False
        size = int(self._data[:line], 16)
        if len(self._data) < line + size + 4:
            return False
        if size == 0 and not self.ended.done():
            self.ended.set_result(None)
        if size == ENTRY:
            sent = int.from_bytes(self._data[line + 2 : line + 10], "little")
            self._latencies.append((time.time_ns() - sent) / 1e6)
        del self._data[: line + size + 4]
        return size > 0

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionError("cut off"))


async def listen(host: str, port: int, id: str, latencies: list[float]) -> asyncio.Future[None]:
    """Done when the answer has ended."""
    head = f"GET /jobs/{id}/audio?format=pcm HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n"
    loop = asyncio.get_running_loop()
    made = Listener(head.encode(), latencies)
    await loop.create_connection(lambda: made, host, port)
    return made.ended


async def listeners(fleet: EmbeddedFleet, gateway: GatewayProcess, floors: Floors) -> None:
    ids = [f"heard-{number}" for number in range(LISTENERS)]
    latencies: list[float] = []
    async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
        for id in ids:  # nobody serves them: the publisher stands in for workers
            await client.submit(Msg("", "Text.", id=id), model=f"{BUILT_IN_PROVIDERS[0]}/none")
    address = urlsplit(gateway.url)
    waiting = [
        await listen(address.hostname or "", address.port or 0, id, latencies) for id in ids
    ]
    await asyncio.sleep(1)  # all of them wait before the first entry comes
    keys = [JobKeys("default", id).stream(1) for id in ids]
    arguments = [fleet.redis_url, str(ENTRIES), str(ENTRY), str(ENTRY / 2 / RATE), *keys]
    publisher = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PUBLISHER, *arguments, stdout=subprocess.DEVNULL
    )
    largest = 0
    while not all(one.done() for one in waiting):
        largest = max(largest, resident(gateway.pid))
        await asyncio.sleep(0.2)
    await asyncio.gather(*waiting)
    await publisher.wait()
    assert len(latencies) == LISTENERS * ENTRIES
    p50, p99 = percentiles(latencies)
    floors.tell(f"{LISTENERS} listeners in real time, added latency p50", p50, "ms")
    floors.at_most(f"{LISTENERS} listeners in real time, added latency p99", p99, P99, "ms")
    floors.at_most("memory of the gateway", largest / 1e6, MEMORY, "MB")


async def first_byte(client: AsyncClient, gateway: GatewayProcess, id: str, format: str) -> float:
    """Milliseconds by which it comes later than the first chunk at an AsyncClient."""
    address = urlsplit(gateway.url)
    body = {
        "model": "bench/instant",
        "input": f"Text {id}.",
        "voice": "",
        "response_format": format,
    }
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/audio/speech HTTP/1.1\r\nhost: {address.netloc}\r\nidempotency-key: {id}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    async with client.ledger.streams.subscribe(JobKeys("default", id).stream(1)) as subscription:

        async def chunk() -> float:
            kinds: list[str] = []
            while "audio" not in kinds:
                kinds += [entry.kind for _, entry in await subscription.next(10) if entry]
            return time.perf_counter()

        coming = asyncio.create_task(chunk())
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        await asyncio.sleep(0.02)
        writer.write(head.encode() + data)
        await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"\r\n")
        await reader.read(1)
        first = time.perf_counter()
        writer.close()
        return 1000 * (first - await coming)


async def first_bytes(fleet: EmbeddedFleet, gateway: GatewayProcess, floors: Floors) -> None:
    async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
        for format in ("wav", "mp3"):
            later = [
                await first_byte(client, gateway, f"{format}-{number}", format)
                for number in range(REQUESTS)
            ][10:]
            p50, p99 = percentiles(later)
            floors.tell(f"first byte of {format} after the first chunk, p50", p50, "ms")
            floors.at_most(f"first byte of {format} after the first chunk, p99", p99, LATER, "ms")


async def measure() -> Floors:
    floors = Floors()
    environ = {
        "PYTHONPATH": ROOT,
        "SPEECHFLEET_PROVIDERS": "bench=tests.benchmarks.bench_latency:Instant",
        "SPEECHFLEET_GATEWAY_STREAMS": "1000",
    }
    with tempfile.TemporaryDirectory() as folder, EmbeddedFleet(environ=environ) as fleet:
        log = Path(folder) / "gateway.log"
        gateway = GatewayProcess(0, environ={**os.environ, **fleet.environ}, log=log, grace=3.0)
        try:
            await first_bytes(fleet, gateway, floors)
            await listeners(fleet, gateway, floors)
        finally:
            gateway.stop()
    return floors


if __name__ == "__main__":
    sys.exit(main(measure()))
