"""A long text is cut in a thread, and spoken like any other."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from speechfleet.record import StoredSegment
from speechfleet.request import Lane, Request
from speechfleet.spoken_form import SpokenForm
from speechfleet_worker.segmentation import TextSegment
from speechfleet_worker.synthesis.long_text import LongTextSource, text_read_at_once
from speechfleet_worker.synthesis.look_ahead import InFlightSegment


def segments(count: int, threads: set[int]) -> Iterator[TextSegment]:
    for index in range(count):
        threads.add(threading.get_ident())
        yield TextSegment(index, index, index + 1, str(index))


async def heard(count: int, ahead: int) -> tuple[list[tuple[str, bool]], set[int], int]:
    """The texts in order and which is the last, the threads that cut, the most under way."""
    threads: set[int] = set()
    under_way = most = 0

    async def speak(item: InFlightSegment) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await item.turn.wait()
        under_way -= 1

    spoken: list[tuple[str, bool]] = []
    async with LongTextSource(segments(count, threads), speak, ahead) as source:
        async for item in source:
            source.fill()
            assert item.task is not None
            await item.task
            spoken.append((item.segment.text, item.is_last))
    return spoken, threads, most


@pytest.mark.parametrize("ahead", [0, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 9])
async def test_segments_are_spoken_in_order_and_the_last_is_known(count: int, ahead: int) -> None:
    spoken, threads, most = await heard(count, ahead)
    assert spoken == [(str(index), index == count - 1) for index in range(count)]
    assert threading.get_ident() not in threads
    assert most <= ahead + 1


async def test_the_loop_runs_while_a_text_is_cut() -> None:
    ticked = asyncio.Event()

    def slow() -> Iterator[TextSegment]:
        assert asyncio.run_coroutine_threadsafe(ticked.wait(), loop).result(60)
        yield TextSegment(0, 0, 1, "a")

    async def speak(item: InFlightSegment) -> None:
        await item.turn.wait()

    loop = asyncio.get_running_loop()
    loop.call_soon(ticked.set)
    async with LongTextSource(slow(), speak, 0) as source:
        assert [item.is_last async for item in source] == [True]


async def test_the_first_call_waits_for_two_segments_only() -> None:
    cut = 0
    cut_before_call: list[int] = []

    def counted() -> Iterator[TextSegment]:
        nonlocal cut
        for segment in segments(9, set()):
            cut += 1
            yield segment

    async def speak(item: InFlightSegment) -> None:
        cut_before_call.append(cut)
        await item.turn.wait()

    async with LongTextSource(counted(), speak, 3) as source:
        async for item in source:
            assert item.task is not None
            await item.task
    assert cut_before_call[0] == 2
    assert len(cut_before_call) == 9


async def test_an_error_in_the_text_that_is_cut_ahead_is_raised() -> None:
    def broken() -> Iterator[TextSegment]:
        yield from segments(3, set())
        raise ValueError("it cannot be cut")

    async def speak(item: InFlightSegment) -> None:
        await item.turn.wait()

    async with LongTextSource(broken(), speak, 3) as source:
        with pytest.raises(ValueError, match="it cannot be cut"):
            _ = [item async for item in source]


AS_WRITTEN, MADE_SPEAKABLE = SpokenForm(speakable="off"), SpokenForm(speakable="plain")
DONE = [StoredSegment(0, 0, 10, 0, 4, "hash")]


@pytest.mark.parametrize(
    ("lane", "form", "done", "read"),
    [
        pytest.param(Lane.LIVE, AS_WRITTEN, [], "", id="cut as it is spoken"),
        pytest.param(Lane.LIVE, AS_WRITTEN, DONE, "One. Two.", id="goes on behind a segment"),
        pytest.param(Lane.LIVE, MADE_SPEAKABLE, [], "One. Two.", id="made speakable first"),
        pytest.param(Lane.SESSION, MADE_SPEAKABLE, DONE, "", id="a session"),
    ],
)
def test_a_text_that_is_only_cut_lazily_is_not_read_at_once(
    lane: Lane, form: SpokenForm, done: list[StoredSegment], read: str
) -> None:
    request = Request("One. Two.", "openai/tts-1", lane=lane, form=form)
    assert text_read_at_once(request, done) == read
