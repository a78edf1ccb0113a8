"""The watch over an exchange with Redis whose peer may have gone silent."""

from __future__ import annotations

import asyncio

import pytest

from speechfleet.ledger import pipeline


async def test_a_watch_ends_no_exchange_that_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where asking a Sentinel has swallowed its cancellation."""
    monkeypatch.setattr(pipeline, "SILENCE_S", 0.0)
    monkeypatch.setattr(pipeline, "GRACE_S", 0.0)
    asked = asyncio.Event()

    async def answers() -> bool:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return True
        return False

    async with asyncio.timeout(None) as limit:
        watch = pipeline._Watch(limit, [], 30.0, answers)
        await asked.wait()
        watch.stop()
    assert watch._task is not None
    await watch._task
