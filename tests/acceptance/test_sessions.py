"""Sessions: text is spoken while it is written, by the one worker that holds the session."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from speechfleet import AsyncClient, Client, Msg, State
from speechfleet.errors import Conflict, JobCancelled, JobFailed, TextDiverged
from speechfleet.ledger.keys import JobKeys
from speechfleet.session import AsyncSession
from speechfleet_worker.testing.dashscope_realtime_server import DashScopeRealtimeServer
from speechfleet_worker.testing.wire import Fault, speech
from tests.support.stage import (
    AHEAD,
    MODEL,
    TAKEN_OVER_S,
    Heard,
    Hold,
    Stage,
    sentences,
    spoken,
    staged,
)

REALTIME = "dashscope/qwen3-tts-flash-realtime"


@pytest.fixture(scope="module")
def provider() -> Iterator[DashScopeRealtimeServer]:
    with DashScopeRealtimeServer(milliseconds=10).thread() as server:
        yield server


@pytest.fixture(scope="module")
def stage(module_folder: Path, provider: DashScopeRealtimeServer) -> Iterator[Stage]:
    """Two workers for sessions that are started again when they die."""
    environ = {
        **provider.environment(),
        "SPEECHFLEET_SESSION_SILENCE": "10",
    }
    with staged(module_folder, environ, workers=2, lanes=["session"], grace=60.0) as stage:
        yield stage


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[AsyncClient]:
    async with stage.client() as client:
        yield client


async def write(session: AsyncSession, lines: list[str]) -> None:
    """As a language model does: a few letters at a time."""
    text = " ".join(lines)
    start = len(session.text)
    for end in range(start + 5, len(text) + 5, 5):
        await session.push(text[:end])


def holder(stage: Stage, boot: str) -> int:
    [worker] = [worker for worker in stage.fleet.workers if worker.boot_id == boot]
    return worker.pid


async def published(session: AsyncSession, true: Callable[[int], bool]) -> int:
    """Bytes of the session's audio, once it is true of them."""
    async for chunk in session.job.stream():
        if true(chunk.total):
            return chunk.total
    raise AssertionError("the session has ended")


# --- speaking -------------------------------------------------------------------------------


async def test_it_is_spoken_while_it_is_written(stage: Stage, client: AsyncClient) -> None:
    """The first sentence is heard before the last one is thought of; anybody may follow."""
    lines = sentences("the session", 4)
    async with client.session(model=MODEL, id="written") as session:
        follower = asyncio.create_task(Heard().listen(client.job("written")))
        await write(session, [*lines[:2], lines[2][:AHEAD]])
        await stage.ledger.until("end", lines[:2], 2)
        record = await session.job.record()
        assert record.route == f"speechfleet.1.worker.{record.boot}"
        await write(session, lines)
        total, chunks = 0, []
        async for chunk in session.synthesize():
            assert chunk.offset == total
            total = chunk.total
            chunks.append(chunk)
        assert b"".join(chunk.delta for chunk in chunks) == spoken(lines)
        assert bytes(chunks[-1].audio) == spoken(lines)
        assert [chunk.is_last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        speech_ = await session.result(timeout=120)
        assert (await speech_.read()).endswith(spoken(lines))
    assert (await follower).audio == spoken(lines)
    assert (await session.job.status()).state is State.SUCCEEDED


async def test_a_push_gives_the_audio_so_far(stage: Stage, client: AsyncClient) -> None:
    lines = sentences("the push", 2)
    async with client.session(model=MODEL) as session:
        first = await session.push(Msg(name="", content=lines[0]))
        assert (first.total, bytes(first.audio)) == (0, b"")
        await session.say(" " + lines[1])
        size = await published(session, lambda total: total >= len(spoken(lines[:1])))
        chunk, deltas = first, b""
        while chunk.total < size:
            chunk = await session.push(session.text)
            assert chunk.offset == len(deltas)
            deltas += chunk.delta
            assert bytes(chunk.audio) == deltas
        assert deltas == spoken(lines)[: chunk.total]
        again = await session.push(session.text)
        assert bytes(again.audio[: chunk.total]) == bytes(chunk.audio)
        assert again.offset == chunk.total
        [*_, last] = [chunk async for chunk in session.synthesize()]
        assert bytes(last.audio) == spoken(lines)


async def test_the_synchronous_twin_and_the_realtime_model(
    stage: Stage, provider: DashScopeRealtimeServer
) -> None:
    lines = sentences("the twin", 3)

    def talk() -> tuple[bytes, bytes]:
        with (
            Client(redis_url=stage.fleet.redis_url, store=stage.fleet.store_url) as fleet,
            fleet.session(model=REALTIME, voice="Cherry") as session,
        ):
            for end in range(4, len(text := " ".join(lines)) + 4, 4):
                session.push(text[:end])
            deltas = [chunk.delta for chunk in session.synthesize()]
            return b"".join(deltas), session.result(timeout=120).read()

    heard, stored = await asyncio.to_thread(talk)
    assert heard == b"".join(speech(line, milliseconds=10) for line in lines)
    assert stored.endswith(heard)
    [call] = [call for call in provider.calls if "the twin" in call.text]
    assert call.request["responses"] == lines, "one commit a sentence, over one socket"
    assert call.request["session"]["mode"] == "commit"


async def test_the_provider_may_decide_when_to_speak(
    client: AsyncClient, provider: DashScopeRealtimeServer
) -> None:
    """server_commit: the text goes there as it comes; what is lost is spoken from the start."""
    lines = sentences("the server's choice", 4)
    provider.script(Fault("drop_middle"))
    async with client.session(model=REALTIME, mode="server_commit") as session:
        follower = asyncio.create_task(Heard().listen(session.job))
        await write(session, lines[:2])
        await published(session, lambda total: total > 4800)
        await write(session, lines)
        [*_, last] = [chunk async for chunk in session.synthesize()]
        record = await session.job.record()
    listener = await follower
    assert listener.audio == bytes(last.audio) == speech(" ".join(lines), milliseconds=10)
    assert listener.rewinds <= 1
    assert record.claims == 1
    assert record.fields["text_end"] == str(len(" ".join(lines)))
    *_, call = [call for call in provider.calls if "the server's choice" in call.text]
    assert call.request["session"]["mode"] == "server_commit"


# --- ending ---------------------------------------------------------------------------------


async def test_leaving_without_synthesize_cancels(stage: Stage, client: AsyncClient) -> None:
    async with client.session(model=MODEL, options={"chunks": 500}) as session:
        await write(session, ["A long answer that nobody wants any more.", "Or not at all."])
        await stage.ledger.wait(lambda: stage.ledger.calls("start")[session.text[:41]])
    with pytest.raises(JobCancelled, match="closed by its client"):
        await session.result(timeout=120)
    await stage.ledger.wait(lambda: stage.ledger.calls("closed")[session.text[:41]])


async def test_an_interrupt_says_how_far_it_was_heard(client: AsyncClient) -> None:
    lines = sentences("the interrupt", 3)
    async with client.session(model=MODEL, options={"chunks": 10, "pace": 0.05}) as session:
        await write(session, [*lines, "And so on."])
        one, heard = len(spoken(lines[:1], chunks=10)), len(lines[0]) + 1 + len(lines[1]) // 2
        await published(session, lambda total: total > 2 * one)
        assert await session.interrupt(played=one + one // 2) == heard
        with pytest.raises(JobCancelled) as caught:
            await Heard().listen(session.job)
        assert caught.value.text_end == heard


async def test_a_session_knows_the_word_that_was_heard(client: AsyncClient) -> None:
    line = "One two three four five six seven eight."
    async with client.session(model=MODEL, options={"words": True}) as session:
        await session.complete(line)
        *_, last = [chunk async for chunk in session.synthesize()]
        third = last.words[2]
        assert session.heard(third.end) == third.text_end == len("One two three")
        assert session.heard(third.end - (third.end - third.start) * 3 // 4) == len("One two")
        assert session.heard(last.total) == len(line)


async def test_a_slow_listener_slows_nobody(client: AsyncClient) -> None:
    """Follow with a listener that stops after one chunk, and one that plays in real time."""
    lines = sentences("the slow listener", 6)
    async with client.session(model=MODEL) as session:
        slow = session.job.stream()
        await session.push(lines[0] + " And so on, and so on.")
        heard = (await anext(slow)).delta
        await session.complete(session.text + " " + " ".join(lines))
        own = session.synthesize()
        first = await anext(own)
        await session.result(timeout=120)
        heard += b"".join([chunk.delta async for chunk in slow])
        [*_, last] = [chunk async for chunk in own]
        whole = spoken([lines[0], "And so on, and so on.", *lines])
        assert heard == bytes(last.audio) == whole
        assert whole.startswith(bytes(first.audio))


async def test_nothing_to_say_is_no_error(client: AsyncClient) -> None:
    async with client.session(model=MODEL) as session:
        await session.push("")
        [chunk] = [chunk async for chunk in session.synthesize()]
        assert (chunk.is_last, chunk.total) == (True, 0)


async def test_a_live_id_is_refused_and_can_be_resumed(client: AsyncClient, stage: Stage) -> None:
    lines = sentences("the resumed", 3)
    async with stage.client() as other:
        first = client.session(model=MODEL, id="resumed")
        await first.open()
        await write(first, lines[:2])
        with pytest.raises(Conflict, match="there already"):
            await other.session(model=MODEL, id="resumed").open()
        with pytest.raises(Conflict, match="another model"):
            await other.session(model=MODEL, id="resumed", options={"pace": 1}, resume=True).open()
        async with other.session(model=MODEL, id="resumed", resume=True) as second:
            assert second.text == " ".join(lines[:2])
            await asyncio.gather(write(first, lines), write(second, lines))
            with pytest.raises(TextDiverged) as caught:
                await second.push(second.text[:-1] + "?")
            assert caught.value.position == len(second.text) - 1
            [*_, last] = [chunk async for chunk in second.synthesize()]
        assert bytes(last.audio) == spoken(lines)
        assert set((await stage.ledger.asked(lines)).values()) == {1}
        await first.close()


# --- provider's failures --------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["drop_middle", "close_1011", "drop_before", "close_idle", "stall", "error_frame"]
)
async def test_a_lost_socket_is_replaced_within_the_session(
    client: AsyncClient, provider: DashScopeRealtimeServer, kind: str
) -> None:
    lines = sentences(f"the {kind}", 3)
    provider.script(Fault(kind))
    async with client.session(model=REALTIME, cache=False) as session:
        await write(session, lines)
        await session.complete()
        listener = await Heard().listen(session.job)
        assert listener.audio == b"".join(speech(line, milliseconds=10) for line in lines)
        assert listener.rewinds <= 1
        record = await session.job.record()
        assert (record.claims, record.losses) == (1, 0), "the worker mended it by itself"


@pytest.mark.parametrize(
    ("voice", "code"), [("nobody", "unknown_voice"), ("Cherry", "authentication_failed")]
)
async def test_what_will_never_work_ends_the_session_with_its_code(
    client: AsyncClient, provider: DashScopeRealtimeServer, voice: str, code: str
) -> None:
    if voice == "Cherry":
        provider.script(Fault("status", 401), Fault("status", 401))
    async with client.session(model=REALTIME, voice=voice) as session:
        with pytest.raises(JobFailed) as caught:
            async for _ in session.synthesize("Some words."):
                pass
    assert caught.value.code == code


# --- workers that go ------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before the first audio", "in the middle", "at the end"])
async def test_a_killed_worker_costs_the_sentence_in_progress(
    stage: Stage, client: AsyncClient, tmp_path: Path, moment: str
) -> None:
    lines = sentences(f"the one killed {moment}", 5)
    hold = Hold(tmp_path, lines[-1])
    async with client.session(model=MODEL, options={"pace": 0.15, **hold.options}) as session:
        follower = asyncio.create_task(Heard().listen(session.job))
        if moment != "before the first audio":
            await write(session, lines[:3])
            await stage.ledger.until("end", lines[:1])
        if moment == "at the end":
            await session.complete(" ".join(lines))
            await stage.ledger.until("end", lines[:4], 4)
        before = (await session.job.record()).boot
        os.kill(holder(stage, before), signal.SIGKILL)
        hold.release()
        if moment != "at the end":
            await write(session, lines)  # a push in the gap is a push
        loop = asyncio.get_running_loop()
        killed = loop.time()
        while (await session.job.record()).boot in (before, ""):
            assert loop.time() - killed < TAKEN_OVER_S
            await asyncio.sleep(0.05)
        [*_, last] = [chunk async for chunk in session.synthesize()]
        assert bytes(last.audio) == spoken(lines)
    listener = await follower
    assert listener.audio == spoken(lines)
    assert listener.rewinds <= 1
    calls = await stage.ledger.asked(lines)
    assert len(calls) == len(lines)
    assert sum(count - 1 for count in calls.values()) <= 2, "the current one, and one ahead"


async def test_a_draining_worker_hands_its_sessions_over(
    stage: Stage, client: AsyncClient
) -> None:
    lines = sentences("the drained", 4)
    async with client.session(model=MODEL, options={"pace": 0.1}) as session:
        follower = asyncio.create_task(Heard().listen(session.job))
        await write(session, lines[:2])
        await stage.ledger.wait(lambda: stage.ledger.calls("start", lines).total())
        boot = (await session.job.record()).boot
        os.kill(holder(stage, boot), signal.SIGTERM)
        await write(session, lines)
        [*_, last] = [chunk async for chunk in session.synthesize()]
        assert bytes(last.audio) == spoken(lines)
        record = await session.job.record()
        assert (record.claims, record.losses) == (2, 0)
    listener = await follower
    assert (listener.audio, listener.rewinds) == (spoken(lines), 0)
    await stage.off_loop(stage.fleet.start_worker)


async def test_a_client_that_was_killed_is_taken_up_by_another(
    stage: Stage, client: AsyncClient
) -> None:
    lines = sentences("the orphan", 3)
    program = f"""
import time
from speechfleet import Client
with Client() as fleet, fleet.session(model={MODEL!r}, id="orphan") as session:
    session.push({" ".join(lines[:2])!r})
    print("pushed", flush=True)
    time.sleep(60)
"""
    environ = {**os.environ, **stage.fleet.environ}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=subprocess.PIPE, env=environ
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"pushed\n"
    child.kill()
    await child.wait()
    async with client.session(model=MODEL, id="orphan", resume=True) as session:
        await write(session, lines)
        [*_, last] = [chunk async for chunk in session.synthesize()]
    assert bytes(last.audio) == spoken(lines)


@pytest.mark.parametrize("accident", ["restart", "loss"])
async def test_redis_comes_back_in_the_middle(
    stage: Stage, client: AsyncClient, accident: str
) -> None:
    """Killed and started again, or without a memory of the session at all."""
    lines = sentences(f"the {accident}", 6)
    assert stage.fleet.valkey is not None
    async with client.session(model=MODEL, options={"pace": 0.1}) as session:
        await write(session, lines[:4])
        await stage.ledger.wait(lambda: stage.ledger.calls("end", lines).total())
        if accident == "restart":
            await stage.off_loop(stage.fleet.valkey.kill)
        else:
            job = JobKeys("default", session.id)
            await client.ledger.connection.redis.delete(job.record, job.stream(1), job.segments(1))
        await write(session, lines)
        [*_, last] = [chunk async for chunk in session.synthesize()]
        assert bytes(last.audio) == spoken(lines)
        assert (await session.result(timeout=120)).object
    assert (await stage.ledger.asked(lines)).total() <= len(lines) + 2
