"""A worker that starts does not wait for a store that gives no answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from speechfleet.settings import Settings
from speechfleet.store.folder import FolderStore
from speechfleet_worker import run


class SilentStore(FolderStore):
    """Takes calls and ends none."""

    async def check(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        await asyncio.Event().wait()


async def test_a_silent_store_is_told_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run, "open_store", lambda _: SilentStore(tmp_path))
    monkeypatch.setattr(run, "STORE_CHECK_S", 0.01)
    await run.check_store(Settings.load(store=tmp_path.as_uri()))
    assert "does not answer" in caplog.text
    for task in run._background:
        task.cancel()
    run._background.clear()
