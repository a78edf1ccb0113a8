"""AgentScope's own agents and middleware over a client without a fleet: who calls whom."""

from __future__ import annotations

import asyncio
import gc
import time
from importlib import import_module
from typing import Any

import pytest
from agentscope.credential import CredentialFactory
from agentscope.event import DataBlockDeltaEvent, ReplyEndEvent, TextBlockEndEvent
from agentscope.message import TextBlock, ThinkingBlock, ToolCallBlock
from agentscope.middleware import TTSMiddleware
from agentscope.tts import TTSResponse

from speechfleet.errors import MisconfiguredError, NoCapacity
from speechfleet.integrations.agentscope import (
    FleetCredential,
    FleetTTSMiddleware,
    FleetTTSModel,
)
from tests.support.agentscope_agents import Heard, Script, agent, heard, writing
from tests.support.scripted_client import ScriptedClient, voice

HELLO = [[TextBlock(text=each, id="t")] for each in ("Hel", "lo, wor", "ld.")]


class Recorded(FleetTTSModel):
    """Notes AgentScope's calls."""

    def __init__(self, client: ScriptedClient, **keywords: Any) -> None:
        super().__init__("p/m", client=client.as_client(), **keywords)
        self.trace: list[Any] = []

    async def connect(self) -> None:
        self.trace.append("connect")
        await super().connect()

    async def close(self) -> None:
        self.trace.append("close")
        await super().close()

    async def push(self, text: str, **kwargs: Any) -> TTSResponse:
        self.trace.append(("push", text, *kwargs))
        return await super().push(text, **kwargs)

    async def synthesize(self, text: str | None = None, **kwargs: Any) -> Any:
        self.trace.append(("synthesize", text, *kwargs))
        return await super().synthesize(text, **kwargs)


@pytest.mark.parametrize("stream", [True, False], ids=["streams", "answers at once"])
async def test_the_calls_of_a_reply_are_those_that_were_recorded(stream: bool) -> None:
    client = ScriptedClient()
    model = Recorded(client)
    reply = await heard(agent(Script(HELLO, stream=stream), TTSMiddleware(model)))
    pushes = ["Hel", "lo, wor", "ld."] if stream else ["Hello, world."]
    assert model.trace == [
        "connect", *(("push", text) for text in pushes), ("synthesize", None), "close",
    ]  # fmt: skip
    assert client.calls == [
        ("open",), *(("say", text) for text in pushes), ("complete",), ("close",),
    ]  # fmt: skip
    assert reply.audio == [voice("Hello, world.")]


async def test_tools_and_thoughts_make_one_session_for_each_text_over_one_connection() -> None:
    client = ScriptedClient()
    model = Recorded(client)
    script = Script(
        [*writing("Let me look."), [ToolCallBlock(id="1", name="look", input="{}")]],
        [[ThinkingBlock(thinking="Hm.")], [ToolCallBlock(id="2", name="look", input="{}")]],
        writing("It is sunny."),
    )
    reply = await heard(agent(script, TTSMiddleware(model), tool=True))
    assert reply.audio == [voice("Let me look."), voice("It is sunny.")]
    assert model.trace.count("connect") == model.trace.count("close") == 1
    assert client.names.count("open") == 2


@pytest.mark.parametrize("ours", [True, False], ids=["our middleware", "their middleware"])
@pytest.mark.parametrize("moment", ["while it writes", "while it speaks"])
async def test_an_interrupted_reply_falls_silent(ours: bool, moment: str) -> None:
    client = ScriptedClient(endless=True)
    script = Script(writing("Never to be ended."))
    script.hang = moment == "while it writes"
    tts = (
        FleetTTSMiddleware("p/m", client=client.as_client())
        if ours
        else TTSMiddleware(Recorded(client))
    )
    reply = Heard()
    speaking = asyncio.Event()

    async def listen() -> None:
        async for event in agent(script, tts).reply_stream(None):
            reply.take(event)
            if isinstance(event, DataBlockDeltaEvent):
                speaking.set()

    task = asyncio.create_task(listen())
    await speaking.wait()
    if moment == "while it speaks":
        await client.until("complete")
    task.cancel()
    async with asyncio.timeout(60):
        await asyncio.wait([task])
    assert client.names[-2:] == ["interrupt", "close"]
    assert client.names.count("say") <= len(writing("Never to be ended."))


async def test_our_middleware_sends_audio_while_the_language_model_pauses() -> None:
    script = Script(writing("A sentence. And"))
    script.hang = True
    client = ScriptedClient()
    tts = FleetTTSMiddleware("p/m", client=client.as_client())
    async with asyncio.timeout(60):
        reply = await heard(agent(script, tts), until=DataBlockDeltaEvent)
    assert reply.rates == [24_000]
    gc.collect()  # AgentScope leaves the generators of a reply to it
    await client.until("interrupt")


async def test_a_session_that_takes_long_to_open_does_not_hold_up_the_text() -> None:
    client = ScriptedClient()
    client.room.clear()
    tts = FleetTTSMiddleware("p/m", client=client.as_client())
    reply = Heard()
    async with asyncio.timeout(60):
        async for event in agent(Script(HELLO), tts).reply_stream(None):
            reply.take(event)
            if isinstance(event, TextBlockEndEvent):
                client.room.set()
    assert reply.audio == [voice("Hello, world.")]
    assert isinstance(reply.events[-1], ReplyEndEvent)


async def test_the_reply_makes_one_round_and_ends_after_its_audio() -> None:
    client = ScriptedClient()
    tts = FleetTTSMiddleware("p/m", client=client.as_client())
    reply = await heard(agent(Script(HELLO), tts))
    names = [type(event).__name__ for event in reply.events]
    assert names.count("ModelCallStartEvent") == 1
    assert names[-2:] == ["DataBlockEndEvent", "ReplyEndEvent"]
    [session] = client.sessions
    [block] = {(e.reply_id, e.block_id) for e in reply.events if isinstance(e, TextBlockEndEvent)}
    assert session.id == ".".join(block)


@pytest.mark.parametrize("ours", [True, False], ids=["our middleware", "their middleware"])
async def test_a_fleet_that_fails_costs_the_speech_unless_strict(
    ours: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def tts(*, strict: bool) -> Any:
        client = ScriptedClient(failure=NoCapacity("full")).as_client()
        if ours:
            return FleetTTSMiddleware("p/m", client=client, strict=strict)
        return TTSMiddleware(FleetTTSModel("p/m", client=client, strict=strict))

    reply = await heard(agent(Script(HELLO), tts(strict=False)))
    assert (reply.audio, reply.text) == ([], "Hello, world.")
    assert caplog.messages == ["the reply goes on without speech: no_capacity: full"]
    with pytest.raises(NoCapacity):
        await heard(agent(Script(HELLO), tts(strict=True)))


async def test_a_second_reply_over_one_model_is_mute() -> None:
    model = FleetTTSModel("p/m", client=ScriptedClient().as_client())

    async def mute() -> TTSResponse:
        await model.connect()
        response = await model.push("Not heard.")
        await model.close()
        return response

    await model.connect()
    assert (await asyncio.create_task(mute())).content is None
    assert (await model.push("Heard.")).content is not None
    await model.close()


async def test_a_reply_after_one_that_was_left_is_heard() -> None:
    """The end of the first comes when the garbage collector finds its generator."""
    client = ScriptedClient()
    model = FleetTTSModel("p/m", client=client.as_client())
    await model.__aenter__()
    await model.push("Left.")
    await model.__aenter__()
    await model.push("Heard. ")
    await model.__aexit__(GeneratorExit, GeneratorExit(), None)
    response = await model.push("To the end.")
    assert response is not None
    assert client.names.count("interrupt") == 1
    await model.__aexit__(None, None, None)
    assert client.names.count("interrupt") == 2


async def test_push_before_connect_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="connect"):
        await FleetTTSModel("p/m").push("Too early.")


async def test_audio_is_not_cut_into_more_deltas_than_needed() -> None:
    """Clients decode all of a block's audio again for every delta."""
    client = ScriptedClient()
    model = FleetTTSModel("p/m", client=client.as_client())
    await model.connect()
    started = time.process_time()
    answers = [await model.push("x" * 240) for _ in range(300)]  # three seconds, a hundredth each
    assert sum(answer.content is not None for answer in answers) <= 13
    assert time.process_time() - started < 5


def test_a_credential_of_the_service_makes_the_model() -> None:
    FleetCredential.register()
    FleetCredential.register()
    credential = CredentialFactory.from_dict(
        {"type": "speechfleet", "redis_url": "redis://:secret@h", "namespace": "n"}
    )
    assert isinstance(credential, FleetCredential)
    assert "secret" not in repr(credential)
    assert credential.overrides == {
        "redis_url": "redis://:secret@h", "store": None, "namespace": "n",
    }  # fmt: skip
    assert type(credential).get_chat_model_classes() == []
    [kind] = type(credential).get_tts_model_classes()
    model = kind(  # as the service does
        credential=credential, model="p/m", parameters=kind.Parameters(voice="v")
    )
    assert (model.model, model.realtime) == ("p/m", True)


def test_a_fleet_that_is_not_there_lists_no_models(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", f"unix://{tmp_path}/nothing")
    assert FleetTTSModel.list_models() == []
    assert any("no speech models are listed" in message for message in caplog.messages)


def test_the_class_of_version_1_is_refused_with_the_name_of_the_right_one() -> None:
    with pytest.raises(MisconfiguredError, match=r"import it from speechfleet\.integrations"):
        import_module("speechfleet.integrations.agentscope.version1")
