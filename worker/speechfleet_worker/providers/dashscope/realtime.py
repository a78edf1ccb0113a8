"""Alibaba DashScope (Qwen-TTS-Realtime): speech for a text that is still being written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from speechfleet.errors import IncompleteAudio, InvalidRequest, ProviderError
from speechfleet.settings import Timeouts
from speechfleet.tts import Msg, TTSResponse
from speechfleet_worker.providers.base import (
    Audio,
    Capabilities,
    ProviderModel,
    ProviderOptions,
    Report,
    Utterance,
)
from speechfleet_worker.providers.dashscope.connection import Finished, Mode, RealtimeConnection
from speechfleet_worker.providers.dashscope.conversation import DashScopeConversation
from speechfleet_worker.providers.dashscope.http import DashScopeTTSModel, Language
from speechfleet_worker.providers.dashscope.transport import required_key, sdk


class DashScopeRealtimeOptions(ProviderOptions):
    """Options of ``session.update`` besides the voice; what is None is not sent."""

    mode: Mode = Field("server_commit", description="who decides when to speak: commit = we do")
    language_type: Language = "Auto"
    instructions: str | None = None
    optimize_instructions: bool | None = None
    volume: int | None = Field(None, ge=0, le=100)
    speech_rate: float | None = Field(None, ge=0.5, le=2.0)
    speed: float | None = Field(None, ge=0.5, le=2.0, description="the same as speech_rate")
    pitch_rate: float | None = Field(None, ge=0.5, le=2.0)
    enable_tn: bool | None = Field(None, description="text normalization")
    sample_rate: Literal[8000, 16000, 22050, 24000, 44100, 48000] = 24000
    workspace: str | None = None


class DashScopeRealtimeTTSModel(ProviderModel):
    """Qwen-TTS-Realtime with AgentScope's semantics, and whole texts without `connect`.

    One message at a time: `connect`, any number of `push` with the accumulated text, one
    `synthesize`, `close`. Audio flows while the text is being written: in ``server_commit``
    mode when DashScope thinks fit, in ``commit`` mode for what was pushed with
    ``push(msg, commit=True)``. `synthesize` speaks the rest. `close` at any time ends what is
    being said, and `connect` begins anew; nothing of one message gets into the next.

    ``cold_start_length`` (code points) and ``cold_start_words`` hold the first text back until
    it is as long as both say. ``client_kwargs``: url, headers, workspace. ``generate_kwargs``:
    further session parameters, as they are.

    Raises RuntimeError where it is not connected, or busy with another msg.id; ProviderError
    from `connect`, `push`, `synthesize` and its generator, whichever comes first.
    """

    supports_streaming_input = True
    capabilities: ClassVar[Capabilities] = replace(
        DashScopeTTSModel.capabilities, streaming_input=True
    )
    Options = DashScopeRealtimeOptions
    options: DashScopeRealtimeOptions

    def __init__(
        self,
        api_key: str | None = None,
        model_name: str = "qwen3-tts-flash-realtime",
        voice: str = "Cherry",
        stream: bool = True,
        cold_start_length: int | None = None,
        cold_start_words: int | None = None,
        client_kwargs: Mapping[str, Any] | None = None,
        generate_kwargs: Mapping[str, Any] | None = None,
        *,
        mode: Mode | None = None,
        base_url: str | None = None,
        timeouts: Timeouts | None = None,
        options: DashScopeRealtimeOptions | None = None,
    ) -> None:
        options = options or DashScopeRealtimeOptions()
        if mode is not None:
            options = options.model_copy(update={"mode": mode})
        super().__init__(model_name, stream, voice, timeouts, options)
        self._api_key = required_key(api_key)
        self._cold_start = (cold_start_length or 0, cold_start_words or 0)
        self._client_kwargs = {"url": base_url, **(client_kwargs or {})}
        self._generate_kwargs = dict(generate_kwargs or {})
        self._connected = False
        self._session: _Session | None = None
        self._opening = asyncio.Lock()
        sdk()

    @property
    def speaks_as_pushed(self) -> bool:
        """Tell whether ``server_commit`` was requested, and is not only the default."""
        return self.options.mode == "server_commit" and "mode" in self.options.model_fields_set

    # --- whole texts

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        async with await self.open_connection() as connection:
            await connection.append(text)
            await connection.finish()
            async for event in connection:
                if isinstance(event, Audio):
                    yield event
                elif isinstance(event, Finished):
                    yield Report(usage=event.usage, request_id=event.session_id)

    async def open_connection(self, mode: Mode | None = None) -> RealtimeConnection:
        """Open a session with this model's voice and options, for the caller to drive."""
        unsent = {"mode", "workspace", "speed"}
        parameters = self.options.model_dump(exclude_none=True, exclude=unsent)
        if self.options.speed is not None:
            parameters.setdefault("speech_rate", self.options.speed)
        return await RealtimeConnection.open(
            api_key=self._api_key,
            model=self.model_name,
            session={
                "voice": self.voice,
                "response_format": "pcm",
                **parameters,
                **self._generate_kwargs,
            },
            mode=mode or self.options.mode,
            timeouts=self.timeouts,
            **{"workspace": self.options.workspace, **self._client_kwargs},
        )

    @asynccontextmanager
    async def conversation(self) -> AsyncGenerator[ProviderModel, None]:
        """Texts over one session in commit mode: only so do text and audio align."""
        async with DashScopeConversation(self, self.open_connection) as model:
            yield model

    # --- texts that are still being written

    async def connect(self) -> None:
        """Open the session; idempotent while it is open."""
        self._connected = True
        try:
            await self._session_for(None)
        except BaseException:
            self._connected = False
            raise

    async def close(self) -> None:
        """End whatever is being said and close the socket; idempotent."""
        self._connected = False
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def push(self, msg: Msg, *, commit: bool = False, **kwargs: Any) -> TTSResponse:
        """Push text; see `TTSModelBase.push`. ``commit``: have all text so far spoken."""
        session = await self._session_for(msg.id)
        text = msg.text()
        if not text:
            return TTSResponse(is_last=False)
        await session.extend(text, self._cold_start)
        if commit:
            await session.flush()
        return session.so_far()

    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> TTSResponse | AsyncGenerator[TTSResponse, None]:
        if not self._connected:
            return await super().synthesize(msg, **kwargs)
        session = await self._session_for(msg.id if msg else None)
        speaking = await session.finish(msg.text() if msg else "")
        responses = self._rest_of(session) if speaking else _nothing()
        if self.stream:
            return responses
        last = TTSResponse()
        async with aclosing(responses):
            async for response in responses:
                last = response
        return last

    async def _rest_of(self, session: _Session) -> AsyncGenerator[TTSResponse, None]:
        try:
            async with aclosing(session.responses()) as responses:
                async for response in responses:
                    yield response
        finally:
            if self._session is session:
                self._session = None
            await session.close()

    async def _session_for(self, message_id: str | None) -> _Session:
        """Return the session that speaks this message: the open one, or a new one."""
        if not self._connected:
            raise RuntimeError("the model is not connected; call connect() first")
        async with self._opening:
            session = self._session
            if session is not None and session.over and not session.speaks(message_id):
                self._session = None
                await session.close()
            if self._session is None:
                session = _Session(await self.open_connection())
                if not self._connected:
                    await session.close()
                    raise RuntimeError("the model was closed while it connected")
                self._session = session
            self._session.take(message_id)
            return self._session


class _Session:
    """Holds a connection and the one message that is spoken over it."""

    def __init__(self, connection: RealtimeConnection) -> None:
        self.message_id: str | None = None
        self.finishing = False
        self.over = False
        self._connection = connection
        self._text = ""
        self._sent = 0
        self._spoken = Utterance()
        self._error: ProviderError | None = None
        self._changed = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    def speaks(self, message_id: str | None) -> bool:
        return message_id is not None and self.message_id == message_id

    def take(self, message_id: str | None) -> None:
        """Serve this message; RuntimeError where another one is active."""
        if message_id is None:
            return
        if self.message_id not in (None, message_id):
            raise RuntimeError(
                "only one streaming input request at a time is handled: message "
                f"{self.message_id!r} is active, close() ends it"
            )
        self.message_id = message_id

    async def extend(self, text: str, cold_start: tuple[int, int] = (0, 0)) -> None:
        """Send what is new in the accumulated ``text``, unless it is too short to begin with."""
        self._accumulate(text)
        length, words = cold_start
        long_enough = len(self._text) >= length and len(self._text.split()) >= max(1, words)
        if self._sent or long_enough:
            await self._send()

    async def flush(self) -> None:
        """Have everything spoken that was pushed, held back or not. Nothing where DashScope
        decides: it may have begun with that text, and an empty commit is an error there."""
        if self._connection.mode == "server_commit" or not self._text.strip():
            return
        await self._send()
        if self._connection.uncommitted:
            await self._connection.commit()

    async def finish(self, text: str) -> bool:
        """Send the rest and end the message. False where there is no text at all: then the
        connection is free for the next message."""
        self._accumulate(text)
        if not self._text.strip():
            self.message_id, self._text = None, ""
            return False
        if not self.finishing:
            self.finishing = True
            await self._send()
            await self._connection.finish()
        return True

    def so_far(self) -> TTSResponse:
        return self._spoken.response(is_last=False)

    async def responses(self) -> AsyncGenerator[TTSResponse, None]:
        """Yield all the audio so far, whenever there is more, up to the end."""
        given = 0
        while True:
            self._changed.clear()
            over, length = self.over, len(self._spoken.buffer)
            if length > given:
                given = length
                yield self.so_far()
            elif self._error is not None:
                raise self._error
            elif over:
                break
            else:
                await self._changed.wait()
        self._spoken.check_complete()
        yield self._spoken.response(is_last=True)

    async def close(self) -> None:
        """Close the connection; who still waits for audio learns that it was cut short."""
        if not self.over:
            self._error = IncompleteAudio("closed before all was spoken", retryable=False)
        self._reader.cancel()
        await asyncio.wait([self._reader])
        await self._connection.close()

    def _accumulate(self, text: str) -> None:
        if self._text.startswith(text):
            return  # unchanged, or an older push that comes late
        if self.finishing:
            raise RuntimeError("synthesize was called for this message: it takes no more text")
        if not text.startswith(self._text):
            raise InvalidRequest(
                "the text must begin with what was pushed before", code="text_diverged"
            )
        self._text = text

    async def _send(self) -> None:
        if self._error is not None:
            raise self._error
        tail, self._sent = self._text[self._sent :], len(self._text)
        if tail:
            await self._connection.append(tail)

    async def _read(self) -> None:
        try:
            async for event in self._connection:
                if isinstance(event, Audio):
                    self._spoken.take(event)
                elif isinstance(event, Finished):
                    self._spoken.report(Report(event.usage, event.session_id))
                self._changed.set()
        except ProviderError as error:
            self._error = error
        finally:
            self.over = True
            self._changed.set()


async def _nothing() -> AsyncGenerator[TTSResponse, None]:
    yield TTSResponse(is_last=True)
