"""DashScope realtime with AgentScope's semantics: the traces of its agents, and what they miss."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncGenerator
from itertools import pairwise

import pytest

from speechfleet.errors import (
    AuthenticationFailed,
    IncompleteAudio,
    InvalidRequest,
)
from speechfleet.tts import TTSResponse
from speechfleet_worker.providers.dashscope.realtime import (
    DashScopeRealtimeOptions,
    DashScopeRealtimeTTSModel,
)
from speechfleet_worker.testing.conformance import SLOW
from speechfleet_worker.testing.dashscope_realtime_server import DashScopeRealtimeServer
from speechfleet_worker.testing.wire import Fault, speech
from tests.support.dashscope_speech import audio_of, model_of, msg, pushed_until, rest

pytestmark = pytest.mark.usefixtures("rehearsed")

# --- the traces


async def test_an_agent_that_streams() -> None:
    async with DashScopeRealtimeServer() as server:
        model = model_of(server)
        async with model:
            pushed = [await model.push(msg(t)) for t in ("Hel", "Hello, wor", "Hello, world.")]
            responses = await rest(model, msg("Hello, world."))
        await model.close()
        call = server.calls[0]
        await server.until(lambda _: call.outcome == "finished", timeout=60)
    assert all(not response.is_last for response in pushed)
    assert bytes(responses[-1].audio_from(0)) == speech("Hello, world.")
    assert [r.is_last for r in responses] == [False] * (len(responses) - 1) + [True]
    assert call.text == "Hello, world."
    assert call.request["session"]["voice"] == "Cherry"
    assert call.request["session"]["response_format"] == "pcm"


async def test_audio_flows_while_the_text_is_being_written() -> None:
    async with DashScopeRealtimeServer() as server, model_of(server) as model:
        await model.push(msg("One sentence. "))
        early = await pushed_until(model, msg("One sentence. And"), lambda r: bool(r.content))
        late = await rest(model, msg("One sentence. And another."))
        call = server.calls[0]
    data = [r.content["source"]["data"] for r in (early, *late) if r.content]
    assert all(b.startswith(a) for a, b in pairwise(data)), "one and the same string, growing"
    assert b64decode(data[-1]) == speech("One sentence. And another.")
    assert call.request["responses"] == ["One sentence. ", "And another."]


async def test_the_generator_is_there_before_the_utterance_is_over() -> None:
    async with DashScopeRealtimeServer(pace=SLOW) as server, model_of(server) as model:
        async with asyncio.timeout(60):
            responses = await model.synthesize(msg("A long sentence, spoken in real time. " * 9))
            assert isinstance(responses, AsyncGenerator)
            first = await anext(responses)
        assert first.content is not None
        assert not first.is_last
        assert server.calls[0].outcome == "open"
        await responses.aclose()


async def test_an_agent_that_does_not_stream() -> None:
    async with DashScopeRealtimeServer() as server:
        model = model_of(server)
        await model.connect()
        assert await audio_of(model, msg("Hello.")) == speech("Hello.")
        await model.close()
        await model.close()
        await server.until(lambda s: [c.outcome for c in s.calls] == ["finished"], timeout=60)


async def test_a_step_without_text_says_nothing_and_blocks_nothing() -> None:
    async with DashScopeRealtimeServer() as server, model_of(server) as model:
        for content in (None, "", " \n"):
            assert (await model.push(msg(content))).content is None
        responses = await rest(model, msg(None))
        assert [(r.content, r.is_last) for r in responses] == [(None, True)]
        await model.push(msg("Hello.", id="m2"))
        assert await audio_of(model, msg("Hello.", id="m2")) == speech("Hello.")
        assert [call.text for call in server.calls] == ["Hello."]


async def test_an_interrupted_agent_can_go_on() -> None:
    async with DashScopeRealtimeServer(pace=SLOW) as server:
        model = model_of(server)
        agent = asyncio.create_task(interrupted(model))
        await server.until(lambda s: bool(s.calls) and s.calls[0].bytes_sent > 0)
        agent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await agent
        await model.close()
        await server.until(lambda s: s.calls[0].outcome == "aborted", timeout=60)
        server.pace = 0.0
        async with model:
            await model.push(msg("Two.", id="m2"))
            assert await audio_of(model, msg("Two.", id="m2")) == speech("Two.")


async def interrupted(model: DashScopeRealtimeTTSModel) -> None:
    async with model:
        await model.push(msg("This is the first message. It is"))
        await asyncio.Event().wait()


async def test_every_step_of_an_agent_is_a_cycle_with_an_id_of_its_own() -> None:
    async with DashScopeRealtimeServer() as server:
        model = model_of(server)
        for number in range(3):
            async with model:
                text = f"Step {number}."
                await model.push(msg(text[:4], id=f"m{number}"))
                assert await audio_of(model, msg(text, id=f"m{number}")) == speech(text)
        assert [call.text for call in server.calls] == ["Step 0.", "Step 1.", "Step 2."]


async def test_further_messages_need_no_new_connect() -> None:
    async with DashScopeRealtimeServer() as server, model_of(server) as model:
        for number in range(3):
            text = f"Message {number}."
            assert await audio_of(model, msg(text, id=f"m{number}")) == speech(text)
        assert len(server.calls) == 3


async def test_a_mutated_message_does_no_harm() -> None:
    async with DashScopeRealtimeServer() as server, model_of(server) as model:
        message = msg("Hel")
        for content in ("Hel", "Hello, wor", "Hello, world."):
            message.content = content
            await model.push(message)
        assert await audio_of(model, message) == speech("Hello, world.")


# --- push


async def test_not_connected_it_takes_no_text() -> None:
    async with DashScopeRealtimeServer() as server:
        model = model_of(server)
        with pytest.raises(RuntimeError, match="not connected"):
            await model.push(msg("Hello."))
        async with model:
            pass
        with pytest.raises(RuntimeError, match="not connected"):
            await model.push(msg("Hello."))


async def test_one_message_at_a_time() -> None:
    async with DashScopeRealtimeServer() as server, model_of(server) as model:
        await model.push(msg("Hello."))
        with pytest.raises(RuntimeError, match="one streaming input request at a time"):
            await model.push(msg("Other.", id="m2"))
        with pytest.raises(RuntimeError, match="one streaming input request at a time"):
            await model.synthesize(msg("Other.", id="m2"))
        assert await audio_of(model, msg("Hello.")) == speech("Hello.")


async def test_unchanged_and_older_text_sends_nothing() -> None:
    async with DashScopeRealtimeServer() as server, model_of(server) as model:
        for text in ("Hello, ", "Hello, ", "Hel", "Hello, world.", "Hello, "):
            await model.push(msg(text))
        assert await audio_of(model, msg("Hello, world.")) == speech("Hello, world.")
        assert server.calls[0].text == "Hello, world."


async def test_text_that_does_not_go_on_is_refused() -> None:
    async with DashScopeRealtimeServer() as server, model_of(server) as model:
        await model.push(msg("Hello, world."))
        with pytest.raises(InvalidRequest) as raised:
            await model.push(msg("Goodbye."))
        assert raised.value.code == "text_diverged"
        assert await audio_of(model, None) == speech("Hello, world.")


@pytest.mark.parametrize(
    ("length", "words", "texts", "sent"),
    [
        (8, 3, ["Hi", "Hi there", "Hi there you", "Hi there you all"], [0, 0, 12, 16]),
        (8, None, ["Hi", "Hi there", "Hi there you"], [0, 8, 12]),
        (None, 2, ["Hi", "Hi there", "Hi there you"], [0, 8, 12]),
        (None, None, ["H", "Hi"], [1, 2]),
    ],
)
async def test_a_cold_start_holds_the_first_text_back(
    length: int | None, words: int | None, texts: list[str], sent: list[int]
) -> None:
    cold = {"cold_start_length": length, "cold_start_words": words}
    async with DashScopeRealtimeServer() as server, model_of(server, **cold) as model:
        assert model._session is not None
        for text, count in zip(texts, sent, strict=True):
            await model.push(msg(text))
            assert model._session._sent == count
        assert await audio_of(model, msg(texts[-1])) == speech(texts[-1])


async def test_synthesize_flushes_what_a_cold_start_holds_back() -> None:
    async with DashScopeRealtimeServer() as server, model_of(server, cold_start_words=9) as model:
        await model.push(msg("Hi"))
        assert await audio_of(model, None) == speech("Hi")


async def test_in_commit_mode_the_caller_decides_when_to_speak() -> None:
    async with DashScopeRealtimeServer() as server:
        async with model_of(server, mode="commit") as model:
            await model.push(msg("One. "), commit=True)
            await pushed_until(
                model, msg("One. "), lambda r: len(r.audio_from(0)) == len(speech("One. "))
            )
            await model.push(msg("One. Two. "), commit=True)
            await model.push(msg("One. Two. "), commit=True)
            assert await audio_of(model, msg("One. Two. Three.")) == speech("One. Two. Three.")
        assert server.calls[0].request["responses"] == ["One. ", "Two. ", "Three."]
        assert server.calls[0].request["session"]["mode"] == "commit"


async def test_where_the_server_decides_a_commit_is_no_more_than_a_push() -> None:
    async with DashScopeRealtimeServer() as server, model_of(server) as model:
        for text in ("One. ", "One. Two. ", "One. Two. "):
            await model.push(msg(text), commit=True)
        assert await audio_of(model, msg("One. Two. Three.")) == speech("One. Two. Three.")


async def test_after_synthesize_a_message_takes_no_more_text() -> None:
    async with DashScopeRealtimeServer(pace=SLOW) as server, model_of(server) as model:
        responses = await model.synthesize(msg("Hello, world."))
        with pytest.raises(RuntimeError, match="no more text"):
            await model.push(msg("Hello, world. And more."))
        assert isinstance(responses, AsyncGenerator)
        await responses.aclose()


# --- synthesize


async def test_without_connect_it_speaks_whole_texts_many_at_once() -> None:
    texts = [f"Text number {number}." for number in range(10)]
    async with DashScopeRealtimeServer() as server:
        model = model_of(server)
        audio = await asyncio.gather(*(audio_of(model, msg(text)) for text in texts))
        assert audio == [speech(text) for text in texts]
        assert sorted(call.text for call in server.calls) == sorted(texts)


async def test_not_streamed_it_gives_one_response() -> None:
    async with DashScopeRealtimeServer() as server, model_of(server, stream=False) as model:
        await model.push(msg("Hello, "))
        response = await model.synthesize(msg("Hello, world."))
        assert isinstance(response, TTSResponse)
        assert response.is_last
        assert bytes(response.audio_from(0)) == speech("Hello, world.")
        assert response.usage is not None
        assert response.usage.characters == server.characters == len("Hello, world.")
        assert response.metadata == {"request_id": "sess_1"}


async def test_giving_a_generator_up_ends_its_message_only() -> None:
    async with DashScopeRealtimeServer(pace=SLOW) as server, model_of(server) as model:
        responses = await model.synthesize(msg("This will not be heard to its end."))
        assert isinstance(responses, AsyncGenerator)
        await anext(responses)
        await responses.aclose()
        await server.until(lambda s: s.calls[0].outcome == "aborted", timeout=60)
        server.pace = 0.0
        assert await audio_of(model, msg("Next.", id="m2")) == speech("Next.")


async def test_closing_wakes_who_waits_for_audio() -> None:
    async with DashScopeRealtimeServer() as server:
        server.script(Fault("stall"))
        model = model_of(server)
        await model.connect()
        waiting = asyncio.create_task(rest(model, msg("Hello, world.")))
        await server.until(lambda s: s.calls[0].bytes_sent > 0)
        await model.close()
        with pytest.raises(IncompleteAudio, match="closed") as raised:
            await waiting
        assert not raised.value.retryable


async def test_options_reach_the_session() -> None:
    options = DashScopeRealtimeOptions(
        language_type="English", speech_rate=1.25, sample_rate=16000
    )
    async with DashScopeRealtimeServer(sample_rate=16_000) as server:
        model = model_of(server, voice="Ethan", options=options, generate_kwargs={"volume": 40})
        response = (await rest(model, msg("Hello.")))[-1]
        session = server.calls[0].request["session"]
    assert response.media_type == "audio/pcm;rate=16000"
    assert session == {
        "voice": "Ethan",
        "mode": "server_commit",
        "response_format": "pcm",
        "sample_rate": 16000,
        "language_type": "English",
        "speech_rate": 1.25,
        "volume": 40,
    }


async def test_accounts_do_not_mix() -> None:
    async with DashScopeRealtimeServer(keys=["sk-a", "sk-b"]) as server:
        models = [model_of(server, api_key=key) for key in ("sk-a", "sk-b", "sk-c")]
        answers = await asyncio.gather(
            *(audio_of(m, msg(m._api_key)) for m in models), return_exceptions=True
        )
        assert answers[:2] == [speech("sk-a"), speech("sk-b")]
        assert isinstance(answers[2], AuthenticationFailed)
        assert {call.key: call.text for call in server.calls if call.billed} == {
            "sk-a": "sk-a",
            "sk-b": "sk-b",
        }


async def test_the_environment_serves_key_and_url(monkeypatch: pytest.MonkeyPatch) -> None:
    async with DashScopeRealtimeServer() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        assert await audio_of(DashScopeRealtimeTTSModel(), msg("Hello.")) == speech("Hello.")
        assert server.calls[0].key == "fake"
