"""`AudioObject` in a folder: stored whole or not at all, however it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from speechfleet.audio import wav
from speechfleet.audio.formats import FORMATS
from speechfleet.errors import StoreDenied, StoreUnavailable
from speechfleet.store import Store
from speechfleet.store.base import NewObject
from speechfleet_worker.output import audio_object as module
from speechfleet_worker.output.audio_object import AudioObject, StoreRetry
from tests.support.stub_ledger import RATE, make_store

PCM = bytes(range(256)) * 200
KEY = "audio/job.bin"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store")


def make(store: Store, format: str = "wav", seconds: float = 0.0) -> AudioObject:
    return AudioObject(
        store,
        StoreRetry(seconds),
        KEY,
        format=format,
        sample_rate=RATE,
        metadata={"namespace": "default"},
    )


async def test_a_small_object_is_stored_at_once(store: Store) -> None:
    audio = make(store)
    await audio.write([PCM[:1000], PCM[1000:]])
    assert await store.list() == []
    stored = await audio.commit()
    assert (stored.key, stored.media_type) == (KEY, "audio/wav")
    assert stored.duration_ms == round(len(PCM) / 2 / RATE * 1000)
    assert bytes(wav.decode(await store.get(KEY)).pcm) == PCM
    assert (await store.head(KEY)).metadata["duration-ms"] == str(stored.duration_ms)


async def test_a_note_is_stored_beside_it_unless_there_is_one(store: Store) -> None:
    note = NewObject("segments/hash", b"{}", "text/plain")
    audio = make(store)
    await audio.write([PCM])
    assert (await audio.commit(note)).beside
    again = AudioObject(
        store, StoreRetry(0), "audio/other", format="pcm", sample_rate=RATE, metadata={}
    )
    await again.write([PCM])
    assert not (await again.commit(note)).beside


async def test_a_long_object_is_uploaded_while_it_is_spoken(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 10_000)
    audio = make(store)
    for at in range(0, len(PCM), 6_400):
        await audio.write([PCM[at : at + 6_400]])
    await audio.commit()
    data = wav.decode(await store.get(KEY))
    assert (bytes(data.pcm), data.sample_rate) == (PCM, RATE)


@pytest.mark.parametrize("format", FORMATS)
async def test_aborting_leaves_nothing_behind(store: Store, format: str) -> None:
    audio = make(store, format)
    await audio.write([PCM])
    await audio.abort()
    assert await store.list() == []
    with pytest.raises(RuntimeError, match="closed") if FORMATS[format].codec else nullcontext():
        await audio.write([PCM])


@pytest.mark.parametrize("format", [name for name in FORMATS if FORMATS[name].codec])
async def test_aborting_in_mid_encoding_does_no_harm(store: Store, format: str) -> None:
    for _ in range(20):
        audio = make(store, format)
        writing = asyncio.ensure_future(audio.write([PCM * 10]))
        await asyncio.sleep(0)
        writing.cancel()
        await audio.abort()
        await asyncio.gather(writing, return_exceptions=True)
    assert await store.list() == []


async def test_a_put_that_is_under_way_is_swept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled job waits for its thread, and deletes what that wrote."""
    begun, go_on = threading.Event(), threading.Event()
    put = store._put_each

    def slow(*arguments: Any) -> list[bool]:
        begun.set()
        go_on.wait()
        return put(*arguments)

    monkeypatch.setattr(store, "_put_each", slow)
    audio = make(store)
    await audio.write([PCM])
    committing = asyncio.ensure_future(audio.commit())
    await asyncio.to_thread(begun.wait)
    committing.cancel()
    aborting = asyncio.ensure_future(audio.abort())
    await asyncio.sleep(0)
    go_on.set()
    await aborting
    assert await store.list() == []
    with pytest.raises(asyncio.CancelledError):
        await committing


def failing(times: int, error: Exception) -> Callable[[], Awaitable[str]]:
    left = [error] * times

    async def operation() -> str:
        if left:
            raise left.pop()
        return "done"

    return operation


async def test_a_store_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.001)
    retry = StoreRetry(60)
    assert await retry(failing(4, StoreUnavailable("away"))) == "done"
    assert await retry(failing(2, StoreDenied("read-only"))) == "done"
    with pytest.raises(StoreUnavailable):
        await StoreRetry(0)(failing(1, StoreUnavailable("away")))
