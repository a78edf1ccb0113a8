"""The checks of input files that one gateway has taken."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from speechfleet.client import AsyncClient
from speechfleet.gateway.batches.batch_checks import BatchChecks
from speechfleet.gateway.offered_models import ModelCache

TAKEN = ("tenant", "batch")


class Orders:
    """Hands out one batch again and again, as if its lease were always over."""

    def __init__(self) -> None:
        self.taken = 0
        self.asked = asyncio.Event()

    async def take(self, lease_s: float) -> tuple[str, str] | None:
        self.taken += 1
        if self.taken > 3:
            self.asked.set()
            return None
        return TAKEN


async def test_a_batch_is_checked_once_although_its_lease_ran_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked: list[Any] = []

    async def check(checks: BatchChecks, *taken: str) -> None:
        checked.append(taken)
        await asyncio.Event().wait()

    async def open() -> None:
        pass

    monkeypatch.setattr(BatchChecks, "_check", check)
    orders = Orders()
    client = SimpleNamespace(ledger=SimpleNamespace(open=open, batch_orders=orders))
    running = asyncio.create_task(BatchChecks(cast(AsyncClient, client), ModelCache()).run())
    await orders.asked.wait()
    running.cancel()
    await asyncio.wait([running])
    assert checked == [TAKEN]
