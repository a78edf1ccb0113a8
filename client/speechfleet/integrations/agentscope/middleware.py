"""A middleware for AgentScope 2 that sends audio whenever there is some, not only with text."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from agentscope.event import (
    DataBlockDeltaEvent,
    DataBlockEndEvent,
    DataBlockStartEvent,
    ReplyEndEvent,
    TextBlockDeltaEvent,
    TextBlockEndEvent,
)
from agentscope.middleware import MiddlewareBase

from speechfleet.client import AsyncClient
from speechfleet.integrations.agentscope.relay import Relay
from speechfleet.integrations.agentscope.speaking import Speaking
from speechfleet.integrations.agentscope.text_block import TextBlock
from speechfleet.integrations.agentscope.wav_deltas import MEDIA_TYPE, encoded
from speechfleet.integrations.agentscope.written_block import WrittenBlock

if TYPE_CHECKING:
    from agentscope.agent import Agent

INTERRUPTED = "interrupted"
"""The ``finished_reason`` of such a reply; versions before 2.0.5 or so tell none."""


class FleetTTSMiddleware(MiddlewareBase):
    """Speak every text block of any number of agents' replies, each as a session.

    The id of a session is ``reply_id.block_id``: anybody may follow it, or resume it. Audio
    leaves as ``DATA_BLOCK_*`` events (``audio/wav``) between the others, one block after the
    other; tools do not wait for it, and the reply ends after its last byte. An interrupted
    reply falls silent. Arguments as for `FleetTTSModel`.
    """

    def __init__(
        self,
        model: str = "",
        voice: str = "",
        client: AsyncClient | None = None,
        *,
        strict: bool = False,
        **keywords: Any,
    ) -> None:
        self._speaking = Speaking(model, voice, client=client, strict=strict, **keywords)

    async def on_reply(
        self,
        agent: Agent,
        input_kwargs: dict[str, Any],
        next_handler: Callable[..., AsyncGenerator[Any, None]],
    ) -> AsyncGenerator[Any, None]:
        """Yield the events of a reply, and those of its audio."""
        relay = Relay()
        reply = _SpokenReply(self._speaking, relay)
        relay.start(source=reply.pass_on(next_handler(**input_kwargs)), second=reply.speak())
        try:
            async with aclosing(relay.events(interrupted=reply.fall_silent)) as events:
                async for event in events:
                    yield event
        finally:
            await relay.stop()
            await reply.leave()


class _SpokenReply:
    """Speaks the text blocks of a reply in order."""

    def __init__(self, speaking: Speaking, relay: Relay) -> None:
        self._speaking = speaking
        self._relay = relay
        self._writing: WrittenBlock | None = None
        self._blocks: list[WrittenBlock] = []
        self._unspoken: asyncio.Queue[WrittenBlock | None] = asyncio.Queue()
        self._silent = False

    async def pass_on(self, events: AsyncGenerator[Any, None]) -> None:
        """Pass the agent's events on, and their text to the blocks; hold back the reply's end."""
        async with aclosing(self._relay.of_agent(events)) as of_agent:
            async for event in of_agent:
                if isinstance(event, ReplyEndEvent):
                    await self._end_of_text(event)
                await self._relay.send(event)
                if isinstance(event, TextBlockDeltaEvent):
                    self._block_of(event).write(event.delta)
                elif isinstance(event, TextBlockEndEvent):
                    self._end_block()
        await self._end_of_text()

    def _block_of(self, event: TextBlockDeltaEvent) -> WrittenBlock:
        if self._writing is None:
            id = f"{event.reply_id}.{event.block_id}"
            self._writing = WrittenBlock(event.reply_id, TextBlock(self._speaking, id))
            self._blocks.append(self._writing)
            self._unspoken.put_nowait(self._writing)
            if self._silent:
                self._writing.interrupt()
        return self._writing

    def _end_block(self) -> None:
        if self._writing is not None:
            self._writing.end()
            self._writing = None

    async def _end_of_text(self, end: ReplyEndEvent | None = None) -> None:
        """Wait until all that was written is heard, or silenced."""
        if getattr(end, "finished_reason", None) == INTERRUPTED:
            self.fall_silent()
        self._end_block()
        self._unspoken.put_nowait(None)
        await self._relay.second_ended()

    async def speak(self) -> None:
        """Send the audio of the blocks, one after the other."""
        while (block := await self._unspoken.get()) is not None:
            await self._speak_block(block)

    async def _speak_block(self, block: WrittenBlock) -> None:
        id, started = uuid.uuid4().hex, False
        async with aclosing(block.audio()) as deltas:
            async for data in deltas:
                if not started:
                    started = True
                    await self._relay.send(
                        DataBlockStartEvent(
                            reply_id=block.reply_id, block_id=id, media_type=MEDIA_TYPE
                        )
                    )
                await self._relay.send(
                    DataBlockDeltaEvent(
                        reply_id=block.reply_id,
                        block_id=id,
                        media_type=MEDIA_TYPE,
                        data=encoded(data),
                    )
                )
        if started:
            await self._relay.send(DataBlockEndEvent(reply_id=block.reply_id, block_id=id))

    def fall_silent(self) -> None:
        """Interrupt all that is being said, and say no more."""
        self._silent = True
        for block in self._blocks:
            block.interrupt()

    async def leave(self) -> None:
        """End what was not heard."""
        for block in self._blocks:
            await block.leave()
