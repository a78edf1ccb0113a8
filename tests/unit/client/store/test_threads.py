"""The threads of a store: a call that hangs or spins is given up, and takes nothing with it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from speechfleet.errors import StoreDenied, StoreUnavailable
from speechfleet.store import threads as module
from speechfleet.store.threads import MAX_STUCK, Threads, progress

SHORT_S = 1.0
"""A thread that works may wait for the machine meanwhile."""
PATIENT_S = 60.0
"""For calls that are not to be given up."""


@contextmanager
def unmapped() -> Iterator[None]:
    yield


class Renewals:
    """Counts how often the store was asked for a new client."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def renewals() -> Renewals:
    return Renewals()


@pytest.fixture
async def threads(renewals: Renewals) -> Threads:
    return Threads(unmapped, renewals, threads=2, silence=SHORT_S)


def spin() -> None:
    """As botocore does where a connection ends within "100 Continue"."""
    for _ in count():
        pass


async def until_idle(threads: Threads, left: int) -> None:
    for _ in range(60_000):
        if threads.count <= left:
            return
        await asyncio.sleep(0.001)
    pytest.fail(f"{threads.count} threads are left")


async def test_a_call_that_spins_is_given_up_and_its_thread_ends(
    threads: Threads, renewals: Renewals
) -> None:
    with pytest.raises(StoreUnavailable, match="may be tried again") as caught:
        await threads.run(spin)
    assert caught.value.retryable
    assert renewals.count == 1
    threads._silence = PATIENT_S
    await until_idle(threads, left=0)
    assert await threads.run(lambda: "next") == "next"


async def test_calls_that_hang_do_not_hold_up_others(threads: Threads) -> None:
    go_on = threading.Event()
    hanging = [asyncio.ensure_future(threads.run(go_on.wait)) for _ in range(6)]
    await asyncio.sleep(0)
    threads._silence = PATIENT_S
    assert await threads.run(lambda: "next") == "next"
    for error in await asyncio.gather(*hanging, return_exceptions=True):
        assert isinstance(error, StoreUnavailable)
    assert threads.count <= 6 + 2
    go_on.set()
    await until_idle(threads, left=2)
    await threads.close()


async def test_a_hanging_call_whose_caller_left_gives_its_thread_back(threads: Threads) -> None:
    go_on = threading.Event()
    for _ in range(2):
        begun = threading.Event()

        def hang(begun: threading.Event = begun) -> None:
            begun.set()
            go_on.wait()

        leaving = asyncio.ensure_future(threads.run(hang))
        await asyncio.to_thread(begun.wait)
        leaving.cancel()
    assert await threads.run(lambda: "next") == "next"
    go_on.set()


async def test_too_many_hanging_calls_refuse_further_ones(threads: Threads) -> None:
    go_on = threading.Event()
    hanging = [asyncio.ensure_future(threads.run(go_on.wait)) for _ in range(MAX_STUCK)]
    await asyncio.gather(*hanging, return_exceptions=True)
    with pytest.raises(StoreUnavailable, match="hang"):
        await threads.run(lambda: "next")
    go_on.set()
    threads._silence = PATIENT_S
    await until_idle(threads, left=2)
    assert await threads.run(lambda: "next") == "next"


async def test_a_call_that_makes_progress_is_waited_for(threads: Threads) -> None:
    def work() -> str:
        end = time.monotonic() + 3 * SHORT_S
        while time.monotonic() < end:
            progress()
        return "done"

    assert await threads.run(work) == "done"


async def test_a_call_that_sends_much_gets_more_time(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLOWEST_BYTES_PER_S", 1_000)
    end = time.monotonic() + 2 * SHORT_S

    def work() -> str:
        while time.monotonic() < end:
            pass
        return "sent"

    assert await threads.run(work, size=5_000) == "sent"


async def test_waiting_for_a_thread_does_not_count(threads: Threads) -> None:
    """Each call takes a twentieth of its time; the last one waits for longer than all of it."""
    threads._silence = 3 * SHORT_S

    def work() -> None:
        time.sleep(0.15 * SHORT_S)

    await asyncio.gather(*(threads.run(work) for _ in range(48)))


async def test_a_cancelled_call_that_has_not_begun_never_does(threads: Threads) -> None:
    threads._silence = PATIENT_S
    go_on, done = threading.Event(), list[str]()
    busy = [asyncio.ensure_future(threads.run(go_on.wait)) for _ in range(2)]
    queued = asyncio.ensure_future(threads.run(lambda: done.append("queued")))
    await asyncio.sleep(0)
    queued.cancel()
    await asyncio.gather(queued, return_exceptions=True)
    go_on.set()
    await asyncio.gather(*busy)
    await threads.run(lambda: None)
    assert not done


async def test_errors_are_mapped_and_raised() -> None:
    @contextmanager
    def mapping() -> Iterator[None]:
        try:
            yield
        except OSError:
            raise StoreDenied("so it is") from None

    def fail() -> None:
        raise OSError

    threads = Threads(mapping)
    with pytest.raises(StoreDenied):
        await threads.run(fail)
    await threads.close()


async def test_closing_waits_for_what_runs_and_is_idempotent(threads: Threads) -> None:
    threads._silence = PATIENT_S
    done: list[str] = []

    def work() -> None:
        time.sleep(0.2 * SHORT_S)
        done.append("work")

    calls = [asyncio.ensure_future(threads.run(work)) for _ in range(4)]
    await asyncio.sleep(0)
    await threads.close()
    assert len(done) == 4
    await asyncio.gather(*calls)
    await threads.close()
    with pytest.raises(RuntimeError, match="closed"):
        await threads.run(work)
    await until_idle(threads, left=0)


async def test_closing_gives_up_what_hangs(threads: Threads) -> None:
    go_on = threading.Event()
    hanging = asyncio.ensure_future(threads.run(go_on.wait))
    await asyncio.sleep(0)
    await threads.close()
    with pytest.raises(StoreUnavailable):
        await hanging
    go_on.set()
