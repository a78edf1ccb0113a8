"""AgentScope's own agents, of the version that the extra installs, speaking through a fleet."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from agentscope.agent import ReActAgent
from agentscope.formatter import FormatterBase
from agentscope.message import Msg, TextBlock, ThinkingBlock, ToolUseBlock
from agentscope.model import ChatModelBase, ChatResponse
from agentscope.pipeline import stream_printing_messages
from agentscope.tool import Toolkit, ToolResponse
from agentscope.tts import TTSModelBase

from speechfleet import AsyncClient, State
from speechfleet.embedded import EmbeddedFleet
from speechfleet.integrations.agentscope import FleetTTSModel
from speechfleet_worker.testing.dashscope_realtime_server import DashScopeRealtimeServer
from speechfleet_worker.testing.wire import speech as provided
from tests.support.stage import MODEL, ROOT, Stage, spoken, staged

PROGRAM = ROOT / "docs" / "examples" / "agentscope1" / "agent.py"

Step = Sequence[list[Any]]
"""What the language model answers to one call: content blocks, piece by piece, accumulated."""


class Plain(FormatterBase):
    async def format(self, msgs: list[Msg], **_: Any) -> list[dict[str, Any]]:
        return [{"role": msg.role, "content": msg.get_text_content()} for msg in msgs]


class Script(ChatModelBase):
    """A language model that says what is written for it."""

    def __init__(self, *steps: Step, stream: bool = True) -> None:
        super().__init__("script", stream)
        self._steps = iter(steps)
        self.said = asyncio.Event()
        self.hang = False

    async def __call__(
        self, *_: Any, **__: Any
    ) -> ChatResponse | AsyncGenerator[ChatResponse, None]:
        step = next(self._steps)
        return self._say(step) if self.stream else ChatResponse(content=step[-1])

    async def _say(self, step: Step) -> AsyncGenerator[ChatResponse, None]:
        for content in step:
            yield ChatResponse(content=content)
        self.said.set()
        if self.hang:
            await asyncio.Event().wait()


def text(words: str) -> TextBlock:
    return TextBlock(type="text", text=words)


def writing(*lines: str) -> Step:
    """Four characters at a time."""
    whole = " ".join(lines)
    return [[text(whole[:end])] for end in range(4, len(whole) + 4, 4)]


def agent(model: Script, speech: FleetTTSModel, toolkit: Toolkit | None = None) -> ReActAgent:
    assert isinstance(speech, TTSModelBase)
    agent = ReActAgent(
        name="assistant",
        sys_prompt="Speak.",
        model=model,
        formatter=Plain(),
        toolkit=toolkit,
        tts_model=speech,
    )
    agent.set_console_output_enabled(False)
    return agent


async def heard(agent: ReActAgent) -> dict[str, bytes]:
    """What a player plays of each message: of every answer only what it did not have yet."""
    played: dict[str, str] = {}
    replies: Any = stream_printing_messages(
        [agent], agent(Msg("user", "Well?", "user")), yield_speech=True
    )
    async for msg, _, speech in replies:
        so_far = played.setdefault(msg.id, "")
        if speech is not None:
            source = speech["source"]
            assert source["media_type"] == "audio/pcm;rate=24000"
            assert source["data"].startswith(so_far), "one growing string"
            played[msg.id] = source["data"]
    return {id: b64decode(data) for id, data in played.items()}


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder, workers=1, lanes=["session"]) as stage:
        stage.fleet.start_worker("--lanes", "live")
        yield stage


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[AsyncClient]:
    async with stage.client() as client:
        yield client


@contextmanager
def chat_server(answer: str) -> Iterator[str]:
    """A language model behind DashScope's protocol, as far as a streamed answer needs it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for word in re.findall(r"\S+\s*", answer):
                message = {"role": "assistant", "content": word}
                output = {"choices": [{"finish_reason": "null", "message": message}]}
                data = json.dumps({"output": output, "usage": {}, "request_id": "1"})
                event = f"id:1\nevent:result\n:HTTP_STATUS/200\ndata:{data}\n\n"
                self.wfile.write(event.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/api/v1"
        server.shutdown()
        thread.join()


LINES = ["The agent says one sentence.", "Then it says another one."]


@pytest.mark.parametrize("language_model", ["streams", "answers at once"])
@pytest.mark.parametrize("realtime", [True, False], ids=["session", "job"])
@pytest.mark.parametrize("stream", [True, False], ids=["chunks", "one answer"])
async def test_a_reply_is_heard_whole_and_once(
    client: AsyncClient, stream: bool, realtime: bool, language_model: str
) -> None:
    lines = [f"{line[:-1]} {stream} {realtime} {language_model}." for line in LINES]
    model = Script(writing(*lines), stream=language_model == "streams")
    speech = FleetTTSModel(MODEL, stream=stream, client=client, realtime=realtime)
    [(id, audio)] = (await heard(agent(model, speech))).items()
    assert audio == spoken(lines)
    status = await client.job(id).status()
    assert (status.state, status.lane) == (State.SUCCEEDED, "session" if realtime else "live")


async def test_steps_with_tools_are_messages_of_their_own(client: AsyncClient) -> None:
    """A step that only thinks and calls a tool has no sound, and no job."""
    toolkit = Toolkit()
    toolkit.register_tool_function(look)
    call = ToolUseBlock(type="tool_use", id="1", name="look", input={})
    thought = ThinkingBlock(type="thinking", thinking="Hm.")
    again = ToolUseBlock(type="tool_use", id="2", name="look", input={})
    model = Script(
        [[text("I shall look.")], [text("I shall look."), call]],
        [[thought], [thought, again]],
        writing("There is nothing."),
    )
    played = await heard(agent(model, FleetTTSModel(MODEL, client=client), toolkit))
    silent = [id for id, audio in played.items() if not audio]
    assert [audio for audio in played.values() if audio] == [
        spoken(["I shall look."]), spoken(["There is nothing."]),
    ]  # fmt: skip
    known = {job.id for job in await client.jobs()}
    assert silent
    assert not known & set(silent)


async def look() -> ToolResponse:
    """Look."""
    return ToolResponse(content=[text("Nothing.")])


@pytest.mark.parametrize("moment", ["while it writes", "while it speaks"])
async def test_an_interrupted_reply_falls_silent_and_the_next_is_heard(
    client: AsyncClient, stage: Stage, moment: str
) -> None:
    first = f"This is interrupted {moment}."
    speech = FleetTTSModel(MODEL, client=client, chunks=300, pace=0.2)
    model = Script(writing(first, "And so on, and so on."), writing("As you like."))
    model.hang = moment == "while it writes"
    speaker = agent(model, speech)
    reply = asyncio.create_task(heard(speaker))
    await model.said.wait()
    await stage.ledger.until("start", [first])
    await speaker.interrupt()
    async with asyncio.timeout(60):
        [id, *_] = await reply
    assert (await client.job(id).status()).state is State.CANCELLED
    await stage.ledger.until("closed", [first])
    model.hang = False
    speech = FleetTTSModel(MODEL, client=client)
    speaker.tts_model = speech
    assert list((await heard(speaker)).values())[-1] == spoken(["As you like."])


async def test_a_fleet_that_is_down_does_not_cost_the_reply(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", f"unix://{tmp_path}/nothing")
    for realtime in (True, False):
        speaker = agent(Script(writing("No sound.")), FleetTTSModel(MODEL, realtime=realtime))
        caplog.clear()
        [audio] = (await heard(speaker)).values()
        assert audio == b""
        assert [r.name for r in caplog.records if "without speech" in r.message] == [
            "speechfleet.integrations.agentscope"
        ]
        [*_, answer] = await speaker.memory.get_memory()
        assert answer.get_text_content() == "No sound."


PLAYER = """
import atexit, os

class OutputStream:
    \"""Sounds like a loudspeaker: keeps what it was given.\"""
    def __init__(self, samplerate, **_):
        assert samplerate == 24000
        self.file = open(os.environ["PLAYED"], "ab")
    def start(self): pass
    def write(self, floats): self.file.write((floats * 32768).astype("int16").tobytes())
    def close(self): self.file.close()
"""


def test_the_program_of_the_documentation(tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text(PLAYER)
    lines = ["A fleet is a number of ships.", "They sail together."]
    with (
        DashScopeRealtimeServer(milliseconds=10).thread() as provider,
        chat_server(" ".join(lines)) as chat,
        EmbeddedFleet(
            tmp_path / "data", lanes=["session"], environ=provider.environment()
        ) as fleet,
    ):
        done = subprocess.run(
            [sys.executable, str(PROGRAM)],
            env={
                "PYTHONPATH": str(tmp_path),
                "PLAYED": str(tmp_path / "played"),
                "DASHSCOPE_API_KEY": "sk-test",
                "DASHSCOPE_HTTP_BASE_URL": chat,
                "SPEECHFLEET_REDIS_URL": fleet.redis_url,
                "SPEECHFLEET_STORE": fleet.store_url,
            },
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert " ".join(lines) in done.stdout
    assert (tmp_path / "played").read_bytes() == b"".join(
        provided(line, milliseconds=10) for line in lines
    )
