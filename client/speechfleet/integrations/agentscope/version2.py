"""A speech model for AgentScope 2, as its `TTSMiddleware` and its service use one.

    agent = Agent(..., middlewares=[TTSMiddleware(FleetTTSModel("openai/gpt-4o-mini-tts"))])

For each text block of a reply the middleware calls push with every delta, then synthesize; the
model is connected once for all of them. It calls synthesize for an interrupted reply, too: that
its task is being cancelled is the only sign.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

from agentscope.tts import TTSModelBase, TTSModelCard, TTSResponse
from pydantic import Field

from speechfleet.client import AsyncClient
from speechfleet.errors import SpeechFleetError
from speechfleet.integrations.agentscope.fleet_address import FleetAddress
from speechfleet.integrations.agentscope.offered import offered_models
from speechfleet.integrations.agentscope.replies import Replies
from speechfleet.integrations.agentscope.speaking import Speaking, log
from speechfleet.integrations.agentscope.text_block import TextBlock
from speechfleet.integrations.agentscope.wav_deltas import WavDeltas, block_of
from speechfleet.strict_model import StrictModel


class FleetTTSModel(TTSModelBase):
    """Speaks a reply at a time by the fleet: each text block is a session, or a job.

    ``model``: "provider/model". ``realtime``: speak while the text is written; without, each
    block when it is whole. ``stream=False``: `synthesize` answers once, with all of it.
    ``client``: without, the loop's own is opened at the first word. ``strict=False``: where the
    fleet fails, the reply goes on without speech (content None) and a line in the log;
    ``strict=True`` raises. ``keywords``: as for `AsyncClient.session`, or `AsyncClient.submit`.
    ``credential`` and ``parameters``: as AgentScope's service gives them.

    Audio is a WAV with a streaming header; each response holds only what is new. A second
    reply at the same time has no sound: use `FleetTTSMiddleware` for several agents.
    """

    realtime = True

    class Parameters(StrictModel):
        """Options that users of AgentScope's service may set."""

        voice: str = Field("", description="a voice of the model; empty: its default")
        speed: float | None = Field(None, description="of the speech; 1 is normal")
        instructions: str | None = Field(None, description="how to speak, if the model heeds it")

    def __init__(
        self,
        model: str = "",
        voice: str = "",
        stream: bool = True,
        client: AsyncClient | None = None,
        *,
        credential: FleetAddress | None = None,
        parameters: Parameters | None = None,
        realtime: bool = True,
        strict: bool = False,
        **keywords: Any,
    ) -> None:
        credential = credential or FleetAddress()
        parameters = parameters or self.Parameters(voice=voice)
        super().__init__(credential, model, parameters, stream)
        self.realtime = realtime
        options = parameters.model_dump(exclude={"voice"}, exclude_none=True)
        self._speaking = Speaking(
            model,
            parameters.voice,
            client=client,
            strict=strict,
            overrides=credential.overrides,
            **{**options, **keywords},
        )
        self._replies = Replies()
        self._block = TextBlock(self._speaking)
        self._ending: TextBlock | None = None

    @classmethod
    def list_models(cls, custom_yaml_dir: str | None = None) -> list[TTSModelCard]:
        """List the models that the workers of the fleet of the environment offer.

        Waits for Redis. Empty, with a line in the log, where no fleet can be reached.
        """
        return [
            TTSModelCard(
                name=name,
                label=name,
                realtime=cls.realtime,
                parameter_schema=cls.Parameters.model_json_schema(),
                parameters_overrides={},
            )
            for name in offered_models()
        ]

    # --- the life of a reply ----------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.realtime and not self._replies.was_abandoned(exc_type):
            await self.close()

    async def connect(self) -> None:
        """Begin a reply. Nothing is opened before its first word: many replies have none."""
        if self._replies.begin():
            await self._fall_silent()
        else:
            log.warning(
                "a second reply speaks through the same FleetTTSModel, and has no sound: use "
                "FleetTTSMiddleware, or a model for each agent"
            )

    async def close(self) -> None:
        """End what is being said, unless all of it was heard. Idempotent."""
        if self._replies.end():
            await self._fall_silent()

    async def _fall_silent(self) -> None:
        blocks, self._ending = (self._block, self._ending), None
        self._block = TextBlock(self._speaking)
        for block in blocks:
            if block is not None:
                await block.leave()

    async def push(self, text: str, **kwargs: Any) -> TTSResponse:
        """Take the next piece of a text block; return the audio that there is, if any.

        Raises RuntimeError before `connect`.
        """
        self._check_connected()
        data = b"" if self._replies.is_mute() else await self._block.push(text)
        return TTSResponse(content=block_of(data), is_last=False)

    async def synthesize(
        self, text: str | None = None, **kwargs: Any
    ) -> TTSResponse | AsyncGenerator[TTSResponse, None]:
        """Speak the block to its end: ``text``, or what was pushed. Then the next may begin.

        With ``stream=True`` a generator, also of nothing; its last response has ``is_last``.
        Interrupts instead where the calling task is being cancelled.
        """
        deltas = self._rest(text) if self.realtime else self._whole(text or "")
        if self.stream:
            return _responses(deltas)
        async with aclosing(deltas):
            data = b"".join([each async for each in deltas])
        return TTSResponse(content=block_of(data))

    def _check_connected(self) -> None:
        if not self._replies.began:
            raise RuntimeError("the model is not connected; call connect() first")

    # --- audio ------------------------------------------------------------------------------

    async def _rest(self, text: str | None) -> AsyncGenerator[bytes, None]:
        """Yield what is left of the block; whoever leaves before its end does not want it."""
        self._check_connected()
        if self._replies.is_mute():
            return
        block, self._block = self._block, TextBlock(self._speaking)
        if _being_cancelled():
            await block.leave()
            return
        self._ending = block
        if text:
            await block.say(text)
        async with aclosing(block.rest()) as deltas:
            async for data in deltas:
                yield data
        self._ending = None

    async def _whole(self, text: str) -> AsyncGenerator[bytes, None]:
        """Yield the audio of a text that is whole."""
        if not text.strip() or _being_cancelled():
            return
        try:
            job, chunks = await self._speaking.submit(text)
            heard = False
            try:
                async with aclosing(WavDeltas().all_after(chunks)) as deltas:
                    async for data in deltas:
                        yield data
                heard = True
            finally:
                if not heard:
                    with contextlib.suppress(SpeechFleetError):
                        await job.cancel("its listener has left")
        except SpeechFleetError as error:
            self._speaking.give_up(error)


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _responses(deltas: AsyncGenerator[bytes, None]) -> AsyncGenerator[TTSResponse, None]:
    async with aclosing(deltas):
        async for data in deltas:
            yield TTSResponse(content=block_of(data), is_last=False)
    yield TTSResponse(content=None)
