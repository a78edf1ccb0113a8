"""`in_thread`: what a thread works with is not closed under it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from speechfleet.in_thread import in_thread


async def test_results_and_errors_come_back() -> None:
    assert await in_thread(sorted, [2, 1], reverse=True) == [2, 1]
    with pytest.raises(ValueError, match="bad"):
        await in_thread(fail)


def fail() -> None:
    raise ValueError("bad")


@pytest.mark.parametrize("ends_badly", [False, True], ids=["well", "badly"])
async def test_a_cancelled_caller_waits_for_its_thread(ends_badly: bool) -> None:
    begun, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def work() -> None:
        begun.set()
        go_on.wait()
        order.append("work")
        if ends_badly:
            raise ValueError("bad")

    async def caller() -> None:
        try:
            await in_thread(work)
        finally:
            order.append("closed")

    task = asyncio.ensure_future(caller())
    await asyncio.to_thread(begun.wait)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert order == []
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert order == ["work", "closed"]
