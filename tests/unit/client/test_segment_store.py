"""The segment store: audio and notes, what is stored and what only looks so."""

from pathlib import Path

import pytest

from speechfleet.audio import wav
from speechfleet.errors import ObjectMissing
from speechfleet.request import Request
from speechfleet.segment_store import SegmentStore, read_segment, segment_hash
from speechfleet.store import Store, layout, open_store
from speechfleet.store.base import NewObject
from speechfleet.store.folder import FolderStore
from speechfleet.words import SegmentWords

PCM = bytes(range(200))
RATE = 24_000
HASH = segment_hash("ns", Request("Hello.", "m/m"), "Hello.")
WORDS = SegmentWords("provider", "Hello.", ((0, 5, 0, 90),))
OBJECT = "audio/ns/job/1.wav"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path.as_uri())


@pytest.fixture
def segments(store: Store) -> SegmentStore:
    return SegmentStore(store, "ns")


async def put_audio_object(store: Store) -> None:
    await store.put_all([NewObject(OBJECT, wav.encode(PCM, RATE), "audio/wav")])


async def test_audio_is_stored_once_and_read_back(segments: SegmentStore, store: Store) -> None:
    assert not await segments.is_stored(HASH)
    assert await segments.load(HASH) is None
    await segments.save(HASH, PCM, RATE, WORDS)
    await segments.save(HASH, b"\1\2", RATE)
    loaded = await segments.load(HASH)
    assert loaded is not None
    assert (bytes(loaded.pcm), loaded.sample_rate, loaded.words) == (PCM, RATE, WORDS)
    assert await segments.is_stored(HASH)
    assert bytes((await read_segment(store, "ns", HASH)).pcm) == PCM


async def test_a_note_stands_for_the_object_of_a_job(segments: SegmentStore, store: Store) -> None:
    await put_audio_object(store)
    await segments.refer(HASH, OBJECT, RATE, WORDS)
    loaded = await segments.load(HASH)
    assert loaded is not None
    assert (bytes(loaded.pcm), loaded.words) == (PCM, WORDS)
    assert await segments.is_stored(HASH)


async def test_a_note_whose_object_is_gone_is_not_stored(
    segments: SegmentStore, store: Store
) -> None:
    await segments.refer(HASH, OBJECT, RATE)
    assert not await segments.is_stored(HASH)
    assert await segments.load(HASH) is None
    await segments.save(HASH, PCM, RATE)
    assert await segments.is_stored(HASH), "it was replaced"


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(b"{", id="half a note"),
        pytest.param(b'{"object": 1}', id="a note without a rate"),
        pytest.param(b'{"sample_rate": 8000}', id="a note without an object"),
    ],
)
async def test_a_broken_note_is_not_stored_and_is_replaced(
    segments: SegmentStore, store: Store, broken: bytes
) -> None:
    await store.put_all([NewObject(layout.segment_object("ns", HASH), broken, "x/y")])
    assert not await segments.is_stored(HASH)
    assert await segments.load(HASH) is None
    await segments.save(HASH, PCM, RATE)
    assert await segments.is_stored(HASH)


async def test_an_object_that_is_no_audio_is_spoken_again(
    segments: SegmentStore, store: Store
) -> None:
    await store.put_all([NewObject(layout.segment_object("ns", HASH), b"RIFF", "x/y")])
    assert await segments.load(HASH) is None


OTHER = "audio/ns/other/1.wav"


async def test_a_note_is_moved_before_its_object_is_deleted(
    segments: SegmentStore, store: Store
) -> None:
    await put_audio_object(store)
    await segments.refer(HASH, OBJECT, RATE)
    await store.put_all([NewObject(OTHER, wav.encode(PCM, RATE), "audio/wav")])
    await segments.move_note(HASH, OTHER, RATE, WORDS)
    await store.delete(OBJECT)
    loaded = await segments.load(HASH)
    assert loaded is not None
    assert (bytes(loaded.pcm), loaded.words) == (PCM, WORDS)


async def test_a_note_that_is_moved_while_it_is_read_is_followed(tmp_path: Path) -> None:
    """Read before the move; its object is deleted before it is read, too."""

    class Moving(FolderStore):
        def _get(self, key: str, start: int, end: int | None) -> bytes:
            if key == OBJECT:
                note = SegmentStore(self, "ns").note(HASH, OTHER, RATE)
                self._replace(note, {})
                self._delete(OBJECT)
            return super()._get(key, start, end)

    store = Moving(tmp_path)
    segments = SegmentStore(store, "ns")
    await put_audio_object(store)
    await store.put_all([NewObject(OTHER, wav.encode(PCM, RATE), "audio/wav")])
    await segments.refer(HASH, OBJECT, RATE)
    assert bytes((await segments.read(HASH)).pcm) == PCM
    await store.close()


@pytest.mark.parametrize(
    ("prefix", "is_detached"),
    [
        pytest.param("audio/ns/job/", True, id="its object is below the prefix"),
        pytest.param("audio/ns/other/", False, id="its object is elsewhere"),
    ],
)
async def test_a_segment_is_detached_from_the_object_of_a_job(
    segments: SegmentStore, store: Store, prefix: str, is_detached: bool
) -> None:
    await put_audio_object(store)
    await segments.refer(HASH, OBJECT, RATE, WORDS)
    for _ in range(2):
        await segments.detach(HASH, prefix)
    await store.delete(OBJECT)
    loaded = await segments.load(HASH)
    assert (loaded is not None) == is_detached
    if loaded is not None:
        assert (bytes(loaded.pcm), loaded.words) == (PCM, WORDS)


async def test_a_segment_that_nobody_can_read_stays_as_it_is(
    segments: SegmentStore, store: Store
) -> None:
    await segments.detach(HASH, "audio/")
    assert await store.list() == []
    await segments.refer(HASH, OBJECT, RATE)
    await segments.detach(HASH, "audio/")
    assert await segments.load(HASH) is None


async def test_reading_what_is_not_there_says_so(store: Store) -> None:
    with pytest.raises(ObjectMissing):
        await read_segment(store, "ns", HASH)


def test_the_hash_is_of_all_that_shapes_the_audio() -> None:
    request = Request("Hello.", "m/m", "v", {"a": 1})
    same = Request("Other.", "m/m", "v", {"a": 1}, language="de", segments="sentence")
    assert segment_hash("ns", request, "Hello.") == segment_hash("ns", same, "Hello.")
    others = [
        segment_hash("other", request, "Hello."),
        segment_hash("ns", request, "Hello"),
        segment_hash("ns", Request("", "m/n", "v", {"a": 1}), "Hello."),
        segment_hash("ns", Request("", "m/m", "w", {"a": 1}), "Hello."),
        segment_hash("ns", Request("", "m/m", "v", {"a": 2}), "Hello."),
        segment_hash("ns", request, "Hello.", "salt"),
    ]
    assert len({segment_hash("ns", request, "Hello."), *others}) == 7
