"""Two short scenes: a job is cancelled, and another one is submitted twice."""

from __future__ import annotations

import asyncio

from speechfleet.demo.live_scene import declaration
from speechfleet.demo.stage import Stage
from speechfleet.errors import Conflict, JobCancelled
from speechfleet.lifecycle import State
from speechfleet.tts import Msg

CANCELLED_ID = "udhr-stopped"
TWICE_ID = "udhr-submitted-twice"
TWICE = "A sentence that is submitted twice is paid for once."


async def cancel_one(stage: Stage) -> None:
    """Cancel a job while its stream is being followed."""
    stage.title("A job that is cancelled while it is followed")
    text = declaration()
    msg = Msg(name="declaration", content=text, id=CANCELLED_ID)
    job = await stage.client.submit(msg, language="en", speed=0.8)
    if (await job.record()).state is State.CANCELLED:
        stage.say("An earlier run did it; its stream ends as it did then.")
    said = 0
    try:
        async for chunk in job.stream(accumulate=False):
            if chunk.text_end and not chunk.is_last:
                await job.cancel("the demo has heard enough")
    except JobCancelled as error:
        stage.say(f"  {error}")
        said = error.text_end
    status = await job.status()
    stage.claim(
        f"it is {status.state} after {said:,} of {len(text):,} characters",
        holds=status.state is State.CANCELLED and said < len(text),
    )


async def submit_twice(stage: Stage) -> None:
    """Submit one text twice under one id, and another text under the same id."""
    stage.title("A job that is submitted twice at once")
    msg = Msg(name="twice", content=TWICE, id=TWICE_ID)
    first, second = await asyncio.gather(*(stage.client.submit(msg) for _ in range(2)))
    one, other = await asyncio.gather(first.result(), second.result())
    record = await first.record()
    stage.claim(
        f"both are one job, spoken once: {record.usage.get('calls', 0)} call, 1 audio object",
        holds=one.object == other.object
        and (record.claims, record.usage.get("calls", 0)) == (1, 1),
    )
    try:
        changed = Msg(name="twice", content="Something else.", id=TWICE_ID)
        await stage.client.submit(changed)
        refused = ""
    except Conflict as error:
        refused = error.code
    stage.claim(f"another text under its id is refused: {refused}", holds=bool(refused))
