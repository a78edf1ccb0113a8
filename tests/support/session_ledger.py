"""A ledger in memory, for handles of the client that need a few answers of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

from speechfleet.context import Context
from speechfleet.errors import JobNotFound
from speechfleet.ledger.workers import WorkerInfo
from speechfleet.lifecycle import State
from speechfleet.record import Record
from speechfleet.request import Request
from speechfleet.settings import Settings


def record_of(id: str, state: State = State.QUEUED, **fields: str) -> Record:
    """A record as Redis would give it."""
    return Record("default", id, {"state": state.value, "epoch": "1", "v": "1", **fields})


class StubJobs:
    """Answers of the jobs' part: each is taken from ``failures`` first."""

    def __init__(self) -> None:
        self.record: Record | None = None
        self.failures: list[Exception] = []
        self.pushed: list[tuple[str, int, bool]] = []
        self.submitted: list[tuple[Any, ...]] = []
        self.cancelled: list[str] = []

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)

    async def load(self, namespace: str, id: str) -> Record:
        self._fail()
        if self.record is None:
            raise JobNotFound(id)
        return self.record

    async def find(self, namespace: str, id: str) -> Record | None:
        return self.record

    async def push(
        self, namespace: str, id: str, text: str, known: int = 0, *, complete: bool = False
    ) -> None:
        self._fail()
        self.pushed.append((text, known, complete))

    async def submit(self, namespace: str, id: str, request: Request, *how: str) -> Any:
        self._fail()
        self.submitted.append((id, request, *how))
        return SimpleNamespace(new=True, state=State.QUEUED)

    async def cancel(self, namespace: str, id: str, reason: str, *_: object) -> bool:
        self.cancelled.append(reason)
        return True


class StubWorkers:
    """The living workers, and why a job waits."""

    def __init__(self) -> None:
        self.alive: list[WorkerInfo] = []
        self.why = "in line"

    async def waiting(self, record: Record) -> str:
        return self.why if record.state is State.QUEUED else ""

    async def known(self) -> list[WorkerInfo]:
        return self.alive


class StubLedger:
    """The parts of a ledger that handles use."""

    def __init__(self) -> None:
        self.jobs = StubJobs()
        self.workers = StubWorkers()
        self.streams = SimpleNamespace(channels=self)
        self.published: asyncio.Queue[bytes] = asyncio.Queue()

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncGenerator[asyncio.Queue[bytes], None]:
        yield self.published

    def context(self, **settings: Any) -> Context:
        """A context that has this ledger."""
        return cast(
            "Context",
            SimpleNamespace(settings=Settings.load(**settings), namespace="default", ledger=self),
        )
