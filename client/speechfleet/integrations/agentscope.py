"""AgentScope 1.x: agents that speak through the fleet.

    speech = FleetTTSModel("dashscope/qwen3-tts-flash-realtime", voice="Cherry")
    agent = ReActAgent(..., tts_model=speech)

AgentScope itself is not imported: it knows a model by what it does. Its calls for one message
are connect, push..., synthesize, close, with one id all along; close without synthesize means
that the reply was interrupted.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import Any

from speechfleet.client import AsyncClient
from speechfleet.errors import SpeechFleetError
from speechfleet.session import AsyncSession
from speechfleet.tts import TTSModelBase, TTSResponse

log = logging.getLogger(__name__)


class FleetTTSModel(TTSModelBase):
    """One message at a time, each a session of the fleet; made to be a ReActAgent's tts_model.

    Without ``client`` the settings decide, and the connection is its own from `connect` to
    `close`. ``stream=False``: `synthesize` answers once, with all of it. ``strict=False``: where
    the fleet fails, the reply goes on without speech (content None) and a line in the log;
    ``strict=True`` raises. ``order``: as for `AsyncClient.session`.

    A message with another id while one is active is a RuntimeError, as in AgentScope.
    """

    supports_streaming_input = True

    def __init__(
        self,
        model: str,
        voice: str = "",
        stream: bool = True,
        client: AsyncClient | None = None,
        *,
        strict: bool = False,
        **order: Any,
    ) -> None:
        super().__init__(model, stream)
        # Linear: its player cannot un-hear.
        self._order = {"model": model, "voice": voice, "linear": True, **order}
        self._given = client
        self._client: AsyncClient | None = None
        self._connected = False
        self._strict = strict
        self._session: AsyncSession | None = None
        self._message: str | None = None
        self._mute = False

    async def connect(self) -> None:
        """Idempotent. The session itself is opened by the first text: many messages have none."""
        self._connected, self._mute = True, False
        if self._client is None:
            try:
                self._client = self._given or await AsyncClient().__aenter__()
            except SpeechFleetError as error:
                self._give_up(error)

    async def close(self) -> None:
        """End what is being said, unless all its text was given; idempotent."""
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
        """See `TTSModelBase.push`; ``msg``: AgentScope's or ours."""
        id, text = self._taken(msg)
        if not text:
            return TTSResponse(is_last=False)
        try:
            session = await self._session_for(id)
            return (await session.push(text)).response() if session else _nothing(last=False)
        except SpeechFleetError as error:
            self._give_up(error)
            return _nothing(last=False)

    async def synthesize(
        self, msg: Any = None, **kwargs: Any
    ) -> TTSResponse | AsyncGenerator[TTSResponse, None]:
        """See `TTSModelBase.synthesize`. With ``stream`` always a generator, also of nothing."""
        id, text = self._taken(msg)
        responses = self._responses(id, text)
        if self.stream:
            return responses
        last = _nothing(last=True)
        async for response in responses:
            last = response
        return last

    async def _responses(self, id: str | None, text: str) -> AsyncGenerator[TTSResponse, None]:
        ended = False
        try:
            session = self._session
            if text and session is None:
                session = await self._session_for(id)
            if session is not None:
                async for chunk in session.synthesize(text or None):
                    ended = chunk.is_last
                    yield chunk.response()
        except SpeechFleetError as error:
            self._give_up(error)
        finally:
            await self._leave()
        if not ended:
            yield _nothing(last=True)

    def _taken(self, msg: Any) -> tuple[str | None, str]:
        """The message's id and text, copied at once: AgentScope goes on writing into it."""
        if not self._connected:
            raise RuntimeError("the model is not connected; call connect() first")
        if msg is None:
            return None, ""
        if self._message not in (None, msg.id):
            raise RuntimeError(
                "only one streaming input request at a time is handled: message "
                f"{self._message!r} is active, close() ends it"
            )
        return msg.id, msg.get_text_content() or ""

    async def _session_for(self, id: str | None) -> AsyncSession | None:
        """The message's session, opened now if need be; None where the fleet has failed it."""
        if self._mute or self._client is None:
            return None
        if self._session is None:
            session = self._client.session(id=id, **self._order)
            await session.open()
            self._session, self._message = session, id
        return self._session

    async def _leave(self) -> None:
        session, self._session, self._message = self._session, None, None
        if session is not None:
            await session.close()

    def _give_up(self, error: SpeechFleetError) -> None:
        """The words matter more than their sound: no further try until the next message."""
        if self._strict:
            raise error
        self._mute = True
        log.warning("the reply goes on without speech: %s: %s", error.code, error)


def _nothing(*, last: bool) -> TTSResponse:
    return TTSResponse(is_last=last)
