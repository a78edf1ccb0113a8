"""DashScope's task protocol: what is sent, word times, and one connection for many tasks."""

from __future__ import annotations

from typing import Any

import pytest

from speechfleet.errors import ProviderUnavailable, RateLimited
from speechfleet.settings import Timeouts
from speechfleet.tts import Msg, TTSResponse
from speechfleet_worker.providers.base import SpokenWord
from speechfleet_worker.providers.dashscope.cosyvoice import (
    DashScopeCosyVoiceRealtimeTTSModel,
    DashScopeCosyVoiceTTSModel,
    DashScopeTaskOptions,
)
from speechfleet_worker.providers.dashscope.task import SpeechTask
from speechfleet_worker.providers.dashscope.task_socket import TaskSocket
from speechfleet_worker.testing.conformance import spoken
from speechfleet_worker.testing.dashscope_task_server import DashScopeTaskServer
from speechfleet_worker.testing.wire import Fault, speech

pytestmark = pytest.mark.usefixtures("rehearsed")

TEXT = "The first words, and then the other words."


def model(server: DashScopeTaskServer, **arguments: Any) -> DashScopeCosyVoiceTTSModel:
    options = DashScopeTaskOptions(**arguments.pop("options", {}))
    return DashScopeCosyVoiceTTSModel(
        "sk-1", base_url=server.websocket_url, options=options, **arguments
    )


async def test_only_what_was_set_is_sent() -> None:
    options = {"speed": 1.5, "instructions": "softly", "language_hints": ("en",), "seed": 7}
    async with DashScopeTaskServer() as server:
        await spoken(model(server), TEXT)
        await spoken(model(server, model_name="qwen-audio-3.1-tts-flash", options=options), TEXT)
    plain, full = (call.request["session"] for call in server.calls)
    fixed = {"text_type": "PlainText", "format": "pcm", "sample_rate": 24_000}
    assert plain["parameters"] == {"voice": "longanyang", **fixed}
    assert plain["model"] == "cosyvoice-v3-flash"
    assert full["parameters"] == {
        "voice": "longanfengyue_v3.1", **fixed, "rate": 1.5, "instruction": "softly",
        "language_hints": ["en"], "seed": 7,
    }  # fmt: skip


async def test_words_are_told_in_the_text_as_it_was_given() -> None:
    async with DashScopeTaskServer(milliseconds=100) as server:
        last = (await spoken(model(server, options={"word_timestamps": True}), TEXT))[-1]
    assert last.metadata is not None
    words: tuple[SpokenWord, ...] = last.metadata["words"]
    assert [TEXT[word.text_start : word.text_end] for word in words] == TEXT.split()
    assert [(word.start, word.end) for word in words] == [
        pytest.approx((word.text_start / 10, word.text_end / 10)) for word in words
    ]


async def test_tasks_of_a_conversation_share_a_connection_until_one_fails() -> None:
    texts = ["One.", "Two.", "Three.", "Four."]
    async with DashScopeTaskServer() as server:
        server.script(None, None, Fault("drop_middle", after=480))
        async with model(server).conversation() as talk:
            for text in texts[:2]:
                assert await audio_of(talk, text) == speech(text)
            assert server.handshakes == 1
            with pytest.raises(ProviderUnavailable):
                await audio_of(talk, texts[2])
            assert await audio_of(talk, texts[3]) == speech(texts[3])
        assert server.handshakes == 2


async def test_a_failed_task_says_why() -> None:
    async with DashScopeTaskServer() as server:
        fault = Fault("error_frame", code="Throttling.RateQuota", message="too many requests")
        server.script(fault)
        with pytest.raises(RateLimited, match="too many requests"):
            await spoken(model(server), TEXT)


async def test_a_connection_whose_task_did_not_start_is_closed() -> None:
    class Refusing(TaskSocket):
        closed = False

        def __init__(self) -> None:
            pass

        async def send(self, *_: object) -> None:
            raise ProviderUnavailable("the connection is cut")

        async def close(self) -> None:
            self.closed = True

    socket = Refusing()
    with pytest.raises(ProviderUnavailable, match="is cut"):
        await SpeechTask.start(socket, "m", {"sample_rate": 24_000}, Timeouts())
    assert socket.closed


async def test_pushed_text_goes_out_at_once_and_is_flushed_on_demand() -> None:
    async with DashScopeTaskServer() as server:
        pushed = DashScopeCosyVoiceRealtimeTTSModel("sk-1", base_url=server.websocket_url)
        async with pushed:
            await pushed.push(Msg("a", "The first words,", id="m"))
            await pushed.push(Msg("a", TEXT, id="m"))
            responses = await pushed.synthesize(Msg("a", TEXT, id="m"))
            assert not isinstance(responses, TTSResponse)
            *_, last = [response async for response in responses]
    assert bytes(last.audio_from(0)) == speech(TEXT)
    [call] = server.calls
    assert call.request["responses"] == ["The first words,", TEXT[16:]]


async def audio_of(talk: Any, text: str) -> bytes:
    responses = await talk.synthesize(Msg("a", text))
    *_, last = [response async for response in responses]
    return bytes(last.audio_from(0))
