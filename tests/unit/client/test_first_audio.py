"""The time that the first audio of a job or session may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest

from speechfleet.chunks import Chunk
from speechfleet.errors import FirstAudioTimeout
from speechfleet.first_audio import FirstAudioDeadline, first_audio_in_time
from tests.support.virtual_loop import run


async def chunks(*pauses: float, empty: int = 0) -> AsyncGenerator[Chunk, None]:
    for n, pause in enumerate(pauses):
        await asyncio.sleep(pause)
        data = b"" if n < empty else b"ab"
        yield Chunk(data, 0, len(data), 24_000)


@pytest.mark.parametrize(
    ("pauses", "empty", "in_time"),
    [
        ((0.9, 60.0, 60.0), 0, True),
        ((1.1,), 0, False),
        ((0.5, 0.4, 60.0), 1, True),
        ((0.5, 0.6), 1, False),
        ((), 0, True),
    ],
    ids=["later ones may be late", "late", "empty ones before", "only empty ones", "none"],
)
def test_only_the_first_audio_has_to_be_in_time(
    pauses: tuple[float, ...], empty: int, in_time: bool
) -> None:
    async def listen() -> int:
        source = chunks(*pauses, empty=empty)
        return len([c async for c in first_audio_in_time(source, "job 'a'", 1.0)])

    if in_time:
        assert run(listen()) == len(pauses)
    else:
        with pytest.raises(FirstAudioTimeout, match="job 'a' gave no audio within 1 s") as caught:
            run(listen())
        assert (caught.value.code, caught.value.retryable) == ("no_audio_in_time", True)


@pytest.mark.parametrize(
    ("texts", "passes"),
    [((), None), ((0.0,), 5.0), ((3.0, 4.0, 4.0), 16.0)],
    ids=["no text", "one text", "more and more text"],
)
def test_a_session_counts_from_its_latest_text(
    texts: tuple[float, ...], passes: float | None
) -> None:
    async def wait() -> float | None:
        clock: Callable[[], float] = asyncio.get_running_loop().time
        deadline, start = FirstAudioDeadline(5.0), clock()
        waiting = asyncio.create_task(deadline.pass_by())
        for pause in texts:
            await asyncio.sleep(pause)
            deadline.text_was_sent()
        done, _ = await asyncio.wait([waiting], timeout=100)
        waiting.cancel()
        return round(clock() - start, 3) if done else None

    assert run(wait()) == passes
