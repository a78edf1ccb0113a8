"""The life of a record over fakeredis: a job in one process, without a server to start.

All that a real server does beside the scripts (memory, clocks, connections) is tested with one,
in tests/integration.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fakeredis import TcpFakeServer

from speechfleet import AsyncClient
from speechfleet.chunks import Finished, Started
from speechfleet.errors import MisconfiguredError
from speechfleet.ledger import Connection, Jobs, Lease, LeaseLost
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.lease import RecordedSegment
from speechfleet.lifecycle import State
from speechfleet.record import StoredSegment
from speechfleet.request import Request
from speechfleet.settings import Settings

NAMESPACE, ID, ACCOUNT = "default", "msg-1", "default:espeak"
TEXT = "Hello."
AUDIO = bytes(96)
STARTED = Started(
    attempt=1, worker="boot", model="espeak/espeak-ng", voice="en", sample_rate=24_000,
    media_type="audio/pcm;rate=24000",
)  # fmt: skip
SEGMENT = RecordedSegment(
    StoredSegment(0, 0, len(AUDIO), 0, len(TEXT), "hash"), 24_000, 1 << 20, ACCOUNT, {"calls": 1}
)
END = Finished(len(AUDIO), 2, "audio/x.wav", "audio/wav", "{}")


@pytest.fixture
def url() -> Iterator[str]:
    server = TcpFakeServer(("127.0.0.1", 0), server_type="valkey")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"redis://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
async def connection(url: str) -> AsyncIterator[Connection]:
    connection = Connection(Settings(redis_url=url))
    yield connection
    await connection.close()


async def claimed(connection: Connection) -> Lease:
    lease = Lease(connection.scripts, JobKeys(NAMESPACE, ID), "boot:1", "boot")
    assert (await lease.claim()).outcome == "granted"
    return lease


async def test_a_job_is_submitted_claimed_published_and_finished(connection: Connection) -> None:
    jobs, request = Jobs(connection), Request(TEXT, "espeak/espeak-ng")
    assert (await jobs.submit(NAMESPACE, ID, request)).new
    assert not (await jobs.submit(NAMESPACE, ID, request)).new
    lease = await claimed(connection)
    # Each reply is lost once, and the command is sent again.
    for _ in range(2):
        assert await lease.publish(0, AUDIO, started=STARTED, limit=1 << 30) == len(AUDIO)
    for _ in range(2):
        assert await lease.segment(SEGMENT)
    for _ in range(2):
        assert await lease.finish(END, size=140, rate=24_000)
    found = await jobs.load(NAMESPACE, ID)
    assert (found.state, found.object, found.sums["calls"]) == (State.SUCCEEDED, END.object, 1)
    # Started, audio, segment, finished: each once.
    assert await connection.scripts.call("XLEN", f"{lease.job.streams}1") == 4


async def test_a_cancelled_job_is_no_longer_its_workers(connection: Connection) -> None:
    jobs = Jobs(connection)
    await jobs.submit(NAMESPACE, ID, Request(TEXT, "espeak/espeak-ng"))
    lease = await claimed(connection)
    await jobs.cancel(NAMESPACE, ID, "not wanted")
    with pytest.raises(LeaseLost):
        await lease.publish(0, AUDIO, started=STARTED, limit=1 << 30)
    assert (await jobs.load(NAMESPACE, ID)).state is State.CANCELLED


async def test_two_workers_cannot_have_one_job(connection: Connection) -> None:
    await Jobs(connection).submit(NAMESPACE, ID, Request(TEXT, "espeak/espeak-ng"))
    leases = [
        Lease(connection.scripts, JobKeys(NAMESPACE, ID), f"{boot}:1", boot)
        for boot in ("one", "other")
    ]
    claims = await asyncio.gather(*(lease.claim() for lease in leases))
    assert sorted(claim.outcome for claim in claims) == ["granted", "refused"]


async def test_a_server_without_info_is_refused_by_name(url: str, tmp_path: Path) -> None:
    """Some proxies and imitations of Redis lack it, and fakeredis does."""
    with pytest.raises(MisconfiguredError, match=r"127\.0\.0\.1:\d+ does not know .* INFO"):
        async with AsyncClient(redis_url=url, store=tmp_path.as_uri()) as client:
            await client.counts()
