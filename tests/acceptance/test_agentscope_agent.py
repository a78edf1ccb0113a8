"""AgentScope 2: its agents with its own middleware, and with ours, speaking through a fleet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from agentscope.event import (
    DataBlockDeltaEvent,
    DataBlockStartEvent,
    ReplyEndEvent,
    TextBlockDeltaEvent,
    ToolResultEndEvent,
)
from agentscope.message import TextBlock, ThinkingBlock, ToolCallBlock, UserMsg
from agentscope.middleware import MiddlewareBase, TTSMiddleware
from redis.asyncio import ConnectionPool

from speechfleet import AsyncClient, State
from speechfleet.errors import FleetUnavailable
from speechfleet.integrations.agentscope import FleetCredential, FleetTTSMiddleware, FleetTTSModel
from tests.support.agentscope_agents import Heard, Script, agent, heard, writing
from tests.support.gateways import ESPEAK
from tests.support.stage import MODEL, Hold, Stage, spoken, staged

LINES = ["The agent says one sentence.", "Then it says another one."]


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder, workers=1, lanes=["session"]) as stage:
        stage.fleet.start_worker("--lanes", "live")
        yield stage


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[AsyncClient]:
    async with stage.client() as client:
        yield client


def speech(
    kind: str, client: AsyncClient | None, *, strict: bool = False, **keywords: Any
) -> MiddlewareBase:
    """A middleware that speaks: ours, or AgentScope's with a model of ours."""
    if kind == "our middleware":
        return FleetTTSMiddleware(MODEL, client=client, strict=strict, **keywords)
    realtime = kind == "a session"
    return TTSMiddleware(
        FleetTTSModel(MODEL, client=client, realtime=realtime, strict=strict, **keywords)
    )


A_MINUTE = {"pace": 0.2, "chunks": 300}
"""Of speech that does not end by itself before a slow machine has interrupted it."""
EVERY_KIND = pytest.mark.parametrize("kind", ["a session", "a job", "our middleware"])


@pytest.mark.parametrize("language_model", ["streams", "answers at once"])
@EVERY_KIND
async def test_a_reply_is_heard_whole_and_once(
    client: AsyncClient, kind: str, language_model: str
) -> None:
    lines = [f"{line[:-1]} {kind} {language_model}." for line in LINES]
    model = Script(writing(*lines), stream=language_model == "streams")
    replies = await heard(agent(model, speech(kind, client)))
    assert replies.audio == [spoken(lines)]
    assert replies.rates == [24_000]
    assert replies.text == " ".join(lines)
    assert isinstance(replies.events[-1], ReplyEndEvent)


async def test_one_answer_holds_all_of_the_audio(client: AsyncClient) -> None:
    tts = TTSMiddleware(FleetTTSModel(MODEL, stream=False, client=client))
    replies = await heard(agent(Script(writing("All of it at once.")), tts))
    assert replies.audio == [spoken(["All of it at once."])]
    assert replies.deltas == 1


@EVERY_KIND
async def test_each_text_block_between_tools_is_spoken(client: AsyncClient, kind: str) -> None:
    """Steps that only think or call a tool have no sound."""
    lines = [f"Let me look, {kind}.", f"It is sunny, {kind}."]
    call = ToolCallBlock(id="1", name="look", input="{}")
    again = ToolCallBlock(id="2", name="look", input="{}")
    model = Script(
        [*writing(lines[0]), [call]], [[ThinkingBlock(thinking="Hm.")], [again]], writing(lines[1])
    )
    replies = await heard(agent(model, speech(kind, client), tool=True))
    assert replies.audio == [spoken([line]) for line in lines]


async def test_a_block_is_a_session_that_anybody_may_follow(client: AsyncClient) -> None:
    replies = await heard(
        agent(Script(writing("Follow me.")), FleetTTSMiddleware(MODEL, client=client))
    )
    [block] = {
        (e.reply_id, e.block_id) for e in replies.events if isinstance(e, TextBlockDeltaEvent)
    }
    job = client.job(".".join(block))
    assert (await job.status()).state is State.SUCCEEDED
    assert b"".join([chunk.delta async for chunk in job.stream()]) == spoken(["Follow me."])


async def test_our_middleware_sends_audio_while_the_language_model_pauses(
    client: AsyncClient,
) -> None:
    model = Script(writing("The first sentence, then a pause. And then it"))
    model.hang = True
    reply = asyncio.create_task(
        heard(agent(model, FleetTTSMiddleware(MODEL, client=client)), until=DataBlockDeltaEvent)
    )
    async with asyncio.timeout(120):
        replies = await reply
    assert replies.rates == [24_000]


async def test_tools_do_not_wait_for_the_speech(client: AsyncClient, tmp_path: Path) -> None:
    line, hold = "This takes a while.", Hold(tmp_path)
    model = Script(
        [*writing(line), [ToolCallBlock(id="1", name="look", input="{}")]], writing("Done.")
    )
    tts = FleetTTSMiddleware(MODEL, client=client, options=hold.options)
    replies = Heard()
    async with asyncio.timeout(120):
        async for event in agent(model, tts, tool=True).reply_stream(UserMsg("user", "Well?")):
            replies.take(event)
            if isinstance(event, ToolResultEndEvent):
                hold.release()
    kinds = [type(event).__name__ for event in replies.events]
    assert kinds.index("ToolResultEndEvent") < kinds.index("DataBlockEndEvent")
    assert replies.audio == [spoken([line]), spoken(["Done."])]


async def test_many_agents_share_one_middleware(client: AsyncClient) -> None:
    tts = FleetTTSMiddleware(MODEL, client=client)
    lines = [f"I am agent number {n}." for n in range(5)]
    replies = await asyncio.gather(*(heard(agent(Script(writing(each)), tts)) for each in lines))
    assert [reply.audio for reply in replies] == [[spoken([line])] for line in lines]


async def test_a_second_reply_over_one_model_is_mute_and_says_so(
    client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    tts = TTSMiddleware(FleetTTSModel(MODEL, client=client))
    slow, quick = Script(writing("The first is heard.")), Script(writing("The second is not."))
    slow.pause = asyncio.Event()
    first = asyncio.create_task(heard(agent(slow, tts)))
    await slow.asked.wait()
    second = await heard(agent(quick, tts))
    slow.pause.set()
    assert second.audio == []
    assert (await first).audio == [spoken(["The first is heard."])]
    assert any("has no sound" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        ("a session", "while it writes"),
        ("a session", "while it speaks"),
        ("our middleware", "while it writes"),
        ("our middleware", "while it speaks"),
        ("a job", "while it speaks"),
    ],
)
async def test_an_interrupted_reply_falls_silent_and_the_next_is_heard(
    client: AsyncClient, stage: Stage, kind: str, moment: str
) -> None:
    first = f"This is interrupted {moment}, {kind}."
    tts = speech(kind, client, options=A_MINUTE)
    model = Script(writing(first, "And so on, and so on."))
    model.hang = moment == "while it writes"
    reply = asyncio.create_task(heard(agent(model, tts)))
    await stage.ledger.until("start", [first])
    reply.cancel()
    async with asyncio.timeout(120):
        outcome = await asyncio.gather(reply, return_exceptions=True)
    assert isinstance(outcome[0], Heard | asyncio.CancelledError)
    await stage.ledger.until("closed", [first])
    replies = await heard(agent(Script(writing("As you like.")), speech(kind, client)))
    assert replies.audio == [spoken(["As you like."])]


@EVERY_KIND
async def test_a_consumer_that_leaves_ends_the_speech(
    client: AsyncClient, stage: Stage, kind: str
) -> None:
    line = f"Nobody wants this, {kind}."
    tts = speech(kind, client, options=A_MINUTE)
    model = Script(writing(line, "Nor this."))
    await heard(agent(model, tts), until=DataBlockStartEvent)
    await stage.ledger.until("closed", [line])


@EVERY_KIND
async def test_a_fleet_that_is_down_costs_the_speech_and_not_the_reply(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", f"unix://{tmp_path}/nothing")
    replies = await heard(agent(Script(writing("No sound.")), speech(kind, None)))
    assert (replies.audio, replies.text) == ([], "No sound.")
    assert isinstance(replies.events[-1], ReplyEndEvent)
    assert [r.name for r in caplog.records if "without speech" in r.message] == [
        "speechfleet.integrations.agentscope"
    ]
    with pytest.raises(FleetUnavailable):
        await heard(agent(Script(writing("No sound.")), speech(kind, None, strict=True)))


async def test_a_text_without_words_opens_nothing(client: AsyncClient) -> None:
    before = {job.id for job in await client.jobs()}
    replies = await heard(
        agent(
            Script([[ThinkingBlock(thinking="Hm.")], [TextBlock(text=" ", id="t")]]),
            speech("a job", client),
        )
    )
    assert replies.audio == []
    assert {job.id for job in await client.jobs()} == before


async def test_the_service_of_agentscope_offers_the_fleet_and_speaks_by_it(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_app = pytest.importorskip("agentscope.app", exc_type=ImportError).create_app
    storage = import_module("agentscope.app.storage")
    bus = import_module("agentscope.app.message_bus").InMemoryMessageBus()
    workspaces = import_module("agentscope.app.workspace_manager").LocalWorkspaceManager
    get_tts_model = import_module("agentscope.app._service._tts_model").get_tts_model
    pool = ConnectionPool.from_url(stage.fleet.redis_url)
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", stage.fleet.redis_url)
    app = create_app(
        storage.RedisStorage(connection_pool=pool),
        bus,
        workspaces(str(tmp_path)),
        extra_credentials=[FleetCredential],
        enable_channel_worker=False,
        enable_scheduler=False,
    )
    web = httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://service", headers={"X-User-ID": "u"}
    )
    async with app.router.lifespan_context(app), web:
        offered = (await web.get("/tts-model/", params={"provider": "speechfleet"})).json()
        assert ESPEAK in [card["name"] for card in offered["models"]]
        fleet = {"redis_url": stage.fleet.redis_url, "store": stage.fleet.store_url}
        data = {"type": "speechfleet", "name": "fleet", **fleet}
        made = await web.post("/credential/", json={"data": data})
        chosen = storage.TTSModelConfig(
            type="speechfleet", credential_id=made.json()["credential_id"], model=ESPEAK,
            parameters={"voice": "en-us"},
        )  # fmt: skip
        model = await get_tts_model("u", chosen, app.state.resource_access_service)
        replies = await heard(agent(Script(writing("Hello.")), TTSMiddleware(model)))
    await pool.disconnect()
    assert replies.rates == [22_050]
    assert len(replies.audio[0]) > 10_000
