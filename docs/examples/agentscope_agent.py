"""An AgentScope agent that speaks while it thinks.

    python agentscope_agent.py "What is a fleet?"

What is heard goes to reply.wav. A script answers; with OPENAI_API_KEY a language model, in a
voice of OpenAI's.
"""

import asyncio
import os
import sys
from base64 import b64decode
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from agentscope.agent import Agent
from agentscope.credential import CredentialBase, OpenAICredential
from agentscope.event import DataBlockDeltaEvent, TextBlockDeltaEvent
from agentscope.formatter import OpenAIChatFormatter
from agentscope.message import TextBlock, UserMsg
from agentscope.model import ChatModelBase, ChatResponse, OpenAIChatModel
from pydantic import SecretStr

from speechfleet import AsyncClient
from speechfleet.integrations.agentscope import FleetTTSMiddleware


class Script(ChatModelBase):
    """Stands in for a language model."""

    formatter = OpenAIChatFormatter()

    async def _call_api(self, *args: Any, **kwargs: Any) -> AsyncGenerator[ChatResponse, None]:
        return self._say(["A fleet is a number ", "of ships. They ", "sail together."])

    async def _say(self, pieces: list[str]) -> AsyncGenerator[ChatResponse, None]:
        for piece in pieces:
            yield ChatResponse(content=[TextBlock(text=piece, id="1")], is_last=False)
        yield ChatResponse(content=[TextBlock(text="".join(pieces), id="1")], is_last=True)


async def main(question: str) -> bytes:
    """Ask the agent, print its words as they come, and return its voice as a WAV file."""
    key = os.environ.get("OPENAI_API_KEY", "")
    model: ChatModelBase = (
        OpenAIChatModel(OpenAICredential(api_key=SecretStr(key)), "gpt-4o-mini")
        if key
        else Script(CredentialBase(), "script", Script.Parameters(), stream=True)
    )
    speaks = "openai/gpt-4o-mini-tts" if key else ""  # the fleet's own voice
    async with AsyncClient.local() as fleet:
        voice = FleetTTSMiddleware(speaks, client=fleet)
        agent = Agent("captain", "You answer in two sentences.", model, middlewares=[voice])
        audio = b""
        async for event in agent.reply_stream(UserMsg("user", question)):
            if isinstance(event, TextBlockDeltaEvent):
                print(event.delta, end="", flush=True)
            if isinstance(event, DataBlockDeltaEvent):
                audio += b64decode(event.data or "")
    return audio


asked = sys.argv[1] if len(sys.argv) > 1 else "What is a fleet?"
Path("reply.wav").write_bytes(asyncio.run(main(asked)))
print("\nreply.wav")
