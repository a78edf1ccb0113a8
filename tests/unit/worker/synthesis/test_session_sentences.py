"""An unfinished sentence is spoken at a pause of its writer, not at an outage of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from speechfleet.ledger.lease import Written
from speechfleet.request import Lane, Request
from speechfleet.settings import Settings
from speechfleet.tts import TTSModelBase
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.base import Capabilities
from speechfleet_worker.synthesis.look_ahead import InFlightSegment
from speechfleet_worker.synthesis.model_cache import Voice
from speechfleet_worker.synthesis.session_sentences import READ_INTERVAL_S, SessionSentences
from speechfleet_worker.synthesis.session_text import SessionText
from tests.support.virtual_loop import run

PAUSE_S = 0.8
TEXT = "It rains in the hills."
REQUEST = Request("", "espeak/espeak-ng", lane=Lane.SESSION, open=True)


class Writer:
    """Writes pieces at their times; the server does not answer from ``lost`` to ``back``."""

    def __init__(self, pieces: dict[float, str], lost: float = 0.0, back: float = 0.0) -> None:
        self._pieces = pieces
        self._lost, self._back = lost, back

    async def read(self, offset: int, within: float) -> Written:
        clock = asyncio.get_running_loop().time
        end = clock() + min(within, READ_INTERVAL_S)
        coming = [at for at in self._pieces if at > clock()]
        await asyncio.sleep(min([end, *coming]) - clock())
        if self._lost <= clock() < self._back:
            await asyncio.sleep(self._back - clock())
        text = "".join(piece for at, piece in self._pieces.items() if at <= clock())
        tail = text.encode()[offset:].decode()
        return Written(tail, open=text != TEXT, unseen=0.0, unpushed=0.0)


def espeak() -> Voice:
    def build() -> TTSModelBase:
        return registry.build("espeak/espeak-ng", settings=Settings.load())

    return Voice(build, build(), Capabilities(), "en")


def spoken(writer: Writer) -> list[str]:
    """Return the sentences as they are cut."""
    voice = espeak()

    async def speak(_: InFlightSegment) -> None:
        """Give no audio: only the texts count here."""

    async def follow() -> list[str]:
        text = SessionText(REQUEST, voice, start=0, index=0, cold_start=(0, 0))
        async with SessionSentences(writer.read, text, speak, PAUSE_S) as sentences:
            return [item.segment.text async for item in sentences]

    return run(follow())


@pytest.mark.parametrize(
    ("writer", "expected"),
    [
        (lambda: Writer({0.1: "It rains ", 0.5: "in the hills."}), [TEXT]),
        (lambda: Writer({0.1: "It rains ", 2.0: "in the hills."}), ["It rains", "in the hills."]),
        (lambda: Writer({0.1: "It rains ", 6.0: "in the hills."}, lost=0.2, back=4.0), [TEXT]),
        (
            lambda: Writer({0.1: "It rains ", 9.0: "in the hills."}, lost=0.2, back=4.0),
            ["It rains", "in the hills."],
        ),
        (lambda: Writer({3.9: "It rains ", 6.0: "in the hills."}, lost=0.5, back=4.0), [TEXT]),
    ],
    ids=["no pause", "a pause", "an outage", "a pause after an outage", "text in an outage"],
)
def test_a_pause_cuts_and_an_outage_does_not(
    writer: Callable[[], Writer], expected: list[str]
) -> None:
    assert spoken(writer()) == expected


async def test_leaving_ends_the_calls_though_it_is_cancelled_again() -> None:
    speaking, leaving, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def read(offset: int, within: float) -> Written:
        if not offset:
            return Written("It rains. And so", open=True, unseen=0.0, unpushed=0.0)
        try:
            await asyncio.Event().wait()
        finally:
            leaving.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        raise AssertionError

    async def speak(_: InFlightSegment) -> None:
        speaking.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def follow() -> None:
        text = SessionText(REQUEST, espeak(), start=0, index=0, cold_start=(0, 0))
        async with SessionSentences(read, text, speak, PAUSE_S) as sentences:
            async for _ in sentences:
                await asyncio.Event().wait()

    following = asyncio.create_task(follow())
    await speaking.wait()
    following.cancel()
    await leaving.wait()
    following.cancel()
    await asyncio.wait([following])
    async with asyncio.timeout(60):
        await ended.wait()
