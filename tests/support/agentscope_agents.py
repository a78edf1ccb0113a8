"""Agents of AgentScope 2 with a language model that says what is written for it."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from agentscope.agent import Agent
from agentscope.credential import CredentialBase
from agentscope.event import DataBlockDeltaEvent, TextBlockDeltaEvent
from agentscope.formatter import OpenAIChatFormatter
from agentscope.message import TextBlock, UserMsg
from agentscope.middleware import MiddlewareBase
from agentscope.model import ChatModelBase, ChatResponse
from agentscope.permission import PermissionContext, PermissionMode
from agentscope.state import AgentState
from agentscope.tool import FunctionTool, ToolChunk, Toolkit

from speechfleet.audio import wav

Step = Sequence[list[Any]]
"""What the language model answers to one call: content blocks, piece by piece."""


class Script(ChatModelBase):
    """Answers each call with the next step.

    ``pause``: wait for it before the first piece. ``hang``: never come to the end.
    """

    formatter = OpenAIChatFormatter()

    def __init__(self, *steps: Step, stream: bool = True) -> None:
        super().__init__(CredentialBase(), "script", self.Parameters(), stream=stream)
        self._steps = iter(steps)
        self.asked = asyncio.Event()
        self.pause: asyncio.Event | None = None
        self.hang = False

    async def _call_api(self, *_: Any, **__: Any) -> Any:
        step = next(self._steps)
        if self.stream:
            return self._say(step)
        return ChatResponse(content=whole(step), is_last=True)

    async def _say(self, step: Step) -> AsyncGenerator[ChatResponse, None]:
        self.asked.set()
        if self.pause is not None:
            await self.pause.wait()
        for content in step:
            yield ChatResponse(content=content, is_last=False)
        if self.hang:
            await asyncio.Event().wait()
        yield ChatResponse(content=whole(step), is_last=True)


def whole(step: Step) -> list[Any]:
    """The answer as the language model repeats it at its end."""
    blocks = [block for content in step for block in content]
    text = "".join(block.text for block in blocks if isinstance(block, TextBlock))
    others = [block for block in blocks if not isinstance(block, TextBlock)]
    return [TextBlock(text=text, id="t"), *others] if text else others


def writing(*lines: str) -> Step:
    """Four characters at a time."""
    whole = " ".join(lines)
    return [[TextBlock(text=whole[at : at + 4], id="t")] for at in range(0, len(whole), 4)]


async def look() -> ToolChunk:
    """Look."""
    return ToolChunk(content=[TextBlock(text="Nothing.")])


def agent(model: Script, speech: MiddlewareBase, *, tool: bool = False) -> Agent:
    """An agent that speaks by this middleware."""
    toolkit = Toolkit(tools=[FunctionTool(look, is_read_only=True)] if tool else [])
    state = AgentState(permission_context=PermissionContext(mode=PermissionMode.BYPASS))
    return Agent("assistant", "Speak.", model, toolkit, middlewares=[speech], state=state)


@dataclass
class Heard:
    """The events of one reply, and the audio of each of its blocks."""

    events: list[Any] = field(default_factory=list)
    blocks: dict[str, bytes] = field(default_factory=dict)
    deltas: int = 0

    def take(self, event: Any) -> None:
        self.events.append(event)
        if isinstance(event, DataBlockDeltaEvent):
            assert event.media_type == "audio/wav"
            assert event.data is not None
            self.deltas += 1
            before = self.blocks.get(event.block_id, b"")
            self.blocks[event.block_id] = before + b64decode(event.data, validate=True)

    @property
    def audio(self) -> list[bytes]:
        return [bytes(wav.decode(data).pcm) for data in self.blocks.values()]

    @property
    def rates(self) -> list[int]:
        return [wav.decode(data).sample_rate for data in self.blocks.values()]

    @property
    def text(self) -> str:
        return "".join(e.delta for e in self.events if isinstance(e, TextBlockDeltaEvent))


async def heard(speaker: Agent, until: type | None = None) -> Heard:
    """Ask an agent, and hear its reply to the end, or to the first event of a type."""
    reply = Heard()
    async with aclosing(speaker.reply_stream(UserMsg("user", "Well?"))) as events:
        async for event in events:
            reply.take(event)
            if until is not None and isinstance(event, until):
                break
    return reply
