"""Text in by pieces over a WebSocket, and OpenAI's realtime protocol by OpenAI's own package."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from speechfleet import State
from speechfleet.audio import wav
from speechfleet.errors import JobCancelled
from tests.support.gateways import gateway
from tests.support.stage import AHEAD, MODEL, Hold, Stage, sentences, spoken, staged

PCM: dict[str, Any] = {"response_format": "pcm", "stream_audio": True}


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder, workers=1, sessions=True) as stage:
        yield stage


@pytest.fixture(scope="module")
def url(stage: Stage, module_folder: Path) -> Iterator[str]:
    # Fewer connections than these tests open: one that is over must not count any more.
    with gateway(stage.fleet, module_folder, connections_per_address=8) as url:
        yield url


@pytest.fixture(scope="module")
def impatient(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a gateway that waits for no one."""
    limits = {"socket_idle": 0.5, "socket_config": 0.5}
    with gateway(stage.fleet, tmp_path_factory.mktemp("impatient"), **limits) as url:
        yield url


class Listener:
    """A client of the socket for text."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.audio: list[bytes] = []

    async def send(self, type: str, **fields: object) -> None:
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def say(self, text: str, size: int = 7) -> None:
        for at in range(0, len(text), size):
            await self.send("input.text", text=text[at : at + size])

    async def next(self) -> dict[str, Any]:
        """The next message; audio before it is kept."""
        async with asyncio.timeout(120):
            while isinstance(message := await self.socket.recv(), bytes):
                self.audio.append(message)
        event: dict[str, Any] = json.loads(message)
        return event

    async def until(self, type: str) -> list[dict[str, Any]]:
        events = [await self.next()]
        while events[-1]["type"] != type:
            assert events[-1]["type"] != "error", events
            events.append(await self.next())
        return events


@asynccontextmanager
async def listening(url: str, query: str = "", **config: object) -> AsyncIterator[Listener]:
    address = url.replace("http", "ws", 1) + "/v1/audio/speech/stream" + query
    async with connect(address) as socket:
        listener = Listener(socket)
        if config:
            await listener.send("session.config", model=MODEL, **config)
        yield listener


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


async def test_text_is_spoken_while_it_comes(url: str, stage: Stage) -> None:
    lines = sentences("the text in pieces", 3)
    async with listening(url, **PCM, split_granularity="sentence", pace=0.05) as listener:
        begun = lines[1][:AHEAD]
        await listener.say(f"{lines[0]} {begun}")
        first = await listener.next()
        assert (first["type"], first["sentence_text"]) == ("audio.start", lines[0])
        assert (first["format"], first["sample_rate"], first["channels"]) == ("pcm", 24_000, 1)
        await listener.say(f"{lines[1].removeprefix(begun)} {lines[2]}", 1000)
        await listener.send("input.done")
        events = await listener.until("session.done")
    assert b"".join(listener.audio) == spoken(lines)
    assert kinds([first, *events]) == ["audio.start", "audio.done"] * 3 + ["session.done"]
    assert events[-1]["total_sentences"] == 3
    async with stage.client() as client:
        record = await client.job(events[-1]["job_id"]).record()
    assert (record.state, record.request.text) == (State.SUCCEEDED, " ".join(lines))


async def test_utterances_follow_one_another_each_as_a_file(url: str) -> None:
    lines = sentences("the files of a socket", 3)
    async with listening(url, speaker="", seed=7) as listener:
        for number, text in enumerate((" ".join(lines[:2]), lines[2])):
            await listener.say(text, 1000)
            await listener.send("input.done")
            events = await listener.until("session.done")
            assert kinds(events) == ["audio.start", "audio.done", "session.done"]
            assert {event["utterance_index"] for event in events} == {number}
            assert events[1]["total_bytes"] == len(listener.audio[-1])
        await listener.send("input.done")
        empty = await listener.next()
        assert (empty["type"], empty["total_sentences"]) == ("session.done", 0)
        await listener.send("session.close")
        with pytest.raises(ConnectionClosed):
            await listener.next()
        assert listener.socket.close_code == 1000
    assert [wav.decode(data).pcm for data in listener.audio] == [
        spoken(lines[:2]),
        spoken(lines[2:]),
    ]


async def test_words_come_with_their_times(url: str) -> None:
    text = "These are timed."
    async with listening(url, **PCM, word_timestamps=True, words=True) as listener:
        await listener.say(text)
        await listener.send("input.done")
        events = await listener.until("session.done")
    chunks = [event for event in events if event["type"] == "audio.chunk"]
    audio = b"".join(base64.b64decode(chunk["audio_b64"]) for chunk in chunks)
    assert audio == spoken([text])
    words = chunks[-1]["timestamps"]
    assert [word["word"] for word in words] == ["These", "are", "timed"]
    assert (words[0]["start_ms"], words[-1]["end_ms"]) == (0, 500)
    assert [chunk["timestamps"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


async def test_an_interruption_tells_what_was_heard(url: str, tmp_path: Path) -> None:
    lines = sentences("the interrupted text", 3)
    config = {**PCM, "split_granularity": "sentence", **Hold(tmp_path, lines[1]).options}
    async with listening(url, **config) as listener:
        await listener.say(" ".join(lines))
        await listener.send("input.done")
        await listener.until("audio.done")
        await listener.send("session.interrupt", played=len(spoken(lines[:1])))
        *_, done = await listener.until("session.done")
        assert (done["interrupted"], done["heard"]) == (True, len(lines[0]))
        await listener.say("Once more.")
        await listener.send("input.done")
        *_, done = await listener.until("session.done")
        assert (done["utterance_index"], done.get("interrupted")) == (1, None)


async def test_a_client_that_leaves_frees_its_session(url: str, stage: Stage) -> None:
    [line] = sentences("the text that is left", 1)
    async with listening(url, **PCM) as listener:
        await listener.say(f"{line} And then", 1000)
        *_, start = await listener.until("audio.start")
    async with stage.client() as client, asyncio.timeout(120):
        job = client.job(start["job_id"])
        with pytest.raises(JobCancelled):
            await job.result()


async def test_a_lost_socket_is_resumed(url: str) -> None:
    lines = sentences("the resumed text", 3)
    config = {**PCM, "resumable": True}
    async with listening(url, **config) as listener:
        await listener.say(lines[0])
        opened = await listener.next()
        assert opened["type"] == "session.opened"
        await listener.say(f" {lines[1]} ")
        await listener.until("audio.start")
        listener.socket.transport.abort()
        with pytest.raises(ConnectionClosedError):
            await listener.next()
        heard = b"".join(listener.audio)
    query = f"?resume={opened['job_id']}&offset={len(heard)}"
    async with listening(url, query, **config) as listener:
        resumed = await listener.next()
        assert (resumed["type"], resumed["complete"]) == ("session.resumed", False)
        assert resumed["text"] == f"{lines[0]} {lines[1]} "
        await listener.say(lines[2])
        await listener.send("input.done")
        await listener.until("session.done")
        assert heard + b"".join(listener.audio) == spoken(lines)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("no json", "invalid_message"),
        ("[1]", "invalid_message"),
        ('{"type": "input.text"}', "invalid_message"),
        ('{"type": "input.speech"}', "invalid_message"),
        ('{"type": "session.interrupt", "played": -1}', "invalid_request"),
        ('{"type": "session.interrupt", "played": true}', "invalid_request"),
        ('{"type": "session.config", "speed": 9}', "invalid_request"),
        ('{"type": "session.config", "speed": true}', "invalid_request"),
        ('{"type": "session.config", "response_format": "opus", "resumable": true}',
         "invalid_request"),
        ('{"type": "session.config", "model": "espeak/espeak-ng", "hue": 1}', "unknown_option"),
        (json.dumps({"type": "input.text", "text": "x" * (128 << 10)}), "message_too_large"),
        (json.dumps({"type": "input.text", "text": "x" * 100_001}), "text_too_long"),
        (json.dumps({"type": "input.text", "text": "\x00"}), "illegal_text"),
    ],
)  # fmt: skip
async def test_a_wrong_message_is_named_and_the_socket_stays(
    url: str, message: str, code: str
) -> None:
    async with listening(url, **PCM) as listener:
        await listener.socket.send(message)
        error = await listener.next()
        assert (error["type"], error["code"], error["retryable"]) == ("error", code, False)
        await listener.send("input.done")
        done = await listener.next()
        assert (done["type"], done.get("error")) == ("session.done", None)


@pytest.mark.parametrize("config", [{}, PCM], ids=["no configuration", "idle"])
async def test_a_socket_without_a_purpose_is_closed(
    impatient: str, config: dict[str, Any]
) -> None:
    async with listening(impatient, **config) as listener:
        await is_closed(listener, "idle_timeout")


async def test_a_text_before_the_configuration_is_refused(url: str) -> None:
    async with listening(url) as listener:
        await listener.send("input.text", text="Too early.")
        await is_closed(listener, "invalid_message")


async def is_closed(listener: Listener, code: str) -> None:
    """Wait for an error with this code, and the end."""
    assert (await listener.next())["code"] == code
    with pytest.raises(ConnectionClosed):
        await listener.next()
    assert listener.socket.close_code == 1008


async def test_a_path_without_a_websocket_is_named(url: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(url.replace("http", "ws", 1) + "/v1/audio/stream")
    answer = refused.value.response
    assert answer.status_code == 404
    assert "/v1/audio/speech/stream" in json.loads(answer.body)["error"]["message"]


async def test_a_failure_is_sent_and_the_socket_stays(url: str) -> None:
    async with listening(url, **PCM, fail="rejected") as listener:
        await listener.say("These words fail.")
        await listener.send("input.done")
        error = await listener.next()
        assert (error["type"], error["code"]) == ("error", "request_rejected")
        done = await listener.next()
        assert (done["type"], done["error"]) == ("session.done", True)


async def test_openais_package_speaks_by_the_realtime_protocol(url: str) -> None:
    lines = sentences("the realtime text", 2)
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none")
    async with client, client.realtime.connect(model=MODEL) as connection, asyncio.timeout(120):
        assert (await connection.recv()).type == "session.created"
        await connection.session.update(
            session={
                "type": "realtime",
                "audio": {"input": {"turn_detection": None}, "output": {"voice": "any"}},
                "tools": [],
                "tool_choice": "none",
            }
        )
        updated = await connection.recv()
        assert updated.type == "session.updated"
        await connection.conversation.item.create(
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": " ".join(lines)}],
            }
        )
        await connection.response.create()
        audio, seen, response = b"", [], ""
        async for event in connection:
            seen.append(event.type)
            if event.type == "response.created":
                response = str(event.response.id)
            if event.type == "response.output_audio.delta":
                assert event.response_id == response
                audio += base64.b64decode(event.delta)
            if event.type == "response.output_audio_transcript.done":
                assert event.transcript == " ".join(lines)
            if event.type == "response.done":
                assert event.response.status == "completed"
                break
        assert audio == spoken(lines)
        assert list(dict.fromkeys(seen)) == [
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            "response.output_audio.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.done",
        ]


async def test_a_response_is_cancelled_and_errors_name_their_event(url: str) -> None:
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none")
    text: Any = {"type": "message", "role": "user",
            "content": [{"type": "input_text", "text": "Endless."}]}  # fmt: skip
    async with client, client.realtime.connect(model=MODEL) as connection, asyncio.timeout(120):
        await connection.recv()
        await connection.response.create(event_id="empty")
        error = await connection.recv()
        assert error.type == "error"
        assert (error.error.event_id, error.error.code) == ("empty", "invalid_request")
        wrongs: list[Any] = [
            {"type": "input_audio_buffer.append", "audio": ""},
            {"type": "session.update", "session": {"audio": [1]}},
            {"type": "session.update", "session": {"audio": {"output": {"format": "g711"}}}},
            {"type": "response.create", "response": {"input": [1]}},
            {
                "type": "response.create",
                "response": {"input": [text], "audio": {"output": {"speed": True}}},
            },
            {"type": "response.cancel"},
        ]
        for wrong in wrongs:
            await connection.send(wrong)
            assert (await connection.recv()).type == "error"
        await connection.response.create(response={"input": [text]})
        async for event in connection:
            if event.type == "response.output_audio.delta":
                break
        await connection.response.cancel()
        async for event in connection:
            if event.type == "response.done":
                assert event.response.status in ("cancelled", "completed")
                break
