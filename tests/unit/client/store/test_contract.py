"""What every store promises, over each of them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from time import time
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechfleet.errors import InvalidRequest, ObjectExists, ObjectMissing
from speechfleet.store import Store, draft, open_store
from speechfleet.store import metadata as ascii_metadata
from speechfleet.store.base import NewObject

WAV = "audio/wav"
MEGABYTES = 13
LONG = os.urandom(1 << 20) * MEGABYTES
"""Two whole parts of S3 and a rest."""


@pytest.fixture(params=["folder", "portable folder", "s3"])
async def store(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    kind: str = request.param
    if kind.startswith("portable"):  # a file system without nameless files and attributes
        monkeypatch.setattr(draft, "NAMELESS", 0)
        monkeypatch.setattr(draft, "HAS_ATTRIBUTES", False)
    opened = open_store(request.getfixturevalue(f"{kind.rsplit(maxsplit=1)[-1]}_store_url"))
    yield opened
    await opened.close()


async def test_what_was_put_is_got(store: Store) -> None:
    await store.put("a/b.wav", b"RIFF", media_type=WAV, metadata={"msg-id": "m1"})
    assert await store.get("a/b.wav") == b"RIFF"
    info = await store.head("a/b.wav")
    assert (info.key, info.size, info.media_type) == ("a/b.wav", 4, WAV)
    assert info.metadata == {"msg-id": "m1"}
    assert abs(info.modified - time()) < 60


@pytest.mark.parametrize("data", [b"", bytearray(b"abc"), memoryview(b"xabcx")[1:4]])
async def test_every_kind_of_bytes(store: Store, data: bytes | bytearray | memoryview) -> None:
    await store.put("a", data, media_type=WAV)
    assert await store.get("a") == bytes(data)
    assert (await store.head("a")).size == len(data)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, None, b"0123456789"),
        (3, None, b"3456789"),
        (2, 5, b"234"),
        (0, 0, b""),
        (4, 4, b""),
        (8, 99, b"89"),
        (10, None, b""),
        (50, 60, b""),
    ],
)
async def test_ranges(store: Store, start: int, end: int | None, expected: bytes) -> None:
    await store.put("a", b"0123456789", media_type=WAV)
    assert await store.get("a", start, end) == expected


async def test_a_range_that_is_none(store: Store) -> None:
    for start, end in ((-1, None), (5, 4)):
        with pytest.raises(InvalidRequest):
            await store.get("a", start, end)


async def test_a_key_is_written_once(store: Store) -> None:
    await store.put("a", b"first", media_type=WAV, metadata={"by": "1"})
    for data in (b"second", b"first"):
        with pytest.raises(ObjectExists):
            await store.put("a", data, media_type="audio/flac", metadata={"by": "2"})
    assert await store.get("a") == b"first"
    info = await store.head("a")
    assert (info.media_type, info.metadata) == (WAV, {"by": "1"})


async def test_an_object_is_replaced_with_all_that_describes_it(store: Store) -> None:
    await store.replace(NewObject("x/a", b"first", WAV, {"by": "1"}))
    await store.replace(NewObject("x/a", b"second one", "audio/flac"))
    assert await store.get("x/a") == b"second one"
    info = await store.head("x/a")
    assert (info.size, info.media_type, info.metadata) == (10, "audio/flac", {})
    await store.replace(NewObject("x/a", b"third", WAV, {"by": "3"}))
    assert (await store.head("x/a")).metadata == {"by": "3"}
    assert await store.list("") == ["x/a"]
    with pytest.raises(ObjectExists):
        await store.put("x/a", b"fourth", media_type=WAV)


async def test_a_reader_finds_one_object_or_the_other(store: Store) -> None:
    versions = [b"a" * 70_000, b"b" * 80_000]
    await store.put("x/a", versions[0], media_type=WAV)
    other, found = open_store(store.url), set()

    async def replace() -> None:
        for number in range(1, 21):
            await other.replace(NewObject("x/a", versions[number % 2], WAV))

    replacing = asyncio.ensure_future(replace())
    while not replacing.done():
        found.add(await store.get("x/a"))
    await replacing
    await other.close()
    assert found <= set(versions)


async def test_of_many_writers_one_wins(store: Store) -> None:
    other = open_store(store.url)
    writers = [
        writer.put("race", str(number).encode(), media_type=WAV, metadata={"by": str(number)})
        for number, writer in enumerate([store, other] * 6)
    ]
    results = await asyncio.gather(*writers, return_exceptions=True)
    await other.close()
    winners = [number for number, result in enumerate(results) if result is None]
    assert len(winners) == 1
    assert sum(isinstance(result, ObjectExists) for result in results) == len(results) - 1
    assert await store.get("race") == str(winners[0]).encode()
    assert (await store.head("race")).metadata == {"by": str(winners[0])}


async def test_what_is_not_there(store: Store) -> None:
    await store.put("folder/a", b"1", media_type=WAV)
    for key in ("missing", "folder", "folder/b", "no/such/folder"):
        with pytest.raises(ObjectMissing):
            await store.get(key)
        with pytest.raises(ObjectMissing):
            await store.get(key, 3, 3)
        with pytest.raises(ObjectMissing):
            await store.head(key)


async def test_deleting_is_idempotent_and_frees_the_key(store: Store) -> None:
    await store.put("x/y/a", b"1", media_type=WAV, metadata={"n": "1"})
    await store.delete("x/y/a")
    await store.delete("x/y/a")
    with pytest.raises(ObjectMissing):
        await store.get("x/y/a")
    assert await store.list("") == []
    await store.put("x/y/a", b"2", media_type="audio/flac")
    info = await store.head("x/y/a")
    assert (info.media_type, info.metadata) == ("audio/flac", {})


async def test_listing_is_by_prefix_and_sorted(store: Store) -> None:
    keys = ["a/1", "a/10", "a/2/x", "a.b", "ab/1", "b", "ä/1"]
    for key in reversed(keys):
        await store.put(key, b"1", media_type=WAV)
    assert await store.list("") == sorted(keys)
    assert await store.list("a/") == ["a/1", "a/10", "a/2/x"]
    assert await store.list("a/1") == ["a/1", "a/10"]
    assert await store.list("a") == ["a.b", "a/1", "a/10", "a/2/x", "ab/1"]
    assert await store.list("none/") == []


async def test_sweeping_keeps_one_and_what_lies_elsewhere(store: Store) -> None:
    for key in ("job/1/a", "job/1/b", "job/1/c", "job/10/a"):
        await store.put(key, b"1", media_type=WAV)
    unfinished = store.upload("job/1/d", media_type=WAV)
    for _ in range(3):
        await unfinished.write(LONG[: 6 << 20])
    assert await store.sweep("job/1/", keep="job/1/b") == 3
    assert await store.list("") == ["job/1/b", "job/10/a"]
    assert await store.sweep("job/1/", keep="job/1/b") == 0
    await unfinished.abort()
    assert await store.list("") == ["job/1/b", "job/10/a"]


async def test_the_whole_store_is_not_swept(store: Store) -> None:
    with pytest.raises(InvalidRequest):
        await store.sweep("")


BAD_KEYS = ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a\0b", "a\\b", "\ud800", "a" * 239]


@pytest.mark.parametrize("key", [*BAD_KEYS, ".a.meta", ".a.12345678.part", "a/" * 500 + "a"])
async def test_illegal_keys(store: Store, key: str) -> None:
    for call in (store.get(key), store.put(key, b"", media_type=WAV), store.delete(key)):
        with pytest.raises(InvalidRequest):
            await call
    for prefix in ("../", "/etc/", "a/../../b"):
        with pytest.raises(InvalidRequest):
            await store.list(prefix)


async def test_the_longest_keys(store: Store) -> None:
    key = f"{'a' * 238}/{'ö' * 119}"
    await store.put(key, b"1", media_type=WAV)
    assert await store.list("a") == [key]


IDS = [
    "plain",
    "",
    "a  b ",
    "ümlaut/語?%41;",
    "\U0001f600" * 256,
    "utf-8;base64,QQ==",
    "tab\tline\n",
]


async def test_metadata_of_any_text(store: Store) -> None:
    for number, text in enumerate(IDS):
        told = {"msg-id": text, "voice": "Chérie"}
        await store.put(f"k{number}", b"", media_type=WAV, metadata=told)
        assert (await store.head(f"k{number}")).metadata == told


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=256))
def test_metadata_is_made_for_headers(text: str) -> None:
    encoded = ascii_metadata.encode({"text": text})
    value = encoded["text"]
    assert value.isascii()
    assert value.isprintable()
    assert value == " ".join(value.split())
    assert ascii_metadata.decode(encoded) == {"text": text}


async def test_metadata_that_no_store_carries(store: Store) -> None:
    for metadata in ({"Name": "a"}, {"na me": "a"}, {"a": "x" * 3000}, {"a": "\ud800"}):
        with pytest.raises(InvalidRequest):
            await store.put("a", b"", media_type=WAV, metadata=metadata)
        with pytest.raises(InvalidRequest):
            store.upload("a", media_type=WAV, metadata=metadata)
    assert await store.list("") == []


@pytest.mark.parametrize("megabytes", [0, 3, 9, 10, MEGABYTES])
async def test_an_upload_is_what_was_written(store: Store, megabytes: int) -> None:
    data = bytearray(LONG[: megabytes << 20] + b"the end")
    upload = store.upload("long", media_type=WAV, metadata={"msg-id": "ü"})
    for start in range(0, len(data), 700_000):
        await upload.write(data[start : start + 700_000])
    await upload.patch_head(0, b"HEAD")
    await upload.patch_head(1, b"X")
    assert await store.list("") == []
    await upload.commit({"duration-ms": "1234"})
    data[:4] = b"HXAD"
    assert await store.get("long") == data
    info = await store.head("long")
    assert (info.size, info.media_type) == (len(data), WAV)
    assert info.metadata["msg-id"] == "ü"
    if megabytes < 10:
        assert info.metadata == {"msg-id": "ü", "duration-ms": "1234"}


async def test_an_upload_in_one_great_piece(store: Store) -> None:
    upload = store.upload("long", media_type=WAV)
    await upload.write(LONG)
    await upload.write(b"end")
    await upload.commit()
    assert await store.get("long") == LONG + b"end"


async def test_an_upload_of_nothing(store: Store) -> None:
    upload = store.upload("empty", media_type=WAV)
    await upload.commit()
    assert (await store.head("empty")).size == 0


async def test_patches_stay_within_the_head(store: Store) -> None:
    upload = store.upload("a", media_type=WAV)
    await upload.write(b"12")
    for offset, data in ((1, b"xx"), (-1, b"x")):
        with pytest.raises(InvalidRequest):
            await upload.patch_head(offset, data)
    await upload.write(bytes(70_000))
    with pytest.raises(InvalidRequest):
        await upload.patch_head(65_530, bytes(10))
    await upload.patch_head(65_530, b"123456")
    await upload.commit()
    assert await store.get("a", 65_529, 65_537) == b"\x00123456\x00"


@pytest.mark.parametrize("size", [3, len(LONG)])
async def test_a_commit_is_written_once_and_leaves_nothing(store: Store, size: int) -> None:
    upload = store.upload("job/a", media_type=WAV)
    await upload.write(LONG[:size])
    await store.put("job/a", b"winner", media_type=WAV)
    with pytest.raises(ObjectExists):
        await upload.commit()
    await upload.abort()
    assert await store.get("job/a") == b"winner"
    assert await store.sweep("job/", keep="job/a") == 0


@pytest.mark.parametrize("size", [0, 3, len(LONG)])
async def test_an_aborted_upload_leaves_nothing(store: Store, size: int) -> None:
    upload = store.upload("job/a", media_type=WAV)
    await upload.write(LONG[:size])
    await upload.write(LONG[:size])
    await upload.abort()
    await upload.abort()
    assert await store.sweep("job/") == 0
    with pytest.raises(RuntimeError):
        await upload.write(b"more")


async def test_an_abort_after_the_commit_changes_nothing(store: Store) -> None:
    upload = store.upload("a", media_type=WAV)
    await upload.write(b"1")
    await upload.commit()
    await upload.abort()
    assert await store.get("a") == b"1"
    with pytest.raises(RuntimeError):
        await upload.commit()


async def test_a_commit_that_nobody_waited_for_is_undone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = store.upload("a", media_type=WAV)
    await upload.write(b"1")
    begun, go_on = asyncio.Event(), threading.Event()
    loop, commit = asyncio.get_running_loop(), upload._commit

    def slow(metadata: dict[str, str]) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(60)
        commit(metadata)

    monkeypatch.setattr(upload, "_commit", slow)
    committing = asyncio.create_task(upload.commit())
    await begun.wait()
    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    aborting = asyncio.create_task(upload.abort())
    go_on.set()
    await aborting
    assert await store.list("") == []


async def test_a_link_is_a_url_of_the_object(store: Store) -> None:
    await store.put("f/a b+ü.wav", b"audio", media_type=WAV)
    url = await store.link("f/a b+ü.wav", expires=60)

    def read() -> bytes:
        with urlopen(url, timeout=60) as answer:  # noqa: S310 # http or file: our own
            return bytes(answer.read())

    assert await asyncio.to_thread(read) == b"audio"


async def test_the_check_passes_and_leaves_nothing(store: Store) -> None:
    await store.check()
    assert await store.list("") == []


async def test_closing_twice(store: Store) -> None:
    await store.list("")
    await store.close()
    await store.close()
