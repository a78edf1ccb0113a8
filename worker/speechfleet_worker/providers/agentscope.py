"""Adapt a model of AgentScope's own (`agentscope.tts`, version 1) to our contract.

To put one into a fleet, register a class that builds it:

    class Mine(AgentScopeModel):
        def __init__(self, model_name, stream, voice, **options):
            super().__init__(agentscope.tts.GeminiTTSModel(os.environ["KEY"], model_name, voice))

AgentScope is not imported here: the model is known by what it does.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from speechfleet.audio.buffer import AudioBuffer
from speechfleet.audio.media_type import media_type_for
from speechfleet.errors import IncompleteAudio
from speechfleet.tts import Msg, TTSModelBase, TTSResponse


class AgentScopeModel(TTSModelBase):
    """Drive ``model`` and mend what its answers say.

    ``accumulative=False`` for a model whose streamed answers hold only what is new, as those
    of AgentScope's OpenAITTSModel do. Raises IncompleteAudio where a text was answered without
    audio: those models make that of errors.
    """

    def __init__(self, model: Any, *, accumulative: bool = True) -> None:
        super().__init__(model.model_name, model.stream)
        self.supports_streaming_input = bool(model.supports_streaming_input)
        self._model = model
        self._accumulative = accumulative
        self._pushed: _Audio | None = None

    async def connect(self) -> None:
        self._pushed = None
        await self._model.connect()

    async def close(self) -> None:
        self._pushed = None
        await self._model.close()

    async def push(self, msg: Msg, **kwargs: Any) -> TTSResponse:
        self._pushed = self._pushed or _Audio(accumulative=True)
        self._pushed.take(await self._model.push(msg, **kwargs))
        return self._pushed.response(is_last=False)

    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> TTSResponse | AsyncGenerator[TTSResponse, None]:
        if self.stream:
            return self._responses(msg, kwargs)
        last = TTSResponse()
        async with aclosing(self._responses(msg, kwargs)) as responses:
            async for response in responses:
                last = response
        return last

    async def _responses(
        self, msg: Msg | None, kwargs: dict[str, Any]
    ) -> AsyncGenerator[TTSResponse, None]:
        audio, self._pushed = self._pushed or _Audio(self._accumulative), None
        spoken = bool(msg and msg.text().strip())
        if spoken or self.supports_streaming_input:
            answer = await self._model.synthesize(msg, **kwargs)
            if hasattr(answer, "__aiter__"):
                async with aclosing(_closable(answer)) as answers:
                    async for each in answers:
                        if audio.take(each):
                            yield audio.response(is_last=False)
            else:
                audio.take(answer)
        if spoken and not audio.length:
            raise IncompleteAudio(f"{type(self._model).__name__} answered without any audio")
        yield audio.response(is_last=True)


class _Audio:
    """The audio of one message, from answers that repeat earlier audio or do not."""

    def __init__(self, accumulative: bool) -> None:
        self._accumulative = accumulative
        self._seen = ""
        self._buffer = AudioBuffer()
        self._media_type = media_type_for(24_000)

    @property
    def length(self) -> int:
        return len(self._buffer)

    def take(self, response: Any) -> bool:
        """Take a response in; tell whether it brought new audio."""
        # By item, never by attribute: in version 1 only items are right.
        source = ((response["content"] if response else None) or {}).get("source") or {}
        data: str = source.get("data") or ""
        if not data:
            return False
        self._media_type = source.get("media_type") or self._media_type
        if self._accumulative:
            if not data.startswith(self._seen):
                raise IncompleteAudio(
                    "an answer does not go on from the one before it; where answers hold only "
                    "what is new, say accumulative=False"
                )
            data, self._seen = data[len(self._seen) :], data
        self._buffer.append(_decoded(data))
        return bool(data)

    def response(self, *, is_last: bool) -> TTSResponse:
        return TTSResponse.of(self._buffer, self._media_type, is_last=is_last)


def _decoded(data: str) -> bytes:
    """Decode base64 strings that stand one after the other, each with its padding."""
    return b"".join(b64decode(run) for run in re.findall(r"[^=]+={0,2}", data))


async def _closable(answers: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """Wrap any asynchronous iterator in a generator that closes it if possible."""
    try:
        async for answer in answers:
            yield answer
    finally:
        close = getattr(answers, "aclose", None)
        if close is not None:
            await close()
