"""AgentScope 1.x: agents that speak through the fleet.

    speech = FleetTTSModel("dashscope/qwen3-tts-flash-realtime", voice="Cherry")
    agent = ReActAgent(..., tts_model=speech)

Its calls for one message are connect, push..., synthesize, close, with one id all along; close
without synthesize means that the reply was interrupted. A model that is not realtime is only
asked to synthesize. Version 2 has another contract.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from importlib import import_module
from typing import Any, Self

from speechfleet.chunks import Chunk
from speechfleet.client import AsyncClient
from speechfleet.errors import MisconfiguredError, SpeechFleetError
from speechfleet.session import AsyncSession
from speechfleet.tts import Msg, TTSResponse

# By its name: type checkers see the classes of version 2.
TTSModelBase: Any = import_module("agentscope.tts").TTSModelBase
if hasattr(TTSModelBase, "realtime"):
    raise MisconfiguredError(
        "this FleetTTSModel is for AgentScope 1, and version 2 is installed: import it from "
        "speechfleet.integrations.agentscope, which has the right one"
    )

PLAYED_AT = 24_000
"""Samples a second that AgentScope's own player takes for granted; all speech gets this rate."""

log = logging.getLogger("speechfleet.integrations.agentscope")


class FleetTTSModel(TTSModelBase):  # type: ignore[misc]  # see there
    """Speaks a message at a time by the fleet; made to be a ReActAgent's tts_model.

    ``realtime``: each message is a session, spoken while it is written; without, a job of the
    live lane, spoken when it is whole. Without ``client`` the settings decide, and the
    connection is its own for as long as a message takes. ``stream=False``: `synthesize` answers
    once, with all of it. ``strict=False``: where the fleet fails, the reply goes on without
    speech (content None) and a line in the log; ``strict=True`` raises. ``order``: as for
    `AsyncClient.session`, or `AsyncClient.submit`.

    A message with another id while one is active is a RuntimeError, as in AgentScope.
    """

    def __init__(
        self,
        model: str,
        voice: str = "",
        stream: bool = True,
        client: AsyncClient | None = None,
        *,
        realtime: bool = True,
        strict: bool = False,
        **order: Any,
    ) -> None:
        super().__init__(model, stream)
        self.supports_streaming_input = realtime
        # Language models write markdown.
        self._order = {"model": model, "voice": voice, "speakable": "markdown", **order}
        self._given = client
        self._client: AsyncClient | None = None
        self._connected = False
        self._strict = strict
        self._session: AsyncSession | None = None
        self._message: str | None = None
        self._mute = False

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    async def connect(self) -> None:
        """Idempotent. The session itself is opened by the first text: many messages have none."""
        self._connected, self._mute = True, False
        if self._client is None:
            try:
                self._client = self._given or await AsyncClient().__aenter__()
            except SpeechFleetError as error:
                self._give_up(error)

    async def close(self) -> None:
        """End what is being said, unless all of it was heard; idempotent."""
        self._connected = False
        try:
            await self._leave()
        except SpeechFleetError as error:
            self._give_up(error)
        finally:
            client, self._client = self._client, None
            if client is not None and client is not self._given:
                await client.close()

    async def push(self, msg: Any, **kwargs: Any) -> TTSResponse:
        """Take the text so far; all the audio so far, content None where there is none."""
        if not self._connected:
            raise RuntimeError("the model is not connected; call connect() first")
        id, text = self._taken(msg)
        if not text:
            return TTSResponse(is_last=False)
        try:
            session = await self._session_for(id)
            if session is not None:
                return (await session.push(text)).response()
        except SpeechFleetError as error:
            self._give_up(error)
        return TTSResponse(is_last=False)

    async def synthesize(
        self, msg: Any = None, **kwargs: Any
    ) -> TTSResponse | AsyncGenerator[TTSResponse, None]:
        """Speak the rest, to its end. With ``stream`` always a generator, also of nothing."""
        if self.supports_streaming_input and not self._connected:
            raise RuntimeError("the model is not connected; call connect() first")
        responses = self._responses(*self._taken(msg))
        if self.stream:
            return responses
        last = TTSResponse()
        async with aclosing(responses):
            async for response in responses:
                last = response
        return last

    async def _responses(self, id: str | None, text: str) -> AsyncGenerator[TTSResponse, None]:
        ended = False
        try:
            spoken = self._said if self.supports_streaming_input else self._submitted
            async with aclosing(spoken(id, text)) as chunks:
                async for chunk in chunks:
                    ended = chunk.is_last
                    yield chunk.response()
        except SpeechFleetError as error:
            self._give_up(error)
        if not ended:
            yield TTSResponse()

    async def _said(self, id: str | None, text: str) -> AsyncGenerator[Chunk, None]:
        """Yield the session's audio, to its end; whoever leaves before does not want the rest."""
        session = await self._session_for(id) if text else self._session
        if session is None:
            return
        ended = False
        try:
            async with aclosing(session.synthesize(text or None)) as chunks:
                async for chunk in chunks:
                    ended = chunk.is_last
                    yield chunk
        finally:
            await self._leave(heard=ended)

    async def _submitted(self, id: str | None, text: str) -> AsyncGenerator[Chunk, None]:
        """Do the same for a text that is whole."""
        if id is None or not text:
            return
        async with AsyncExitStack() as stack:
            client = self._given
            if client is None:
                client = await stack.enter_async_context(AsyncClient())
            job = await client.submit(Msg("", text, id=id), **self._order)
            ended = False
            try:
                async with aclosing(job.stream(linear=True, sample_rate=PLAYED_AT)) as chunks:
                    async for chunk in chunks:
                        ended = chunk.is_last
                        yield chunk
            finally:
                if not ended:
                    with contextlib.suppress(SpeechFleetError):
                        await job.cancel("its listener has left")

    def _taken(self, msg: Any) -> tuple[str | None, str]:
        """Return the message's id and text, copied at once: AgentScope goes on writing into it."""
        if msg is None:
            return None, ""
        if self._message not in (None, msg.id):
            raise RuntimeError(
                "only one streaming input request at a time is handled: message "
                f"{self._message!r} is active, close() ends it"
            )
        return msg.id, msg.get_text_content() or ""

    async def _session_for(self, id: str | None) -> AsyncSession | None:
        """Return the message's session, opened now if need be; None where the fleet failed."""
        if self._mute or self._client is None:
            return None
        if self._session is None:
            # Linear: AgentScope's player cannot un-hear.
            session = self._client.session(
                id=id, linear=True, sample_rate=PLAYED_AT, **self._order
            )
            await session.open()
            self._session, self._message = session, id
        return self._session

    async def _leave(self, *, heard: bool = False) -> None:
        session, self._session, self._message = self._session, None, None
        if session is None:
            return
        try:
            if not heard:
                await session.interrupt()
        finally:
            await session.close()

    def _give_up(self, error: SpeechFleetError) -> None:
        """Go on without speech until the next message: the words matter more."""
        if self._strict:
            raise error
        self._mute = True
        log.warning("the reply goes on without speech: %s: %s", error.code, error)
