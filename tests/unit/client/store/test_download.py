"""Objects of a store as files: whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechfleet.errors import InvalidRequest, ObjectMissing
from speechfleet.job import AsyncSpeech
from speechfleet.store import download, layout, open_store
from speechfleet.store.base import Store
from speechfleet.sync import Speech as SyncSpeech
from speechfleet.words import Word

KEY = layout.audio_object("default", "chapter:1/line 7", "vm-17026-6f9c2499:1", "wav")
AUDIO = bytes(range(256)) * 10


@pytest.fixture
async def store(folder_store_url: str) -> Store:
    store = open_store(folder_store_url)
    await store.put(KEY, AUDIO, media_type="audio/wav")
    return store


def speech(store: Store, key: str = KEY) -> AsyncSpeech:
    async def no_words() -> list[Word]:
        return []

    return AsyncSpeech(
        "chapter:1/line 7", "audio/wav", 24_000, 1.25, len(AUDIO), key, {}, store, no_words
    )


async def test_a_speech_is_saved_whole_and_nothing_else_is_left(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PART_BYTES", 1000)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "hello.wav").write_bytes(b"old")
    assert await speech(store).save(folder / "hello.wav") == folder / "hello.wav"
    assert (folder / "hello.wav").read_bytes() == AUDIO
    with pytest.raises(ObjectMissing):
        await speech(store, "audio/missing.wav").save(folder / "other.wav")
    (folder / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        await speech(store).save(folder / "folder")
    assert sorted(path.name for path in folder.iterdir()) == ["folder", "hello.wav"]


async def test_a_device_is_written_to_and_stays(store: Store) -> None:
    device = await speech(store).save("/dev/null")
    assert download.is_special(device)


async def test_a_name_that_tells_another_format_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"is wav, and 'hello\.mp3' names mp3"):
        await speech(store).save(tmp_path / "hello.mp3")
    assert (await speech(store).save(str(tmp_path / "hello"))).read_bytes() == AUDIO


async def test_path_and_link_name_the_file_as_it_is(store: Store) -> None:
    path = speech(store).path
    assert path is not None
    assert path.read_bytes() == AUDIO
    link = await speech(store).url()
    assert Path(link.removeprefix("file://")) == path
    assert not set(path.name) & set(":%")


async def test_a_speech_is_short_to_read(store: Store) -> None:
    shown = "Speech('chapter:1/line 7', 1.2 s, audio/wav, 2,560 B)"
    assert repr(speech(store)) == f"Async{shown}"
    assert repr(SyncSpeech(speech(store), None)) == shown  # type: ignore[arg-type]  # no loop is needed
