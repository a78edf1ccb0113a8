"""The periodic work: when it is due."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from speechfleet_worker.maintenance.sweeper import _repeat

EVERY_S = 0.02
TIMES = 20


async def test_work_is_due_once_for_each_multiple_of_its_interval() -> None:
    loop, called, enough = asyncio.get_running_loop(), list[float](), asyncio.Event()

    async def work() -> None:
        called.append(loop.time())
        if len(called) == TIMES:
            enough.set()

    repeating = asyncio.create_task(_repeat(work, EVERY_S))
    await enough.wait()
    repeating.cancel()
    # A timer that is a little early does not find its own moment again.
    assert min(later - earlier for earlier, later in pairwise(called)) > EVERY_S / 20


async def test_work_that_fails_is_due_again() -> None:
    calls, again = 0, asyncio.Event()

    async def work() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            again.set()
        raise ValueError("broken")

    repeating = asyncio.create_task(_repeat(work, EVERY_S))
    await again.wait()
    repeating.cancel()
