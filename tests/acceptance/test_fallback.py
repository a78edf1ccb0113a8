"""A provider dies in the middle of a job: another one speaks the rest, and all is heard once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from speechfleet import AsyncClient, Mark
from speechfleet.audio import wav
from speechfleet.embedded import EmbeddedFleet
from speechfleet_worker.testing.openai_server import OpenAIServer
from speechfleet_worker.testing.wire import Fault, speech

SENTENCES = [f"Sentence number {number} is heard once." for number in range(5)]
TEXT = " ".join(SENTENCES)
DEAD = 2
"""The sentence in which the first provider dies."""


async def test_the_rest_of_a_job_is_spoken_by_another_provider(tmp_path: Path) -> None:
    with (
        OpenAIServer(milliseconds=5).thread() as first,
        OpenAIServer(milliseconds=5, sample_rate=16_000).thread() as second,
    ):
        endpoints = {
            "first": {"base_url": first.base_url},
            "second": {"base_url": second.base_url, "sample_rate": 16_000},
        }
        environ = {
            "SPEECHFLEET_ENDPOINTS": json.dumps(endpoints),
            "SPEECHFLEET_BACKOFF": "0.05",
            "SPEECHFLEET_LOOK_AHEAD": "0",
        }
        first.script(*[None] * DEAD, *[Fault("drop_middle")] * 20)
        with EmbeddedFleet(tmp_path / "data", workers=1, environ=environ) as fleet:
            async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
                job = await client.submit(
                    TEXT, model="first/m", voice="one", fallback=["second/n:two"]
                )
                marks: dict[int, Mark] = {}
                async with asyncio.timeout(120):
                    async for chunk in job.stream():
                        marks |= {mark.index: mark for mark in chunk.marks}
                        heard = bytes(chunk.audio)
                stored = wav.decode(await (await job.result()).read())
                record = await job.record()
                usage = await client.usage()

    own = b"".join(speech(text, 24_000, 5) for text in SENTENCES[:DEAD])
    rest = b"".join(speech(text, 16_000, 5) for text in SENTENCES[DEAD:])
    assert heard[: len(own)] == own
    assert len(heard) - len(own) == len(rest) * 3 // 2, "at the rate of the first provider"
    assert stored.pcm == heard
    assert [call.text for call in second.calls] == SENTENCES[DEAD:]
    assert {call.request["voice"] for call in second.calls} == {"two"}
    assert [TEXT[mark.text_start : mark.text_end] for mark in marks.values()] == SENTENCES
    told = [(mark.model, mark.voice) for mark in marks.values()]
    assert told == [("", "")] * DEAD + [("second/n", "two")] * (len(SENTENCES) - DEAD)
    assert record.spoken_by == ["first/m", "second/n"]
    assert usage["second/n"]["billed"] == sum(map(len, SENTENCES[DEAD:]))
