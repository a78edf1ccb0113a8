"""AgentScope's models in our contract: what their answers get wrong is mended."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from speechfleet.errors import IncompleteAudio
from speechfleet.tts import Msg, TTSResponse
from speechfleet_worker.providers.agentscope import AgentScopeModel

DELTAS = (b"\x01\x02" * 50, b"\x03\x04" * 50, b"\x05\x06" * 20)
"""100, 100 and 40 bytes: none a multiple of three, so every base64 string ends in padding."""
STRINGS = [b64encode(delta).decode() for delta in DELTAS]
ACCUMULATED = ["".join(STRINGS[:end]) for end in (1, 2, 3)]


class Response(dict[str, Any]):
    """A dataclass and a dict at once; only the items are right."""

    is_last = True
    content = None

    def __init__(self, data: str | None, *, last: bool = False) -> None:
        source = {"type": "base64", "media_type": "audio/pcm;rate=16000", "data": data}
        block = {"type": "audio", "source": source} if data is not None else None
        super().__init__(content=block, is_last=last)


class Model:
    model_name = "any"
    stream = True

    def __init__(self, answers: Sequence[str | None], *, realtime: bool = False) -> None:
        self.supports_streaming_input = realtime
        self.answers = list(answers)
        self.calls: list[str] = []
        self.closed = False

    async def connect(self) -> None:
        self.calls.append("connect")

    async def close(self) -> None:
        self.calls.append("close")

    async def push(self, msg: Msg) -> Response:
        self.calls.append(f"push {msg.get_text_content()}")
        return Response(self.answers.pop(0))

    async def synthesize(self, msg: Msg) -> Any:
        self.calls.append(f"synthesize {msg.get_text_content()}")
        return self._streamed()

    async def _streamed(self) -> AsyncGenerator[Response, None]:
        try:
            for number, answer in enumerate(self.answers):
                yield Response(answer, last=number == len(self.answers) - 1)
        finally:
            self.closed = True


async def synthesized(model: AgentScopeModel, text: str | None) -> list[TTSResponse]:
    responses = await model.synthesize(Msg("a", text))
    assert isinstance(responses, AsyncGenerator)
    return [response async for response in responses]


def audio(response: TTSResponse) -> bytes:
    return bytes(response.audio_from(0))


async def test_strings_one_after_the_other_are_decoded_each_with_its_padding() -> None:
    responses = await synthesized(AgentScopeModel(Model(ACCUMULATED)), "hello")
    whole = b"".join(DELTAS)
    assert [audio(r) for r in responses] == [whole[:100], whole[:200], whole, whole]
    assert [r.is_last for r in responses] == [False, False, False, True]
    assert responses[-1].media_type == "audio/pcm;rate=16000"


async def test_answers_that_hold_only_what_is_new() -> None:
    model = AgentScopeModel(Model(STRINGS), accumulative=False)
    assert audio((await synthesized(model, "hello"))[-1]) == b"".join(DELTAS)
    with pytest.raises(IncompleteAudio, match="accumulative=False"):
        await synthesized(AgentScopeModel(Model(STRINGS)), "hello")


async def test_silence_for_a_text_is_an_error_and_for_no_text_is_none() -> None:
    inner = Model(["", None])
    with pytest.raises(IncompleteAudio, match="without any audio"):
        await synthesized(AgentScopeModel(inner), "hello")
    assert [r.content for r in await synthesized(AgentScopeModel(Model([])), None)] == [None]


async def test_pushes_and_synthesize_are_one_run_of_audio() -> None:
    inner = Model([None, *ACCUMULATED], realtime=True)
    async with AgentScopeModel(inner) as model:
        assert (await model.push(Msg("a", "Hel"))).content is None
        pushed = await model.push(Msg("a", "Hello"))
        assert audio(pushed) == DELTAS[0]
        assert not pushed.is_last
        responses = await synthesized(model, "Hello.")
    assert audio(responses[0]) == b"".join(DELTAS[:2])
    assert audio(responses[-1]) == b"".join(DELTAS)
    assert inner.calls == ["connect", "push Hel", "push Hello", "synthesize Hello.", "close"]


async def test_closing_early_closes_the_model_inside() -> None:
    inner = Model(ACCUMULATED)
    responses = await AgentScopeModel(inner).synthesize(Msg("a", "hello"))
    assert isinstance(responses, AsyncGenerator)
    await anext(responses)
    await responses.aclose()
    assert inner.closed
