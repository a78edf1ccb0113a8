"""`EncoderTask` and its threads: leaving at any moment is safe, and tenants take turns."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from concurrent.futures import CancelledError

import pytest

from speechfleet.audio.codec_threads import CodecSteps, FairThreads
from speechfleet.audio.codecs import Encoder, EncoderTask, encode
from speechfleet.audio.formats import FORMATS

CODECS = [name for name, format in FORMATS.items() if format.codec]
PCM = random.Random(1).randbytes(96_000)


async def encoded(task: EncoderTask, pcm: bytes, piece: int) -> bytes:
    data = bytearray()
    for at in range(0, len(pcm), piece):
        data += await task.feed(pcm[at : at + piece])
    tail, patches = await task.finish()
    data += tail
    for offset, patch in patches:
        data[offset : offset + len(patch)] = patch
    return bytes(data)


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "opus"])
async def test_a_task_makes_the_same_file_as_an_encoder(format: str) -> None:
    task = EncoderTask(format, 24_000)
    assert await encoded(task, PCM, 9_999) == encode(format, PCM, 24_000)


async def test_a_task_resamples_on_the_way() -> None:
    task = EncoderTask("pcm", 24_000, source_rate=48_000)
    samples = len(await encoded(task, PCM, 9_999)) // 2
    assert samples == pytest.approx(len(PCM) // 4, abs=2)


async def abort_often(format: str, times: int) -> None:
    """Leave in the middle of a step, by one and by two cancellations, and by closing."""
    dice = random.Random(format)
    for number in range(times):
        task = EncoderTask(format, 24_000, source_rate=dice.choice([24_000, 22_050]))
        work = asyncio.ensure_future(task.feed(PCM))
        await asyncio.sleep(dice.choice([0.0, 0.0005, 0.002]))
        work.cancel()
        if number % 3 == 0:
            with contextlib.suppress(asyncio.CancelledError):
                await work
            closing = asyncio.ensure_future(task.aclose())
            await asyncio.sleep(0)
            closing.cancel()
        task.close()
        await task.aclose()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        with pytest.raises(RuntimeError, match="closed"):
            await task.feed(PCM)


@pytest.mark.parametrize("format", CODECS)
async def test_aborts_in_mid_step_do_no_harm(format: str) -> None:
    await abort_often(format, 40)
    assert await encoded(EncoderTask(format, 24_000), PCM, 9_999)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("format", CODECS)
async def test_a_thousand_aborts_do_no_harm(format: str) -> None:
    before = threading.active_count()
    await abort_often(format, 1_000)
    assert threading.active_count() <= before + 64
    assert await encoded(EncoderTask(format, 24_000), PCM, 9_999)


@pytest.mark.parametrize("format", CODECS)
def test_an_encoder_is_closed_after_the_write_of_another_thread(format: str) -> None:
    for _ in range(10):
        encoder = Encoder(format, 24_000)
        begun = threading.Event()

        def write(encoder: Encoder = encoder, begun: threading.Event = begun) -> None:
            begun.set()
            encoder.write(PCM)

        thread = threading.Thread(target=write)
        thread.start()
        begun.wait()
        encoder.close()
        thread.join()


async def test_a_cancelled_step_closes_the_task() -> None:
    """Else what comes next would go on behind a hole in the audio."""
    task = EncoderTask("mp3", 24_000)
    work = asyncio.ensure_future(task.feed(PCM))
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    with pytest.raises(RuntimeError, match="closed"):
        await task.finish()


def test_closing_waits_behind_the_step_that_runs() -> None:
    threads, order = FairThreads(2), list[str]()
    running, go_on = threading.Event(), threading.Event()

    def work() -> bytes:
        running.set()
        go_on.wait()
        order.append("step")
        return b"done"

    steps = CodecSteps(lambda: order.append("release"), threads=threads)
    first, second = steps.submit(work), steps.submit(work)
    running.wait()
    steps.close()
    steps.close()
    assert order == []
    go_on.set()
    steps.released.result()
    assert (first.result(), order) == (b"done", ["step", "release"])
    with pytest.raises(CancelledError):
        second.result()
    with pytest.raises(RuntimeError, match="closed"):
        steps.submit(work)


def test_a_step_that_fails_does_not_hold_up_the_release() -> None:
    steps = CodecSteps(lambda: None, threads=FairThreads(1))

    def fail() -> bytes:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        steps.submit(fail).result()
    steps.close()
    steps.released.result()


def test_tenants_take_turns() -> None:
    threads, order = FairThreads(1), list[str]()
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go_on.wait()

    threads.run(hold, "first")
    begun.wait()
    for number in range(100):
        threads.run(lambda number=number: order.append(f"first {number}"), "first")  # type: ignore[misc]
    threads.run(lambda: order.append("second"), "second")
    threads.run(done.set, "third")
    go_on.set()
    done.wait()
    assert order.index("second") <= 1
