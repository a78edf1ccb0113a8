"""The watch over a connection to Redis whose peer may have gone silent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from speechfleet.ledger import silence
from speechfleet.ledger.reply_reader import ReplyReader
from speechfleet.ledger.silence import Watch

TIMEOUT_S = 30.0


class Reader(SimpleNamespace):
    """A reader without a connection, to which commands were just sent."""

    def __init__(self) -> None:
        super().__init__(is_busy=True)
        self.failed = asyncio.Event()
        self.hear()

    def hear(self) -> None:
        """Take a part of the replies."""
        self.silent_since = asyncio.get_running_loop().time()

    def forget(self) -> None:
        self.is_busy = False

    def fail(self, _: Exception) -> None:
        self.is_busy = False
        self.failed.set()


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "SILENCE_S", 0.0)
    monkeypatch.setattr(silence, "GRACE_S", 0.0)


def watch_of(
    reader: Reader, answers: Callable[[], Awaitable[bool]], timeout_s: float = TIMEOUT_S
) -> Watch:
    return Watch(cast("ReplyReader", reader), timeout_s, answers)


async def test_a_silent_connection_ends_where_the_server_answers_others() -> None:
    async def answers() -> bool:
        return True

    reader = Reader()
    watch = watch_of(reader, answers)
    watch.begin()
    await reader.failed.wait()


async def test_a_server_that_stands_still_is_waited_for_until_the_time_is_over() -> None:
    asked = asyncio.Event()

    async def answers() -> bool:
        asked.set()
        return False

    reader = Reader()
    watch = watch_of(reader, answers, timeout_s=0.05)
    watch.begin()
    await asked.wait()
    assert not reader.failed.is_set()
    await reader.failed.wait()


async def test_a_connection_that_speaks_again_meanwhile_stays() -> None:
    """It did while another connection was tried; when it falls silent again, it ends."""
    asked, may_answer = asyncio.Event(), asyncio.Event()
    answers_now: list[bool] = []

    async def answers() -> bool:
        asked.set()
        await may_answer.wait()
        answers_now.append(True)
        return True

    reader = Reader()
    watch = watch_of(reader, answers)
    watch.begin()
    await asked.wait()
    reader.hear()
    watch.begin()
    looking: Any = watch._task
    may_answer.set()
    await looking
    assert not reader.failed.is_set()
    await reader.failed.wait()
    assert len(answers_now) == 2


async def test_a_watch_that_is_stopped_looks_no_more() -> None:
    async def answers() -> bool:
        raise AssertionError("asked")

    reader = Reader()
    watch = watch_of(reader, answers)
    watch.begin()
    watch.stop()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not reader.failed.is_set()


async def test_a_watch_ends_no_connection_that_is_given_up() -> None:
    """Also where asking a Sentinel has swallowed its cancellation."""
    asked = asyncio.Event()

    async def answers() -> bool:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return True
        return False

    reader = Reader()
    watch = watch_of(reader, answers)
    watch.begin()
    await asked.wait()
    looking: Any = watch._task
    reader.forget()
    watch.stop()
    await looking
    assert not reader.failed.is_set()
