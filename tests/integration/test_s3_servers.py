"""S3 servers of other hands: what works with each, and what they are refused for.

The table in docs/guides/stores.md says the same.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.request import urlopen

import pytest

from speechfleet.errors import ObjectExists, ObjectMissing, StoreDenied
from speechfleet.store import Store, open_store
from speechfleet.store.bucket import PART_BYTES
from tests.support import s3_servers

WAV = "audio/wav"
Server = Callable[[Path], AbstractContextManager[dict[str, str]]]


@pytest.fixture
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    server: Server = request.param
    with server(tmp_path / "buckets") as environ:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        opened = open_store(f"s3://{s3_servers.BUCKET}/fleet")
        yield opened
        await opened.close()


on_nanio = pytest.mark.parametrize("store", [s3_servers.nanio], indirect=True, ids=["nanio"])
on_both = pytest.mark.parametrize(
    "store",
    [s3_servers.nanio, s3_servers.localbucket],
    indirect=True,
    ids=["nanio", "localbucket"],
)


def read(url: str) -> bytes:
    with urlopen(url) as answer:  # noqa: S310 # our own server
        return bytes(answer.read())


@on_both
async def test_objects_ranges_and_links(store: Store) -> None:
    await store.put("a/b.wav", b"0123456789", media_type=WAV)
    await store.put("a/empty", b"", media_type=WAV)
    assert await store.get("a/b.wav") == b"0123456789"
    assert await store.get("a/b.wav", 2, 5) == b"234"
    assert await store.get("a/empty") == b""
    assert (await store.head("a/b.wav")).size == 10
    assert await store.list("a/") == ["a/b.wav", "a/empty"]
    link = await store.link("a/b.wav")
    assert await asyncio.to_thread(read, link) == b"0123456789"
    await store.delete("a/b.wav")
    with pytest.raises(ObjectMissing):
        await store.get("a/b.wav")


@on_both
async def test_long_objects(store: Store) -> None:
    data = os.urandom(2 * PART_BYTES + 7)
    upload = store.upload("a", media_type=WAV)
    await upload.write(data)
    await upload.patch_head(0, b"RIFF")
    await upload.commit()
    assert await store.get("a") == b"RIFF" + data[4:]


@on_nanio
async def test_signatures_are_right_and_wrong_ones_are_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("a b/ü+%.wav", b"1", media_type=WAV, metadata={"id": "ü"})
    assert (await store.head("a b/ü+%.wav")).metadata == {"id": "ü"}
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    other = open_store(store.url)
    with pytest.raises(StoreDenied, match="credentials"):
        await other.get("a b/ü+%.wav")
    await other.close()


@on_nanio
async def test_a_server_without_conditional_writes_is_refused(store: Store) -> None:
    with pytest.raises(StoreDenied, match="overwrites objects; it must honour conditional"):
        await store.check()


@pytest.mark.parametrize("store", [s3_servers.localbucket], indirect=True, ids=["localbucket"])
async def test_a_server_without_metadata_is_refused(store: Store) -> None:
    with pytest.raises(StoreDenied, match="other bytes or metadata"):
        await store.check()
    await store.put("a", b"1", media_type=WAV)
    with pytest.raises(ObjectExists):
        await store.put("a", b"1", media_type=WAV)
