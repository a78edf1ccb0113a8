"""Driving a model through its contract, and through nothing else.

Whatever the class is, one of ours or somebody's own, the fleet calls `synthesize` (inside
``async with`` where it takes streaming input) and reads accumulated responses. Here they
become the new bytes of each, and every failure becomes one of our errors.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

from speechfleet.errors import (
    IncompleteAudio,
    ProviderError,
    ProviderUnavailable,
    SpeechFleetError,
)
from speechfleet.settings import Timeouts
from speechfleet.tts import BYTES_PER_SAMPLE, Msg, TTSModelBase, TTSResponse, TTSUsage
from speechfleet_worker.providers.base import Watch


class Piece(NamedTuple):
    """New audio of a call, s16le in whole frames; ``usage`` and ``metadata`` as of now."""

    pcm: bytes
    sample_rate: int
    channels: int
    usage: TTSUsage | None
    metadata: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int]:
        return self.sample_rate, self.channels


_numbers = itertools.count(1)


async def speak(model: TTSModelBase, text: str, timeouts: Timeouts) -> AsyncGenerator[Piece, None]:
    """The audio of ``text`` as it comes. Raises SpeechFleetError, and nothing else.

    Ends only where the model said that it was done; audio that shrinks, or stops without a
    last response, or is not there at all, is IncompleteAudio.
    """
    msg = Msg(name="", content=text, id=f"segment-{next(_numbers)}")
    session = model if model.supports_streaming_input else nullcontext()
    position, done = 0, False
    try:
        async with session, aclosing(_responses(model, msg, timeouts)) as responses:
            async for response in responses:
                done = bool(response["is_last"])
                data = bytes(response.audio_from(position)) if response.media_type else b""
                if data or done:
                    position += len(data)
                    yield _piece(response, data)
                if done:
                    break
    except (SpeechFleetError, asyncio.CancelledError, GeneratorExit):
        raise
    except Exception as error:
        raise foreign(error) from error
    if not done:
        raise IncompleteAudio("the model stopped without a last response")
    if not position:
        raise IncompleteAudio("the model gave no audio for a text that is not empty")


async def _responses(
    model: TTSModelBase, msg: Msg, timeouts: Timeouts
) -> AsyncGenerator[TTSResponse, None]:
    """The responses within the time-outs, which hold for people's own classes too."""
    watch = Watch(timeouts)
    watch.limit += timeouts.connect
    responses: AsyncIterator[TTSResponse] | None = None
    try:
        with watch:
            answer = await model.synthesize(msg)
        if not isinstance(answer, AsyncIterator):
            yield answer
            return
        responses = answer
        while True:
            with watch:
                response = await anext(responses)
            if response.media_type:
                watch.limit, watch.what = timeouts.silence + timeouts.connect, "silence"
            yield response
    except StopAsyncIteration:
        return
    finally:
        watch.close()
        if isinstance(responses, AsyncGenerator):
            await responses.aclose()


def _piece(response: TTSResponse, data: bytes) -> Piece:
    rate, channels = parse_media_type(response.media_type) if data else (0, 1)
    if len(data) % (BYTES_PER_SAMPLE * channels):
        raise IncompleteAudio("the audio is not made of whole 16-bit samples")
    return Piece(data, rate, channels, response.usage, response.metadata or {})


@lru_cache(maxsize=64)
def parse_media_type(media_type: str) -> tuple[int, int]:
    """(sample rate, channels) of ``audio/pcm;rate=24000[;channels=1]``."""
    kind, *parameters = (part.strip() for part in media_type.split(";"))
    values = dict(part.partition("=")[::2] for part in parameters)
    rate, channels = values.get("rate", "24000"), values.get("channels", "1")
    known = kind.lower() in ("audio/pcm", "audio/l16")
    if not (known and rate.isdecimal() and channels.isdecimal()):
        raise ProviderError(
            f"the model answers with {media_type!r}; the fleet takes audio/pcm;rate=...",
            code="unknown_media_type",
        )
    return int(rate), int(channels)


def foreign(error: Exception) -> ProviderError:
    """Somebody's own exception as ours: the one place where this is decided.

    It may pass, so another attempt is made; ``max_attempts`` ends that.
    """
    message = redact(f"{type(error).__name__}: {error}"[:500])
    if isinstance(error, (OSError, TimeoutError)):
        return ProviderUnavailable(message)
    return ProviderError(message, retryable=True)


def redact(message: str) -> str:
    """The message without any secret of this process's environment."""
    for name, value in os.environ.items():
        if len(value) >= 8 and name.endswith(("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")):
            message = message.replace(value, "***")
    return message
