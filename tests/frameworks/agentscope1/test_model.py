"""What a ReActAgent calls, as recorded, and what it gets from the fleet."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from speechfleet import AsyncClient, Msg, State, TTSResponse
from speechfleet.errors import FleetUnavailable
from speechfleet.integrations.agentscope import FleetTTSModel
from tests.support.stage import MODEL, Stage, sentences, spoken, staged


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder, lanes=["session"]) as stage:
        stage.fleet.start_worker("--lanes", "live")
        yield stage


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[AsyncClient]:
    async with stage.client() as client:
        yield client


def message(text: str | None, id: str = "reply") -> Msg:
    return Msg(name="assistant", content=text, id=id)


async def answers(model: FleetTTSModel, msg: Msg) -> list[TTSResponse]:
    answer = await model.synthesize(msg)
    assert not isinstance(answer, TTSResponse), "a generator, also of nothing"
    return [response async for response in answer]


def pcm(response: TTSResponse) -> bytes:
    return b64decode(response.content["source"]["data"]) if response.content else b""


@pytest.mark.parametrize("steps", [3, 0], ids=["streaming LLM", "whole text"])
async def test_a_reply_is_one_growing_string(client: AsyncClient, steps: int) -> None:
    lines = sentences(f"the agent {steps}", 3)
    text, seen = " ".join(lines), ""
    async with FleetTTSModel(MODEL, client=client) as model:
        msg = message("", f"reply-{steps}")
        for step in range(steps):
            msg.content = text[: (step + 1) * len(text) // 4]  # it is mutated between pushes
            response = await model.push(msg)
            assert response["is_last"] is False
            data = response.content["source"]["data"] if response.content else ""
            assert data.startswith(seen)
            seen = data
        responses = await answers(model, message(text, msg.id))
    for response in responses:
        data = response.content["source"]["data"] if response.content else ""
        assert data.startswith(seen)
        seen = data
    assert pcm(responses[-1]) == spoken(lines)
    assert [r["is_last"] for r in responses] == [False] * (len(responses) - 1) + [True]
    assert (await client.job(msg.id).status()).state is State.SUCCEEDED


async def test_without_streaming_there_is_one_answer(client: AsyncClient) -> None:
    async with FleetTTSModel(MODEL, stream=False, client=client) as model:
        response = await model.synthesize(message("All at once.", "at once"))
    assert isinstance(response, TTSResponse)
    assert pcm(response) == spoken(["All at once."])


async def test_a_step_that_only_thinks_opens_nothing(client: AsyncClient) -> None:
    async with FleetTTSModel(MODEL, client=client) as model:
        assert (await model.push(message(None, "thought"))).content is None
        [response] = await answers(model, message(None, "thought"))
    assert (response.content, response["is_last"]) == (None, True)
    assert "thought" not in [job.id for job in await client.jobs()]


async def test_an_interrupted_reply_is_cancelled_and_the_next_one_spoken(
    client: AsyncClient,
) -> None:
    model = FleetTTSModel(MODEL, client=client)
    await model.connect()
    await model.push(message("A long reply. That is ", "broken"))
    with pytest.raises(RuntimeError, match="one streaming input"):
        await model.push(message("Another.", "other"))
    await model.close()
    assert (await client.job("broken").status()).state is State.CANCELLED
    await model.connect()
    responses = await answers(model, message("The next.", "next"))
    assert pcm(responses[-1]) == spoken(["The next."])
    await model.close()
    with pytest.raises(RuntimeError, match="not connected"):
        await model.push(message("Too late."))


async def test_a_fleet_that_fails_costs_the_speech_and_not_the_reply(
    client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with FleetTTSModel("nobody/paced", client=client, open_timeout=0.1) as model:
        assert (await model.push(message("Some words.", "mute"))).content is None
        [response] = await answers(model, message("Some words. And more.", "mute"))
        assert (response.content, response["is_last"]) == (None, True)
    assert caplog.messages == [m for m in caplog.messages if "no_capacity" in m][:1]


async def test_a_fleet_that_is_down_is_no_error_unless_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", f"unix://{tmp_path}/nothing")
    async with FleetTTSModel(MODEL) as model:
        [response] = await answers(model, message("Some words."))
        assert response.content is None
    with pytest.raises(FleetUnavailable):
        await FleetTTSModel(MODEL, strict=True).connect()


@pytest.mark.parametrize("realtime", [True, False], ids=["session", "job"])
async def test_speech_has_the_rate_that_the_player_takes_for_granted(
    client: AsyncClient, realtime: bool
) -> None:
    """espeak speaks at 22,050 Hz."""
    model = FleetTTSModel("espeak/espeak-ng", "en-us", False, client, realtime=realtime)
    async with model:
        response = await model.synthesize(message("A little lower.", f"low {realtime}"))
    assert isinstance(response, TTSResponse)
    assert response.media_type == "audio/pcm;rate=24000"
