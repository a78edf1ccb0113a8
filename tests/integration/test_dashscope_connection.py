"""The lower level of DashScope realtime, which sessions of a fleet are driven by."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from speechfleet.errors import IncompleteAudio, ProviderTimeout, ProviderUnavailable
from speechfleet.settings import Timeouts
from speechfleet_worker.providers.base import Audio
from speechfleet_worker.providers.dashscope.connection import (
    Finished,
    RealtimeConnection,
    ResponseDone,
)
from speechfleet_worker.testing.conformance import SLOW
from speechfleet_worker.testing.dashscope_realtime_server import DashScopeRealtimeServer
from speechfleet_worker.testing.wire import Fault, speech

pytestmark = pytest.mark.usefixtures("rehearsed")


async def opened(server: DashScopeRealtimeServer | None, **settings: Any) -> RealtimeConnection:
    return await RealtimeConnection.open(
        **{
            "api_key": "sk-connection",
            "model": "qwen3-tts-flash-realtime",
            "session": {"voice": "Cherry", "response_format": "pcm", "sample_rate": 24000},
            "url": server.websocket_url if server else None,
            **settings,
        }
    )


async def spoken_by(connection: RealtimeConnection) -> tuple[list[bytes], list[Any]]:
    """The audio response by response, and all other events."""
    audio, others = [bytearray()], []
    async for event in connection:
        if isinstance(event, Audio):
            audio[-1] += event.data
        else:
            others.append(event)
        if isinstance(event, ResponseDone):
            audio.append(bytearray())
    return [bytes(a) for a in audio], others


async def test_each_commit_has_its_response() -> None:
    sentences = ["First. ", "Second, 你好. ", "Third."]
    async with DashScopeRealtimeServer() as server, await opened(server) as connection:
        for index, sentence in enumerate(sentences):
            await connection.append(sentence)
            assert await connection.commit() == index
        await connection.finish()
        audio, events = await spoken_by(connection)
        assert audio == [*(speech(sentence) for sentence in sentences), b""]
        assert [e.index for e in events[:-1]] == [0, 1, 2]
        assert [e.usage.characters for e in events[:-1]] == [server.count(s) for s in sentences]
        assert isinstance(events[-1], Finished)
        assert events[-1].usage.characters == server.characters
        assert events[-1].session_id == connection.session_id == "sess_1"
        assert [e async for e in connection] == [], "an iteration that is over stays over"


async def test_text_may_be_committed_while_earlier_text_is_spoken() -> None:
    async with DashScopeRealtimeServer(pace=0.2) as server, await opened(server) as connection:
        await connection.append("First. ")
        await connection.commit()
        first = await anext(connection)
        assert isinstance(first, Audio)
        await connection.append("Second.")
        await connection.commit()
        await connection.finish()
        audio, _ = await spoken_by(connection)
        assert first.data + audio[0] == speech("First. ")
        assert audio[1] == speech("Second.")


async def test_finish_commits_what_was_appended_and_is_idempotent() -> None:
    async with DashScopeRealtimeServer() as server, await opened(server) as connection:
        await connection.append("Rest.")
        await connection.finish()
        await connection.finish()
        audio, events = await spoken_by(connection)
        assert audio[0] == speech("Rest.")
        assert [type(e) for e in events] == [ResponseDone, Finished]


async def test_nothing_appended_is_nothing_to_commit() -> None:
    async with DashScopeRealtimeServer() as server, await opened(server) as connection:
        assert not connection.uncommitted
        with pytest.raises(RuntimeError, match="nothing was appended"):
            await connection.commit()
        await connection.append("Wrong.")
        assert connection.uncommitted
        await connection.clear()
        with pytest.raises(RuntimeError, match="nothing was appended"):
            await connection.commit()
        await connection.append("Right.")
        await connection.finish()
        assert (await spoken_by(connection))[0][0] == speech("Right.")


async def test_a_response_can_be_cancelled_and_the_session_goes_on() -> None:
    async with DashScopeRealtimeServer(pace=SLOW) as server, await opened(server) as connection:
        await connection.append("This will be cut short by somebody who speaks. ")
        await connection.commit()
        assert isinstance(await anext(connection), Audio)
        await connection.cancel()
        event = await anext(connection)
        while isinstance(event, Audio):
            event = await anext(connection)
        assert isinstance(event, ResponseDone)
        assert event.cancelled
        server.pace = 0.0
        await connection.append("Next.")
        await connection.finish()
        audio, events = await spoken_by(connection)
        assert audio[0] == speech("Next.")
        assert [e.index for e in events[:-1]] == [1]
        assert not events[0].cancelled


async def test_in_server_commit_mode_the_server_decides() -> None:
    async with DashScopeRealtimeServer() as server:
        async with await opened(server, mode="server_commit") as connection:
            for piece in ("One. Tw", "o. Thr", "ee"):
                await connection.append(piece)
            await connection.finish()
            audio, _ = await spoken_by(connection)
            assert b"".join(audio) == speech("One. Two. Three")
        assert server.calls[0].request["responses"] == ["One. ", "Two. ", "Three"]


async def test_closing_ends_it_at_once_and_twice_is_once() -> None:
    async with DashScopeRealtimeServer(pace=SLOW) as server:
        connection = await opened(server)
        await connection.append("A long sentence, spoken in real time.")
        await connection.commit()
        await anext(connection)
        await connection.close()
        await connection.close()
        await server.until(lambda s: s.calls[0].outcome == "aborted", timeout=60)
        with pytest.raises((RuntimeError, ProviderUnavailable)):
            await connection.append("more")


async def test_a_failure_is_raised_again_by_every_later_send() -> None:
    async with DashScopeRealtimeServer() as server:
        server.script(Fault("close_1011"))
        async with await opened(server) as connection:
            await connection.append("Hello, world.")
            await connection.commit()
            with pytest.raises(ProviderUnavailable, match="1011") as raised:
                await spoken_by(connection)
            assert raised.value.request_id == "sess_1"
            with pytest.raises(ProviderUnavailable, match="1011"):
                await connection.append("more")


async def test_the_watchdog_bites_only_who_owes_something() -> None:
    timeouts = Timeouts(first_audio=0.3, silence=0.3)
    async with DashScopeRealtimeServer() as server:
        server.script(Fault("stall", after=0))
        async with await opened(server, timeouts=timeouts) as connection:
            idle = asyncio.ensure_future(anext(connection))
            done, _ = await asyncio.wait([idle], timeout=0.6)
            assert not done, "an idle session may idle"
            await connection.append("Hello.")
            await connection.commit()
            with pytest.raises(ProviderTimeout, match="first audio"):
                await idle


async def test_a_session_that_finishes_without_speaking_a_commit_is_incomplete() -> None:
    async with DashScopeRealtimeServer() as server, await opened(server) as connection:
        await connection.append("Hello.")
        await connection.commit()
        connection._commits += 1  # as if one more had been sent
        await connection.finish()
        with pytest.raises(IncompleteAudio, match="1 of 2 commits"):
            await spoken_by(connection)


PATIENT = Timeouts(connect=120.0, first_audio=120.0, silence=120.0)
TRIES = 3
LARGEST_SHARE = 0.6
"""Of the CPU of all sessions, for one turn of the loop: a third where nothing else runs."""
SERVER = """
import asyncio, sys
from speechfleet_worker.testing.dashscope_realtime_server import DashScopeRealtimeServer

async def main():
    async with DashScopeRealtimeServer(pace=0.1) as server:
        print(server.websocket_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)  # until our parent ends

asyncio.run(main())
"""


async def test_two_hundred_sessions_at_once_need_no_thread_and_leave_the_loop_responsive() -> None:
    texts = [f"Session number {number}. And its second sentence." for number in range(200)]
    async with server_in_a_process() as url:
        await session_of(url, "warm up")
        for _ in range(TRIES):
            threads, all_open = threading.active_count(), asyncio.Barrier(len(texts))
            sessions = [asyncio.create_task(session_of(url, text, all_open)) for text in texts]
            turns = await turns_until(sessions)
            assert threading.active_count() <= threads
            assert [each.result() for each in sessions] == [speech(text) for text in texts]
            if max(turns) < LARGEST_SHARE * sum(turns):
                return
    pytest.fail(f"one turn of the loop took {max(turns):.3f} of {sum(turns):.3f} s of CPU")


@asynccontextmanager
async def server_in_a_process() -> AsyncGenerator[str, None]:
    """The URL of a server that does not share our interpreter, and so not our loop's time."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


async def session_of(url: str, text: str, all_open: asyncio.Barrier | None = None) -> bytes:
    """Speak one text once all sessions are open."""
    async with await opened(None, url=url, timeouts=PATIENT) as connection:
        if all_open is not None:
            await all_open.wait()
        await connection.append(text)
        await connection.finish()
        audio, _ = await spoken_by(connection)
        return audio[0]


async def turns_until(sessions: list[asyncio.Task[bytes]]) -> list[float]:
    """The CPU that the loop used, in seconds, each time that it came back to us after 10 ms.

    Unlike the time it took, that does not depend on what else the machine does.
    """
    turns = []
    done = asyncio.ensure_future(asyncio.wait(sessions, return_when=asyncio.FIRST_EXCEPTION))
    while not done.done():
        used = time.thread_time()
        await asyncio.wait([done], timeout=0.01)
        turns.append(time.thread_time() - used)
    return turns
