"""Frames through a processor of Pipecat: as its own `run_test` does, at any machine's pace.

That one gives up where a pipeline takes more than a second to start, and can wait for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from pipecat.frames.frames import EndFrame, Frame, StartFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

WITHIN_S = 240.0


class Passed:
    """The frames that have come out by now. ``down``, ``up``: at the end, and at the beginning."""

    def __init__(self) -> None:
        self.down: list[Frame] = []
        self.up: list[Frame] = []
        self._came = asyncio.Event()

    def note(self, frame: Frame, direction: FrameDirection) -> None:
        (self.down if direction is FrameDirection.DOWNSTREAM else self.up).append(frame)
        self._came.set()

    async def until(self, kind: type[Frame]) -> None:
        """Wait until a frame of this kind has come out."""
        while not any(isinstance(frame, kind) for frame in (*self.down, *self.up)):
            self._came.clear()
            await self._came.wait()


Step = Frame | float | Callable[[Passed], Awaitable[object]]
"""A frame to send, a pause in seconds, or what to wait for before the next one is sent."""


class _Way(FrameProcessor):
    """Notes what passes in one direction."""

    def __init__(self, passed: Passed, direction: FrameDirection) -> None:
        super().__init__(enable_direct_mode=True)
        self._passed = passed
        self._direction = direction

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if direction is self._direction and not isinstance(frame, StartFrame | EndFrame):
            self._passed.note(frame, direction)
        await self.push_frame(frame, direction)


async def run(
    processor: FrameProcessor, steps: Sequence[Step], params: PipelineParams | None = None
) -> tuple[list[Frame], list[Frame]]:
    """Take the steps, then end the pipeline; return the frames that went down, and up."""
    passed, started = Passed(), asyncio.Event()
    ways = [_Way(passed, way) for way in (FrameDirection.UPSTREAM, FrameDirection.DOWNSTREAM)]
    worker = PipelineWorker(
        Pipeline([ways[0], processor, ways[1]]),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
        params=params or PipelineParams(),
    )

    async def on_started(*_: object) -> None:
        started.set()

    worker.add_event_handler("on_pipeline_started", on_started)

    async def take_steps() -> None:
        await started.wait()
        for step in steps:
            if isinstance(step, Frame):
                await worker.queue_frame(step)
            elif isinstance(step, float):
                await asyncio.sleep(step)
            else:
                await step(passed)
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    async with asyncio.timeout(WITHIN_S):
        await asyncio.gather(runner.run(), take_steps())
    return passed.down, passed.up
