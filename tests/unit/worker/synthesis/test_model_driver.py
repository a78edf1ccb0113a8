"""Driving any model through its contract: bytes, shapes, time-outs, errors without secrets."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from speechfleet import AudioBlock, Msg, TTSModelBase, TTSResponse
from speechfleet.audio.media_type import PcmShape
from speechfleet.errors import (
    IncompleteAudio,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    SpeechFleetError,
)
from speechfleet.settings import Timeouts
from speechfleet_worker.synthesis.model_driver import AudioPiece, redact, speak
from tests.support.stub_ledger import StubModel, spoken

SHORT = Timeouts(connect=0.01, first_audio=0.02, silence=0.02, call=5)


def response(pcm: bytes, media_type: str = "audio/pcm;rate=24000", **fields: Any) -> TTSResponse:
    data = b64encode(pcm).decode()
    source = {"type": "base64", "media_type": media_type, "data": data}
    return TTSResponse(AudioBlock(type="audio", source=source), **fields)  # type: ignore[typeddict-item]


class Scripted(TTSModelBase):
    """Answers with these responses; an exception among them is raised, a number is slept."""

    def __init__(self, *script: TTSResponse | Exception | float) -> None:
        super().__init__("scripted", stream=True)
        self.script = script

    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> AsyncGenerator[TTSResponse, None]:
        return self._responses()

    async def _responses(self) -> AsyncGenerator[TTSResponse, None]:
        for step in self.script:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                yield step


async def pieces(model: TTSModelBase, timeouts: Timeouts | None = None) -> list[AudioPiece]:
    async with aclosing(speak(model, "Hello.", timeouts or Timeouts())) as found:
        return [piece async for piece in found]


async def test_accumulated_responses_become_new_bytes() -> None:
    found = await pieces(StubModel())
    assert b"".join(piece.pcm for piece in found) == spoken("Hello.")
    assert {piece.shape for piece in found} == {(24_000, 1)}


async def test_one_response_is_enough() -> None:
    class Whole(TTSModelBase):
        async def synthesize(self, msg: Msg | None = None, **kwargs: Any) -> TTSResponse:
            return response(b"abcd", is_last=True)

    assert [p.pcm for p in await pieces(Whole("whole", stream=False))] == [b"abcd"]


@pytest.mark.parametrize(
    ("script", "match"),
    [
        ((response(b"abcd", is_last=False),), "without a last"),
        ((TTSResponse(is_last=True),), "no audio"),
        ((response(b"abc", is_last=True),), "whole 16-bit"),
        (
            (
                response(b"abcd", is_last=False),
                response(b"abcdef", "audio/pcm;rate=48000", is_last=True),
            ),
            "changed its sample rate",
        ),
    ],
    ids=["no-end", "no-audio", "odd-bytes", "rate-changes"],
)
async def test_audio_that_is_not_whole_is_no_success(
    script: tuple[TTSResponse, ...], match: str
) -> None:
    with pytest.raises(IncompleteAudio, match=match):
        await pieces(Scripted(*script))


@pytest.mark.parametrize(
    "media_type",
    [
        "audio/mpeg",
        "audio/pcm;rate=1",
        "audio/pcm;rate=999999",
        "audio/pcm;channels=6",
        "x" * 9999,
    ],
)
async def test_what_the_fleet_does_not_take_is_refused(media_type: str) -> None:
    with pytest.raises(ProviderError, match="the model answers with") as caught:
        await pieces(Scripted(response(b"abcdefghijkl", media_type, is_last=True)))
    assert not caught.value.retryable
    assert len(caught.value.message) < 200


async def test_own_classes_are_held_to_the_time_outs() -> None:
    with pytest.raises(ProviderTimeout, match="first audio"):
        await pieces(Scripted(1.0), SHORT)
    with pytest.raises(ProviderTimeout, match="silence"):
        await pieces(Scripted(response(b"abcd", is_last=False), 1.0), SHORT)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ValueError("odd"), ProviderError), (OSError("gone"), ProviderUnavailable)],
    ids=["any", "transport"],
)
async def test_foreign_errors_become_ours(error: Exception, kind: type[SpeechFleetError]) -> None:
    with pytest.raises(kind, match=type(error).__name__) as caught:
        await pieces(Scripted(error))
    assert caught.value.retryable


async def test_no_error_holds_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOKORO_API_KEY", "sk-very-secret")
    monkeypatch.setenv("KOKORO_CREDENTIALS", "another-secret")
    with pytest.raises(ProviderError, match=r"\*\*\*") as caught:
        await pieces(Scripted(ValueError("key sk-very-secret refused")))
    assert "sk-very-secret" not in str(caught.value)
    assert redact("another-secret", ["KOKORO_CREDENTIALS"]) == "***"


def test_metadata_of_a_foreign_class_is_bounded() -> None:
    wild = AudioPiece(b"", PcmShape(24_000), None, {"request_id": "x\n" * 500})
    assert len(wild.request_id) <= 64
    assert wild.request_id.isprintable()
