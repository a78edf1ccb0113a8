"""The folder: what its files look like, who shares it, and how its disk fails."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from speechfleet.errors import (
    MisconfiguredError,
    MissingExtra,
    ObjectExists,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from speechfleet.store import Store, draft, open_store

WAV = "audio/wav"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "a store"
    root.mkdir()
    return root


@pytest.fixture
def portable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without nameless files and without attributes."""
    monkeypatch.setattr(draft, "NAMELESS", 0)
    monkeypatch.setattr(draft, "HAS_ATTRIBUTES", False)


@pytest.fixture
async def store(root: Path) -> AsyncIterator[Store]:
    opened = open_store(root.as_uri())
    yield opened
    await opened.close()


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


async def test_an_object_is_a_plain_file(store: Store, root: Path) -> None:
    await store.put("job/a.wav", b"RIFF", media_type=WAV)
    assert (root / "job/a.wav").read_bytes() == b"RIFF"
    assert files(root) == {"job", "job/a.wav"}
    assert await store.link("job/a.wav") == (root / "job/a.wav").as_uri()
    await store.delete("job/a.wav")
    assert files(root) == set()


@pytest.mark.usefixtures("portable")
async def test_without_attributes_the_metadata_lie_beside_the_file(
    store: Store, root: Path
) -> None:
    await store.put("job/a.bin", b"1", media_type=WAV, metadata={"n": "1"})
    assert files(root) == {"job", "job/a.bin", "job/.a.bin.meta"}
    info = await store.head("job/a.bin")
    assert (info.media_type, info.metadata) == (WAV, {"n": "1"})
    await store.delete("job/a.bin")
    assert files(root) == set()


@pytest.mark.parametrize(
    ("call", "number"), [("setxattr", errno.ENOTSUP), ("open", errno.EOPNOTSUPP)]
)
async def test_a_file_system_says_only_when_asked_what_it_lacks(
    store: Store, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    original, nameless = getattr(os, call), os.O_TMPFILE

    def refusing(path: Any, *arguments: Any, **options: Any) -> Any:
        if call == "setxattr" or arguments[0] & nameless == nameless:
            raise OSError(number, os.strerror(number))
        return original(path, *arguments, **options)

    monkeypatch.setattr(os, call, refusing)
    await store.put("job/a", b"1", media_type=WAV, metadata={"n": "1"})
    assert await store.get("job/a") == b"1"
    assert (await store.head("job/a")).metadata == {"n": "1"}


@pytest.mark.skipif(not draft.NAMELESS, reason="the system has no nameless files")
def test_a_folder_that_was_tidied_away_is_made_again(root: Path) -> None:
    unnamed = draft.Draft(str(root), f"{root}/job/a")
    unnamed.write(0, b"1")
    assert files(root) == {"job"}
    (root / "job").rmdir()
    assert unnamed.link()
    unnamed.close()
    assert (root / "job/a").read_bytes() == b"1"


async def test_metadata_that_an_earlier_version_wrote_are_read(store: Store, root: Path) -> None:
    (root / "a.wav").write_bytes(b"1")
    (root / ".a.wav.meta").write_text('{"media_type": "audio/flac", "metadata": {"n": "1"}}')
    info = await store.head("a.wav")
    assert (info.media_type, info.metadata) == ("audio/flac", {"n": "1"})


async def test_a_file_that_was_copied_here_is_an_object(store: Store, root: Path) -> None:
    (root / "b.mp3").write_bytes(b"1")
    (root / "b").write_bytes(b"1")
    assert await store.list("") == ["b", "b.mp3"]
    assert (await store.head("b.mp3")).media_type == "audio/mpeg"
    assert (await store.head("b")).media_type == "application/octet-stream"
    with pytest.raises(ObjectExists):
        await store.put("b", b"2", media_type=WAV)


async def test_drafts_of_the_dead_are_swept_with_their_key(store: Store, root: Path) -> None:
    await store.put("job/keep", b"1", media_type=WAV)
    drafts = [root / "job" / f".{name}.0123abcd.part" for name in ("token.wav", "other")]
    for path in drafts:
        path.write_bytes(b"half")
    assert await store.list("") == ["job/keep"]
    assert await store.sweep("job/to", keep="job/keep") == 1
    assert [path.exists() for path in drafts] == [False, True]
    assert await store.sweep("job/", keep="job/keep") == 1
    assert await store.list("") == ["job/keep"]


RACE = """
import asyncio, sys
from speechfleet.errors import ObjectExists
from speechfleet.store import open_store

async def main():
    store = open_store(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(40):
        try:
            await store.put(f"race/{number}/x", sys.argv[2].encode(), media_type="audio/wav",
                            metadata={"by": sys.argv[2]})
            print(number, flush=True)
        except ObjectExists:
            pass
    await store.close()

asyncio.run(main())
"""


async def test_of_many_processes_one_wins(store: Store) -> None:
    racers = [
        subprocess.Popen(  # noqa: ASYNC220 # the loop has nothing else to do
            [sys.executable, "-c", RACE, store.url, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [racer.communicate(timeout=180)[0].split() for racer in racers]
    assert sorted((number for numbers in won for number in numbers), key=int) == [
        str(number) for number in range(40)
    ]
    for by, numbers in enumerate(won):
        for number in numbers:
            assert await store.get(f"race/{number}/x") == str(by).encode()
            assert (await store.head(f"race/{number}/x")).metadata == {"by": str(by)}


def failing(number: int, times: int = 1) -> Callable[..., Any]:
    """An `os` function that fails first, then does what `os.pwrite` does."""
    left = [times]

    def call(*arguments: Any, **_: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return pwrite(*arguments)

    pwrite = os.pwrite
    return call


@pytest.mark.parametrize(
    ("number", "kind", "retryable"),
    [
        (errno.ENOSPC, StoreUnavailable, True),
        (errno.EDQUOT, StoreUnavailable, True),
        (errno.EIO, StoreUnavailable, True),
        (errno.EROFS, StoreDenied, False),
        (errno.EACCES, StoreDenied, False),
        (errno.EFBIG, StoreError, False),
    ],
)
async def test_errors_of_the_disk(
    store: Store,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[StoreError],
    retryable: bool,
) -> None:
    monkeypatch.setattr(os, "pwrite", failing(number))
    with pytest.raises(kind) as caught:
        await store.put("a", b"1", media_type=WAV)
    assert type(caught.value) is kind
    assert caught.value.retryable is retryable
    assert store.url in caught.value.message
    assert files(root) == set()


async def test_a_write_that_met_a_full_disk_is_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = store.upload("a", media_type=WAV)
    await upload.write(b"one ")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing(errno.ENOSPC, 2))
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await upload.write(b"two")
        await upload.write(b"two")
    await upload.commit()
    assert await store.get("a") == b"one two"


@pytest.mark.usefixtures("portable")
async def test_a_commit_that_failed_half_way_is_made_again(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = store.upload("a", media_type=WAV, metadata={"n": "1"})
    await upload.write(b"1")
    with monkeypatch.context() as patch:
        patch.setattr(draft, "_replace", failing(errno.EIO))
        with pytest.raises(StoreUnavailable):
            await upload.commit()
    await upload.commit()
    assert (await store.head("a")).metadata == {"n": "1"}
    assert files(root) == {"a", ".a.meta"}


async def test_a_file_system_without_hard_links(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EPERM, 9))
    with pytest.raises(StoreDenied, match="hard links"):
        await store.check()


async def test_a_folder_that_is_not_there_is_no_empty_store(tmp_path: Path) -> None:
    store = open_store((tmp_path / "unmounted").as_uri())
    calls = (
        store.put("a", b"", media_type=WAV),
        store.get("a"),
        store.head("a"),
        store.list(""),
        store.delete("a"),
        store.sweep("a"),
        store.check(),
    )
    for call in calls:
        with pytest.raises(StoreDenied, match="create the folder"):
            await call
    await store.close()
    assert not (tmp_path / "unmounted").exists()


BAD_URLS = "folder /folder http://x/y file:/// file://host/x s3:// s3:///key s3://bucket?x=1"


@pytest.mark.parametrize("url", ["", *BAD_URLS.split()])
def test_urls_that_are_no_store(url: str) -> None:
    with pytest.raises(MisconfiguredError, match="SPEECHFLEET_STORE"):
        open_store(url)


def test_no_secret_of_a_url_is_told() -> None:
    with pytest.raises(MisconfiguredError) as caught:
        open_store("s3://key:secret@bucket/prefix")
    assert "secret" not in caught.value.message


def test_a_url_is_read_as_it_is_written(tmp_path: Path) -> None:
    store = open_store("file://localhost" + (tmp_path / "ü b").as_uri().removeprefix("file://"))
    assert store.url == (tmp_path / "ü b").as_uri()


def test_s3_without_boto3_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speechfleet.store.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'speechfleet\[s3\]'"):
        open_store("s3://bucket/prefix")


def test_opening_imports_boto3_only_for_s3() -> None:
    program = (
        "import sys; from speechfleet.store import open_store; open_store('file:///x');"
        "assert 'botocore' not in sys.modules; open_store('s3://b/p');"
        "assert 'boto3' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=180)
