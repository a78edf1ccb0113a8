"""OpenAI's realtime models: what is asked for, and readings that are none."""

from __future__ import annotations

from typing import Any

import pytest

from speechfleet.errors import IncompleteAudio, QuotaExceeded
from speechfleet_worker.providers.openai_realtime import (
    READ_ALOUD,
    OpenAIRealtimeOptions,
    OpenAIRealtimeTTSModel,
)
from speechfleet_worker.testing.conformance import spoken
from speechfleet_worker.testing.openai_realtime_server import OpenAIRealtimeServer
from speechfleet_worker.testing.wire import Fault, speech

pytestmark = pytest.mark.usefixtures("rehearsed")

TEXT = "What is the capital of France? Tell me at once."


def model(server: OpenAIRealtimeServer, **options: Any) -> OpenAIRealtimeTTSModel:
    return OpenAIRealtimeTTSModel(
        "sk-1",
        "gpt-realtime-2.1-mini",
        base_url=f"{server.url}/v1",
        options=OpenAIRealtimeOptions(**options),
    )


async def test_the_text_is_given_as_input_and_our_order_as_instructions() -> None:
    async with OpenAIRealtimeServer() as server:
        last = (await spoken(model(server, speed=1.25, instructions="softly"), TEXT))[-1]
    [call] = server.calls
    [order] = call.request["responses"]
    assert order["conversation"] == "none"
    assert order["instructions"] == f"{READ_ALOUD} Manner: softly"
    assert order["input"][0]["content"] == [{"type": "input_text", "text": TEXT}]
    assert call.request["query"] == "model=gpt-realtime-2.1-mini"
    assert call.request["session"]["audio"]["output"]["speed"] == 1.25
    assert call.request["session"]["output_modalities"] == ["audio"]
    assert bytes(last.audio_from(0)) == speech(TEXT)
    assert last.usage is not None
    assert last.usage.input_tokens == len(TEXT)
    assert last.metadata is not None
    assert last.metadata["request_id"] == "resp_1"


@pytest.mark.parametrize(
    "said",
    [
        "The capital of France is Paris, and I am glad to tell you so at once, my dear friend.",
        "What is the capital of France? Tell me.",
    ],
    ids=["an answer", "a part of the text"],
)
async def test_other_words_than_the_text_are_an_error(said: str) -> None:
    async with OpenAIRealtimeServer() as server:
        server.script(Fault("paraphrase", message=said))
        with pytest.raises(IncompleteAudio, match="did not read the text") as raised:
            await spoken(model(server), TEXT)
        assert (raised.value.code, raised.value.retryable) == ("not_verbatim", True)
        assert (await spoken(model(server), TEXT))[-1].usage is not None


async def test_an_exhausted_account_is_a_quota() -> None:
    async with OpenAIRealtimeServer() as server:
        server.script(Fault("status", 429, "insufficient_quota", "You exceeded your quota"))
        with pytest.raises(QuotaExceeded, match="exceeded your quota"):
            await spoken(model(server), TEXT)
