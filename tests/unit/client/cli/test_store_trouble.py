"""What a waiting user is told of the object store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from speechfleet.cli import connect
from speechfleet.errors import StoreUnavailable
from speechfleet.store.folder import FolderStore


class SilentStore(FolderStore):
    """Takes requests and answers none."""

    async def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError


class BrokenStore(FolderStore):
    async def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        raise StoreUnavailable("s3://bucket: no route to host")


async def test_a_store_that_answers_is_no_trouble(tmp_path: Path) -> None:
    assert await connect.store_trouble(FolderStore(tmp_path)) == ""


async def test_a_store_that_is_silent_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "STORE_ANSWER_S", 0.01)
    assert "no answer" in await connect.store_trouble(SilentStore(tmp_path))


async def test_a_store_that_refuses_is_told(tmp_path: Path) -> None:
    assert "no route to host" in await connect.store_trouble(BrokenStore(tmp_path))
