"""Batches that the fleet itself feeds: whoever feeds may be killed; each item is spoken once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from speechfleet.batch.detached import delete, fetch_results
from speechfleet.cli.app import run
from speechfleet.client import AsyncClient
from speechfleet.errors import BatchNotFound, InvalidRequest
from speechfleet.ledger import BatchState, BatchStatus, Feeding, keys
from speechfleet.request import Lane
from speechfleet_worker.context import WorkerContext, new_boot
from speechfleet_worker.maintenance.batch_feeders import Feeders
from speechfleet_worker.maintenance.heartbeat import HEARTBEAT_INTERVAL_S
from speechfleet_worker.slots import Slots
from tests.support import moto_server
from tests.support.corpora import corpus, manifest
from tests.support.stage import MODEL, Hold, Stage, opening, sentences, staged

T = TypeVar("T")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("detached"), workers=1) as stage:
        yield stage


async def ended(client: AsyncClient, id: str, state: BatchState = BatchState.ENDED) -> BatchStatus:
    async def look() -> BatchStatus | None:
        now = await client.ledger.batches.get(client.namespace, id)
        return now if now.state is state else None

    return await until(look)


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    """What it finds at last: of a feed, nobody is told a change."""
    async with asyncio.timeout(240):
        while (found := await look()) is None:  # noqa: ASYNC110 # it has no channel
            await asyncio.sleep(0.05)
    return found


async def held_by(client: AsyncClient, id: str) -> str:
    """The boot that feeds it, once one does."""

    async def look() -> str | None:
        feed = await client.ledger.feeds.find(client.namespace, id)
        return (feed and feed.boot) or None

    return await until(look)


def comparable(out: Path) -> dict[str, dict[str, Any]]:
    """What two manifests of the same speech have in common."""
    unlike = ("object", "attempts", "billed", "cached")
    return {
        id: {name: value for name, value in entry.items() if name not in unlike}
        for id, entry in manifest(out).items()
    }


async def test_the_feeding_worker_is_killed_and_every_item_is_spoken_once(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    stage.enter(tmp_path, monkeypatch)
    texts = sentences("the detached corpus", 60)
    hold = Hold(tmp_path, opening(59))
    path = corpus(tmp_path / "corpus.jsonl", texts, **hold.options)
    command = ["batch", str(path), "--detach", "--window", "10", "--model", MODEL, "--json"]
    assert await stage.off_loop(run, command) == 0, capsys.readouterr().err
    id = json.loads(capsys.readouterr().out)["id"]
    async with stage.client() as client:
        boot = await held_by(client, id)
        [victim] = [each for each in await client.workers() if each.boot == boot]
        await stage.off_loop(stage.fleet.start_worker)
        await stage.ledger.until("end", texts, count=15)
        [process] = [each for each in stage.fleet.workers if each.pid == victim.pid]
        process.kill()
        hold.release()
        status = await ended(client, id)
        assert (status.succeeded, status.failed, status.outstanding, status.unread) == (
            60,
            0,
            0,
            0,
        )
        assert await client.jobs() == []
        with pytest.raises(InvalidRequest, match="the fleet itself feeds"):
            await client.batch([], id=id, model=MODEL).run()
    asked = await stage.ledger.asked(texts)
    assert set(asked) == set(texts)
    assert sum(asked.values()) <= 60 + 10  # what the killed worker had in its mouth

    assert await stage.off_loop(run, ["batch", "results", id, "--out", "fetched"]) == 0
    attached = ["batch", str(path), "--out", "attached", "--model", MODEL]
    assert await stage.off_loop(run, attached) == 0, capsys.readouterr().err
    assert comparable(tmp_path / "fetched") == comparable(tmp_path / "attached")
    for number in range(60):
        name = f"wavs/{number:03}.wav"
        fetched, spoken = (tmp_path / out / name for out in ("fetched", "attached"))
        assert fetched.read_bytes() == spoken.read_bytes()

    assert await stage.off_loop(run, command) == 0
    async with stage.client() as client:
        again = await ended(client, id)
    assert (again.submitted, again.succeeded) == (60, 60)
    assert await stage.ledger.asked(texts) == asked


async def test_what_was_sent_before_a_crash_is_not_spoken_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A feeder dies when the last item is accepted, and before it could note so: most items are
    written down and forgotten by the fleet then, some have ended and nobody has read how, and
    the next feeder starts from the first line. Nothing is cached.
    """
    texts, window = sentences("sent before the crash", 40), 10
    order = {"model": MODEL, "cache": False}
    items = [{"id": f"{n:03}", "text": text, **order} for n, text in enumerate(texts)]
    for item in items[-window // 2 :]:
        item["fail"] = "rejected"
    accepted = asyncio.Event()

    async def die(*_: object) -> None:
        accepted.set()
        await asyncio.Event().wait()

    async def vanish(*_: object) -> None:
        """Gives nothing back."""

    monkeypatch.setattr(Feeding, "move", die)
    monkeypatch.setattr(Feeding, "leave", vanish)
    async with stage.client() as client:
        slots = Slots(client.settings, [Lane.BATCH], ["slow"])
        process = WorkerContext(client.settings, new_boot(), slots)
        await process.ledger.connection.open()
        beating = asyncio.create_task(beat(process))
        batch = client.batch(items, window=window)
        id = await batch.detach()
        feeders = Feeders(process, [keys.queue(Lane.BATCH, "slow")])
        await feeders.look()
        assert await held_by(client, id) == process.boot
        async with asyncio.timeout(120):
            await accepted.wait()
        await feeders.drain()

        async def unread() -> int | None:
            now = await batch.status()
            return now.unread if now.submitted == 40 and not now.outstanding else None

        assert 5 <= await until(unread) <= window
        assert await client.ledger.feeds.parts(client.namespace, id)
        feed = await client.ledger.feeds.find(client.namespace, id)
        assert feed is not None
        assert (feed.boot, feed.offset) == (process.boot, 0)
        beating.cancel()
        await process.ledger.connection.scripts.call("HDEL", keys.HEARTBEATS, process.boot)
        status = await ended(client, id)
        assert (status.submitted, status.succeeded, status.failed) == (40, 35, 5)
        await process.close()
    assert await stage.ledger.asked(texts) == dict.fromkeys(texts, 1)


async def beat(process: WorkerContext) -> None:
    """Its heart, until cancelled."""
    while True:
        await process.ledger.connection.scripts.call("HINCRBY", keys.HEARTBEATS, process.boot, 1)
        await asyncio.sleep(HEARTBEAT_INTERVAL_S)


async def test_what_fails_is_told_and_tried_again(stage: Stage, tmp_path: Path) -> None:
    good, bad = sentences("detached and mixed", 2)
    async with stage.client() as client:
        items = [{"id": "good", "text": good}, {"id": "bad", "text": bad, "fail": "rejected"}]
        batch = client.batch(items, model=MODEL, id="mixed detached")
        assert await batch.detach() == "mixed detached"
        status = await ended(client, batch.id)
        assert (status.succeeded, status.failed) == (1, 1)
        assert await batch.retry_failed() == 1
        status = await ended(client, batch.id)
        assert (status.succeeded, status.failed, status.outstanding) == (1, 1, 0)
        assert await stage.ledger.asked([good, bad]) == {good: 1, bad: 2}


async def test_nothing_of_a_deleted_batch_is_left(stage: Stage, tmp_path: Path) -> None:
    hold = Hold(tmp_path)
    good, bad = sentences("detached and deleted", 2)
    items = [{"id": "1", "text": good}, {"id": "2", "text": bad, "fail": "rejected"}]
    async with stage.client(namespace="deleting") as client:
        id = await client.batch(items, model=MODEL, options=hold.options).detach()
        await stage.ledger.until("start", [good])
        with pytest.raises(InvalidRequest, match=f"batch cancel {id}"):
            await delete(client.context, id)
        hold.release()
        await ended(client, id)

        async def left() -> bool | None:
            feed = await client.ledger.feeds.find(client.namespace, id)
            return None if feed is None or feed.boot else True

        await until(left)
        kinds = ("audio", "batches")
        root = Path(client.store.root)  # type: ignore[attr-defined]  # a folder
        assert all((root / kind / "deleting").is_dir() for kind in kinds)
        await delete(client.context, id)
        assert not any((root / kind / "deleting").exists() for kind in kinds)
        assert await client.jobs() == []
        with pytest.raises(BatchNotFound):
            await delete(client.context, id)


async def test_a_batch_that_is_cancelled_is_fed_no_further(stage: Stage, tmp_path: Path) -> None:
    texts, hold = sentences("detached and cancelled", 40), Hold(tmp_path)
    order = {"model": MODEL, "window": 5, "options": hold.options}
    async with stage.client() as client:
        batch = client.batch(list(enumerate_ids(texts)), **order)  # type: ignore[arg-type] # any keywords
        id = await batch.detach()
        await stage.ledger.until("start", texts)
        await batch.cancel()

        async def left() -> bool | None:
            return None if await client.ledger.feeds.unfinished() else True

        await until(left)
        assert (await batch.status()).state is BatchState.CANCELLED
        asked = await stage.ledger.asked(texts)
        assert len(asked) <= 5, "as many as the window holds"
        hold.release()
        again = client.batch(list(enumerate_ids(texts)), **order)  # type: ignore[arg-type] # any keywords
        assert await again.detach() == id
        assert (await ended(client, id)).succeeded == 40


def enumerate_ids(texts: list[str]) -> Iterator[tuple[str, str]]:
    return ((f"{number:03}", text) for number, text in enumerate(texts))


async def test_it_stops_before_its_limit(stage: Stage) -> None:
    texts = sentences("detached and limited", 10)
    async with stage.client() as client:
        limit = sum(map(len, texts[:4])) + 3
        batch = client.batch(list(enumerate_ids(texts)), model=MODEL, max_chars=limit)
        status = await ended(client, await batch.detach(), BatchState.STOPPED)
        assert (status.code, status.succeeded) == ("limit_reached", 4)
        more = client.batch(list(enumerate_ids(texts)), model=MODEL)
        assert (await ended(client, await more.detach())).succeeded == 10
        assert set((await stage.ledger.asked(texts)).values()) == {1}


async def test_each_item_has_one_line_although_its_folder_is_fetched(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    stage.enter(tmp_path, monkeypatch)
    path = corpus(tmp_path / "corpus.jsonl", sentences("detached into a folder", 4))
    command = ["batch", str(path), "--id", "one-line", "--out", "fetched", "--detach"]
    assert await stage.off_loop(run, [*command, "--model", MODEL]) == 0, capsys.readouterr().err
    async with stage.client() as client:
        await ended(client, "one-line")
    results = ["batch", "results", "one-line"]
    assert await stage.off_loop(run, [*results, "--out", "fetched"]) == 0
    capsys.readouterr()
    assert await stage.off_loop(run, results) == 0
    ids = [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]
    assert sorted(ids) == ["000", "001", "002", "003"]


async def test_with_s3_nothing_but_redis_and_the_store_is_shared(
    tmp_path: Path, s3_store_url: str, moto_url: str
) -> None:
    texts = sentences("detached in s3", 12)
    environ = {**moto_server.environment(moto_url), "SPEECHFLEET_STORE": s3_store_url}
    with staged(tmp_path, environ, workers=1, store_url=s3_store_url) as stage:
        async with stage.client() as client:
            id = await client.batch(list(enumerate_ids(texts)), model=MODEL).detach()
            assert (await ended(client, id)).succeeded == 12
            async for _ in fetch_results(client.context, id, tmp_path / "out"):
                pass
    assert {entry["text"] for entry in manifest(tmp_path / "out").values()} == set(texts)
    assert len(list((tmp_path / "out" / "wavs").iterdir())) == 12
