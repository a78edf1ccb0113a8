"""What must be true once the load has ended and the fleet is at rest."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import wave
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import redis.asyncio

from speechfleet import AsyncClient, State
from speechfleet.errors import JobNotFound, StoreError
from speechfleet.ledger import keys
from speechfleet.store import layout
from tests.soak.load import CHUNKS, Load, Plan
from tests.soak.stage import NAMESPACES, FailingOver, SoakStage
from tests.support.stage import spoken

log = logging.getLogger(__name__)

REST_WITHIN_S = 120.0
MAX_DESCRIPTORS = 200
MAX_THREADS = 60
OF_JOBS = {
    "job", "stream", "segments", "begun", "leftovers", "deleted", "counted", "recorded", "uses",
    "speaking", "awaited",
}  # fmt: skip
"""Kinds of keys that belong to jobs: when these have ended, all of them expire."""
TERMINAL = {b"finished", b"failed", b"cancelled"}


async def violations(load: Load) -> list[str]:
    """Return every invariant that does not hold, a line each."""
    stage = load.stage
    found = list(load.violations)
    async with clients(stage) as fleet:
        found += await unfinished(fleet)
        for plan in load.plans.values():
            found += await of_job(stage, fleet[plan.namespace], plan)
        found += await of_store(load, fleet)
        found += await of_calls(load, fleet)
    found += await of_keys(stage)
    found += of_processes(stage)
    return found


@asynccontextmanager
async def clients(stage: SoakStage) -> AsyncIterator[dict[str, AsyncClient]]:
    opened = {name: stage.direct(name) for name in (*NAMESPACES, "default")}
    try:
        for client in opened.values():
            await client.__aenter__()
        yield opened
    finally:
        for client in opened.values():
            await client.close()


async def unfinished(fleet: dict[str, AsyncClient]) -> list[str]:
    """Wait until nothing runs or waits any more; name what does not end."""
    for second in range(int(REST_WITHIN_S)):
        left = [
            f"{name}/{status.id}: {status.state} for ever ({status.waiting or status.worker})"
            for name, client in fleet.items()
            for status in await client.jobs([State.QUEUED, State.RUNNING])
        ]
        if not left:
            return []
        if second % 10 == 0:
            log.info("%d jobs have not ended: %s", len(left), ", ".join(left[:5]))
        await asyncio.sleep(1.0)
    return left


async def of_job(stage: SoakStage, client: AsyncClient, plan: Plan) -> list[str]:
    """The record, the stream and the object of a job agree with its text."""
    name = f"{plan.namespace}/{plan.id}"
    try:
        record = await client.job(plan.id).record()
    except JobNotFound:
        return [] if plan.deleted or plan.id.startswith("http-") else [f"{name}: lost"]
    if plan.deleted:
        return [f"{name}: deleted, and there again"] if record.state is State.SUCCEEDED else []
    if record.state not in plan.ends:
        return [f"{name}: {record.state}, {record.fields.get('message', '')}"]
    found = []
    job = keys.JobKeys(plan.namespace, plan.id)
    async with stage.server() as server:
        entries: list[tuple[bytes, dict[bytes, bytes]]] = cast(
            "Any", await server.xrange(job.stream(record.epoch))
        )
    ends = [fields for _, fields in entries if fields[b"kind"] in TERMINAL]
    if entries and len(ends) != 1:
        found.append(f"{name}: {len(ends)} terminal entries")
    if record.state is State.SUCCEEDED:
        try:
            stored = await client.store.get(record.object)
        except StoreError as error:
            return [*found, f"{name}: {error}"]
        text = " ".join(plan.lines)
        segments = await client.job(plan.id).segments()
        said = [text[each.text_start : each.text_end].strip() for each in segments]
        # A session says what is there when its text pauses, so its segments may be pieces.
        whole = said if "session" in plan.id else plan.lines
        if _pcm(stored, record.request.format) != spoken(whole, CHUNKS):
            found.append(f"{name}: its object is not the audio of {said}")
        if "".join(said).replace(" ", "") != text.replace(" ", ""):
            found.append(f"{name}: its segments {said} are not its text")
        # A failover may forget that a session was spoken: the next worker cuts its text anew,
        # and who heard it before heard other pieces.
        if not isinstance(stage, FailingOver):
            audio = _pcm(stored, record.request.format)
            found += [
                f"{name}: {len(heard)} bytes were heard, and not the {len(audio)} of its object"
                for heard in plan.heard
                if heard != audio
            ]
    return found


def _pcm(stored: bytes, format: str) -> bytes:
    if format == "pcm":
        return stored
    with wave.open(io.BytesIO(stored)) as wav:
        return bytes(wav.readframes(wav.getnframes()))


async def of_store(load: Load, fleet: dict[str, AsyncClient]) -> list[str]:
    """Every audio object is named by a record; nothing of a deleted job is left.

    But a failover may forget that a job was spoken: it is spoken again, and the first object
    stays until the job is deleted.
    """
    named, kept = set(), []
    for (namespace, id), plan in load.plans.items():
        if not plan.deleted:
            kept.append(layout.objects_of(namespace, id))
            try:
                audio = (await fleet[namespace].job(id).record()).object
                named |= {audio, layout.timeline_object(audio)}
            except JobNotFound:
                continue
    forgiven = tuple(kept) if isinstance(load.stage, FailingOver) else ()
    store = fleet["default"].store
    return [
        f"{key}: an object that no record names"
        for key in await store.list("audio/")
        if "/batch-" not in key and key not in named and not key.startswith(forgiven)
    ]


async def of_calls(load: Load, fleet: dict[str, AsyncClient]) -> list[str]:
    """The bill counts no call that was not made; finished texts are not asked for again."""
    stage = load.stage
    asked = await stage.ledger.asked()
    ended = stage.ledger.calls("end")
    billed = Counter[str]()
    for client in fleet.values():
        for usage in (await client.usage()).values():
            billed.update({name: int(value) for name, value in usage.items()})
    found = []
    if billed["calls"] > asked.total():
        found.append(f"{billed['calls']} calls billed, {asked.total()} made")
    load.counts.update(
        {
            "calls made": asked.total(),
            "calls billed": billed["calls"],
            "calls repeated": (ended - Counter(dict.fromkeys(ended, 1))).total(),
        }
    )
    return found


async def of_keys(stage: SoakStage) -> list[str]:
    """Nothing is left in Redis that belongs to work."""
    found = []
    async with stage.server() as server:
        streamed = 0
        async for key in server.scan_iter(f"{keys.PREFIX}:*", count=1000):
            kind = key.decode().removeprefix(f"{keys.PREFIX}:").partition(":")[0]
            if kind in ("running", "pending", "nudged") and await _size(server, key):
                found.append(f"{key.decode()}: left behind")
            if kind in OF_JOBS and await server.ttl(key) == -1:
                found.append(f"{key.decode()}: it never expires")
            if kind == "stream":
                streamed += await _published(server, key)
        counted = int(await server.get(keys.BYTES) or 0)
        if counted != streamed:
            found.append(f"{counted} bytes counted in streams, {streamed} are there")
    return found


async def _size(server: redis.asyncio.Redis, key: bytes) -> int:
    kind = await server.type(key)
    return int(await (server.zcard(key) if kind == b"zset" else server.scard(key)))


async def _published(server: redis.asyncio.Redis, key: bytes) -> int:
    entries: list[tuple[bytes, dict[bytes, bytes]]] = cast("Any", await server.xrange(key))
    return sum(len(fields.get(b"data", b"")) for _, fields in entries)


def of_processes(stage: SoakStage) -> list[str]:
    """No process has gathered descriptors or threads."""
    found = []
    pids = {f"worker {worker.boot_id}": worker.pid for worker in stage.workers}
    for name, pid in {**pids, "gateway": stage.gateway.pid, "the soak": os.getpid()}.items():
        descriptors = _entries(pid, "fd")
        threads = _entries(pid, "task")
        if descriptors > MAX_DESCRIPTORS or threads > MAX_THREADS:
            found.append(f"{name}: {descriptors} descriptors, {threads} threads")
    return found


def _entries(pid: int, folder: str) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/{folder}").iterdir())
