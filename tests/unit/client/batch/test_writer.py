"""Results in their places: what counts as done, and objects that are fetched in pieces."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from speechfleet.batch.item_captions import CaptionStyle
from speechfleet.batch.manifest import Entry
from speechfleet.batch.output_folder import OutputFolder
from speechfleet.batch.writer import PIECE_BYTES, ResultWriter, fetch
from speechfleet.corpus.item import Item
from speechfleet.errors import InvalidRequest, ObjectMissing, StoreUnavailable
from speechfleet.request import Lane, Request
from speechfleet.store import Store, open_store

ITEM = Item("a", "Hello.")
REQUEST = Request("Hello.", "espeak/espeak-ng", lane=Lane.BATCH)


def entry(**more: Any) -> Entry:
    return {"id": "a", "text": "Hello.", "state": "SUCCEEDED", "digest": REQUEST.digest, **more}


def writer(folder: OutputFolder | None, **more: Any) -> ResultWriter:
    return ResultWriter(cast("Any", None), "default", cast("Any", None), folder, **more)


def test_an_item_is_done_when_all_that_is_asked_for_is_there(tmp_path: Path) -> None:
    with closing(OutputFolder(tmp_path)) as folder:
        folder.manifest.append([entry()])
        assert not writer(folder).is_done(ITEM, REQUEST)
        folder.write(folder.audio_path(ITEM, "wav"), b"RIFF")
        assert writer(folder).is_done(ITEM, REQUEST)
        with_captions = writer(folder, captions=CaptionStyle("srt"))
        assert not with_captions.is_done(ITEM, REQUEST)
        assert not writer(folder, captions=CaptionStyle("srt"), remote=True).is_done(ITEM, REQUEST)
        folder.write(folder.captions_path(ITEM, "srt"), b"1")
        assert with_captions.is_done(ITEM, REQUEST)
        assert not writer(folder, captions=CaptionStyle("vtt")).is_done(ITEM, REQUEST)
        other = Request("Hello.", "espeak/espeak-ng", lane=Lane.BATCH, segments="sentence")
        assert not with_captions.is_done(ITEM, other)


def test_a_writer_without_a_folder_closes_its_own_index() -> None:
    with closing(writer(None)) as alone:
        assert alone.manifest.get("a") is None
    with pytest.raises(Exception, match="closed database"):
        alone.manifest.get("a")


class Remote:
    """A store that keeps one object elsewhere, and counts what is read at once."""

    def __init__(self, data: bytes, *, fails_at: int | None = None) -> None:
        self._data = data
        self._fails_at = fails_at
        self.longest = 0

    def local_path(self, key: str) -> None:
        return None

    async def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        if self._fails_at is not None and start >= self._fails_at:
            raise StoreUnavailable("cut")
        piece = self._data[start:end]
        self.longest = max(self.longest, len(piece))
        return piece


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, 2 * PIECE_BYTES + 7])
async def test_an_object_is_fetched_in_pieces(tmp_path: Path, size: int) -> None:
    store = Remote(os.urandom(size))
    with closing(OutputFolder(tmp_path)) as folder:
        path = folder.audio_path(ITEM, "wav")
        await fetch(cast("Store", store), "audio/a", folder, path)
    assert path.read_bytes() == store._data
    assert store.longest <= PIECE_BYTES


async def test_a_fetch_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    store = Remote(bytes(3 * PIECE_BYTES), fails_at=PIECE_BYTES)
    with closing(OutputFolder(tmp_path)) as folder:
        path = folder.audio_path(ITEM, "wav")
        with pytest.raises(StoreUnavailable):
            await fetch(cast("Store", store), "audio/a", folder, path)
        assert list(path.parent.iterdir()) == []


async def test_no_object_outside_the_store_is_fetched(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (tmp_path / "store").mkdir()
    store = open_store((tmp_path / "store").as_uri())
    with closing(OutputFolder(tmp_path / "out")) as folder:
        path = folder.audio_path(ITEM, "wav")
        for key in (str(secret), "../secret.txt", "a/../../secret.txt"):
            with pytest.raises(InvalidRequest, match="illegal object key"):
                await fetch(store, key, folder, path)
        assert not path.exists()
    await store.close()


@pytest.mark.parametrize("format", ["wav/../../../x", "../wav", "", "exe"])
def test_no_format_leads_out_of_the_folder(tmp_path: Path, format: str) -> None:
    with (
        closing(OutputFolder(tmp_path)) as folder,
        pytest.raises(InvalidRequest, match="unknown format"),
    ):
        folder.audio_path(ITEM, format)


def test_a_folder_whose_manifest_is_none_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text("{}\n")
    with pytest.raises(InvalidRequest, match="is no entry"):
        OutputFolder(tmp_path)
    (tmp_path / "manifest.jsonl").unlink()
    with closing(OutputFolder(tmp_path)) as folder:
        assert folder.path == tmp_path


def test_lines_that_left_the_corpus_leave_what_is_derived(tmp_path: Path) -> None:
    error = {"code": "request_rejected", "message": "no"}
    entries = [
        {**entry(), "id": id, "state": state, "model": "m/m", "error": error}
        for id, state in (("a", "SUCCEEDED"), ("b", "SUCCEEDED"), ("c", "FAILED"))
    ]
    with closing(OutputFolder(tmp_path)) as folder:
        folder.manifest.append(entries)
        folder.summarize(openai=True, ids={"a"})
        assert (tmp_path / "metadata.csv").read_text() == "a|Hello.|Hello.\n"
        assert (tmp_path / "errors.jsonl").read_text() == ""
        assert len((tmp_path / "openai.jsonl").read_text().splitlines()) == 1
        folder.summarize(openai=True)
        assert len((tmp_path / "metadata.csv").read_text().splitlines()) == 2
        assert [e["id"] for e in folder.manifest.entries()] == ["a", "b", "c"]


async def test_a_store_that_goes_away_is_told_from_a_lost_object(tmp_path: Path) -> None:
    root = tmp_path / "store"
    root.mkdir()
    store = open_store(root.as_uri())
    await store.put("audio/a.wav", b"RIFF", media_type="audio/wav")
    with closing(OutputFolder(tmp_path / "out")) as folder:
        path = folder.audio_path(ITEM, "wav")
        with pytest.raises(ObjectMissing):
            await fetch(store, "audio/b.wav", folder, path)
        root.rename(tmp_path / "away")
        with pytest.raises(StoreUnavailable, match="not there any more"):
            await fetch(store, "audio/a.wav", folder, path)
        (tmp_path / "away").rename(root)
        await fetch(store, "audio/a.wav", folder, path)
    assert path.read_bytes() == b"RIFF"
    await store.close()
