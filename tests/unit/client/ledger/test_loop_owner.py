"""Who may use connections: one event loop at a time, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

from speechfleet.errors import InvalidRequest
from speechfleet.ledger.loop_owner import LoopOwner

T = TypeVar("T")


def on_loop(call: Callable[[], T], loop: asyncio.AbstractEventLoop | None = None) -> T:
    """Call it on a loop: on this one, or on one that is closed afterwards."""

    async def called() -> T:
        return call()

    if loop is not None:
        return loop.run_until_complete(called())
    return asyncio.run(called())


def test_the_first_loop_takes_them() -> None:
    owner = LoopOwner()
    assert on_loop(lambda: (owner.moved(), owner.moved())) == (False, False)


def test_a_loop_that_was_closed_gives_them_up() -> None:
    owner = LoopOwner()
    on_loop(owner.moved)
    assert on_loop(lambda: (owner.moved(), owner.moved())) == (True, False)


def test_a_second_loop_is_refused_while_the_first_one_is_open() -> None:
    owner, first = LoopOwner(), asyncio.new_event_loop()
    on_loop(owner.moved, first)
    with pytest.raises(InvalidRequest, match="another event loop") as caught:
        on_loop(owner.moved)
    assert caught.value.code == "wrong_loop"
    assert on_loop(owner.moved, first) is False
    first.close()


def test_another_process_gets_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    owner, parents = LoopOwner(), asyncio.new_event_loop()
    on_loop(owner.moved, parents)
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert on_loop(owner.moved) is True
    parents.close()


def test_after_the_end_every_use_is_refused() -> None:
    owner = LoopOwner()
    assert on_loop(owner.leave) is True
    with pytest.raises(InvalidRequest, match="closed") as caught:
        on_loop(owner.moved)
    assert caught.value.code == "client_closed"


def test_connections_of_another_loop_are_not_for_closing() -> None:
    owner = LoopOwner()
    on_loop(owner.moved)
    assert on_loop(owner.leave) is False
