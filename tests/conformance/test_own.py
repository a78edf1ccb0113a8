"""Classes that somebody else might have: written to the contract alone, and AgentScope's own."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator
from typing import Any

from speechfleet.settings import Timeouts
from speechfleet.tts import AudioBlock, Base64Source, Msg, TTSModelBase, TTSResponse
from speechfleet_worker.providers.agentscope import AgentScopeModel
from speechfleet_worker.testing.conformance import KEY, ModelConformance
from speechfleet_worker.testing.wire import NoServer, WireServer, speech


class Chirp(TTSModelBase):
    """Nothing but `synthesize`, with base64 made by hand."""

    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> TTSResponse | AsyncGenerator[TTSResponse, None]:
        text = (msg.get_text_content() if msg else None) or ""
        audio = speech(text.strip(), 24_000, 20)
        return self._streamed(audio) if self.stream else _response(audio, last=True)

    async def _streamed(self, audio: bytes) -> AsyncGenerator[TTSResponse, None]:
        for end in range(6000, len(audio), 6000):
            yield _response(audio[:end], last=False)
        yield _response(audio, last=True)


def _response(audio: bytes, *, last: bool) -> TTSResponse:
    if not audio:
        return TTSResponse(is_last=last)
    data = b64encode(audio).decode()
    source = Base64Source(type="base64", media_type="audio/pcm;rate=24000", data=data)
    return TTSResponse(AudioBlock(type="audio", source=source), is_last=last)


class AgentScopeLike:
    """What `agentscope.tts` models of version 1 do: answers that are right by item alone, and
    "accumulated" base64 that is strings one after the other."""

    supports_streaming_input = False

    def __init__(self, stream: bool) -> None:
        self.model_name, self.stream = "like", stream

    async def synthesize(self, msg: Msg) -> Any:
        audio = speech(str(msg.get_text_content()), 24_000, 20)
        deltas = [audio[at : at + 5000] for at in range(0, len(audio), 5000)]
        strings = [b64encode(delta).decode() for delta in deltas]
        if not self.stream:
            return LikeResponse("".join(strings), last=True)
        return self._streamed(strings)

    async def _streamed(self, strings: list[str]) -> AsyncGenerator[Any, None]:
        for number in range(1, len(strings) + 1):
            yield LikeResponse("".join(strings[:number]), last=number == len(strings))


class LikeResponse(dict[str, Any]):
    is_last = True

    def __init__(self, data: str, *, last: bool) -> None:
        source = {"type": "base64", "media_type": "audio/pcm;rate=24000", "data": data}
        super().__init__(content={"type": "audio", "source": source}, is_last=last)


class TestOwn(ModelConformance):
    def server(self, **settings: Any) -> WireServer:
        return NoServer(**settings)

    def model(
        self,
        server: WireServer,
        *,
        stream: bool = True,
        timeouts: Timeouts | None = None,
        key: str = KEY,
    ) -> TTSModelBase:
        return Chirp("chirp", stream)


class TestAgentScope(TestOwn):
    def model(
        self,
        server: WireServer,
        *,
        stream: bool = True,
        timeouts: Timeouts | None = None,
        key: str = KEY,
    ) -> TTSModelBase:
        return AgentScopeModel(AgentScopeLike(stream))
