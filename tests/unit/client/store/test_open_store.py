"""Stores by their URL, and objects as files of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechfleet.errors import InvalidRequest, MisconfiguredError
from speechfleet.store import open_store


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket?secret=hunter2",
        "s3://bucket/prefix#hunter2",
        "file:///folder?token=hunter2",
        "s3://key:hunter2@bucket",
        "http://hunter2@host/?hunter2#hunter2",
    ],
)
def test_no_secret_of_a_wrong_url_is_quoted(url: str) -> None:
    with pytest.raises(MisconfiguredError, match="SPEECHFLEET_STORE must be") as refused:
        open_store(url)
    assert "hunter2" not in refused.value.message


async def test_a_folder_has_its_objects_as_files(tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri())
    await store.put("a/b.wav", b"RIFF", media_type="audio/wav")
    path = store.local_path("a/b.wav")
    assert path is not None
    assert path.read_bytes() == b"RIFF"
    for key in ("/etc/passwd", "../x", "a/../../x", ""):
        with pytest.raises(InvalidRequest):
            store.local_path(key)
    await store.close()


async def test_a_bucket_has_no_files(s3_store_url: str) -> None:
    store = open_store(s3_store_url)
    assert store.local_path("a/b.wav") is None
    with pytest.raises(InvalidRequest):
        store.local_path("../x")
    await store.close()
