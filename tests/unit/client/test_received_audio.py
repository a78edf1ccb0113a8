"""The audio of a session, for those who ask now and then and for those who listen."""

from __future__ import annotations

import asyncio

import pytest

from speechfleet.accumulator import Accumulator
from speechfleet.chunks import (
    AudioEntry,
    Chunk,
    Entry,
    Finished,
    MarkEntry,
    Rewind,
    Started,
    WordsEntry,
)
from speechfleet.errors import JobFailed
from speechfleet.received_audio import ReceivedAudio

STARTED = Started(1, "w", "m", "v", "audio/pcm;rate=24000", 24_000)


class Session:
    """Received audio, and the stream that fills it."""

    def __init__(self) -> None:
        self.audio = ReceivedAudio()
        self._accumulator = Accumulator()
        self.hear(STARTED)

    def hear(self, entry: Entry) -> None:
        if chunk := self._accumulator.feed(entry):
            self.audio.take(chunk)

    def say(self, data: bytes, offset: int) -> None:
        self.hear(AudioEntry(offset, offset + len(data), data))

    def end(self, size: int) -> None:
        self.hear(Finished(size, 0, "", ""))


async def everything(audio: ReceivedAudio, *, until_silenced: bool = False) -> list[Chunk]:
    return [chunk async for chunk in audio.chunks(until_silenced=until_silenced)]


async def test_each_listener_hears_everything_whenever_it_begins() -> None:
    session = Session()
    early = asyncio.create_task(everything(session.audio))
    session.say(b"one ", 0)
    await asyncio.sleep(0)
    late = asyncio.create_task(everything(session.audio))
    session.say(b"two ", 4)
    await asyncio.sleep(0)
    session.end(8)
    for chunks in (await early, await late, await everything(session.audio)):
        assert b"".join(chunk.delta for chunk in chunks) == b"one two "
        assert chunks[-1].is_last


async def test_a_rewind_reaches_those_who_were_given_what_is_void() -> None:
    session = Session()
    first, second = session.audio.chunks(), session.audio.chunks()
    session.say(b"one two ", 0)
    assert (await anext(first)).delta == b"one two "
    session.hear(Rewind(4, 2, "lost"))
    session.say(b"new ", 4)
    chunk = await anext(first)
    assert (chunk.rewound, chunk.offset, chunk.delta) == (True, 4, b"new ")
    chunk = await anext(second)
    assert (chunk.rewound, chunk.offset, chunk.delta) == (False, 0, b"one new ")
    await first.aclose()
    await second.aclose()


async def test_a_failure_comes_after_the_audio_that_there_is() -> None:
    session = Session()
    session.say(b"one ", 0)
    session.audio.fail(JobFailed("no more"))
    chunks = session.audio.chunks()
    assert (await anext(chunks)).delta == b"one "
    with pytest.raises(JobFailed, match="no more"):
        await anext(chunks)
    with pytest.raises(JobFailed):
        session.audio.raise_failure()


async def test_silence_ends_those_who_want_it_so_and_hides_the_error() -> None:
    session = Session()
    listener = asyncio.create_task(everything(session.audio, until_silenced=True))
    await asyncio.sleep(0)
    session.audio.silence()
    session.audio.fail(JobFailed("cancelled"))
    assert await listener == []
    with pytest.raises(JobFailed):
        await everything(session.audio)


async def test_what_was_given_to_pushes_is_not_what_was_given_to_listeners() -> None:
    session = Session()
    session.say(b"one ", 0)
    assert session.audio.since_last_push().delta == b"one "
    assert session.audio.since_last_push().delta == b""
    session.end(4)
    assert [chunk.delta for chunk in await everything(session.audio)] == [b"one "]


async def test_every_mark_is_told_once_to_each_and_words_as_soon_as_they_are_known() -> None:
    session = Session()
    early = session.audio.chunks()
    session.hear(MarkEntry(0, 0, 0, 5))
    session.say(b"one ", 0)
    assert [mark.index for mark in (await anext(early)).marks] == [0]
    session.hear(WordsEntry(0, 0, "provider", "[[0, 3, 0, 4]]"))
    chunk = await anext(early)
    assert (chunk.delta, len(chunk.words), chunk.marks) == (b"", 1, ())
    session.hear(MarkEntry(1, 4, 5, 9))
    session.say(b"two ", 4)
    assert [mark.index for mark in (await anext(early)).marks] == [1]
    session.end(8)
    [late] = await everything(session.audio)
    assert [mark.index for mark in late.marks] == [0, 1]
    assert session.audio.heard(4) == 5
    await early.aclose()
