"""Drive a model through its contract, and through nothing else.

For every class, one of ours or somebody's own, the fleet calls `synthesize` (inside
``async with`` where it takes streaming input) and reads accumulated responses. Here they
become the new bytes of each, and every failure becomes one of our errors.
"""

from __future__ import annotations

import itertools
import os
from asyncio import CancelledError
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, nullcontext
from typing import Any, NamedTuple

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.audio.media_type import PcmShape, is_pcm, shape_of
from speechfleet.errors import (
    IncompleteAudio,
    ProviderError,
    ProviderUnavailable,
    SpeechFleetError,
)
from speechfleet.provider_values import printable
from speechfleet.settings import Timeouts
from speechfleet.tts import Msg, TTSModelBase, TTSResponse, TTSUsage
from speechfleet_worker.providers.base import ProviderModel
from speechfleet_worker.providers.timeouts import Watch

SECRET_SUFFIXES = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
SHORTEST_SECRET = 8
"""Characters; shorter values would be struck out of ordinary words."""
LONGEST_MESSAGE = 500
NO_SHAPE = PcmShape(0)
"""Of a piece without audio."""


class AudioPiece(NamedTuple):
    """New audio of a call, s16le in whole frames; ``usage`` and ``metadata`` as of now."""

    pcm: bytes
    shape: PcmShape
    usage: TTSUsage | None
    metadata: dict[str, Any]

    @property
    def sample_rate(self) -> int:
        return self.shape.sample_rate

    @property
    def channels(self) -> int:
        return self.shape.channels

    @property
    def request_id(self) -> str:
        """Return the provider's id of the call, "" where there is none."""
        found = self.metadata.get("request_id")
        return printable(found) if found else ""


_numbers = itertools.count(1)


async def speak(
    model: TTSModelBase, text: str | Msg, timeouts: Timeouts
) -> AsyncGenerator[AudioPiece, None]:
    """Yield the audio of ``text`` as it comes. Raises SpeechFleetError, and nothing else.

    A Msg is one that was pushed into the model, which is connected; its audio is all there is.
    Ends only where the model said that it was done; audio that shrinks, or stops without a
    last response, or is not there at all, is IncompleteAudio.
    """
    is_whole = isinstance(text, str)
    msg = Msg("", text, id=f"segment-{next(_numbers)}") if isinstance(text, str) else text
    session = model if is_whole and model.supports_streaming_input else nullcontext()
    position, is_done, shape = 0, False, None
    try:
        async with session, aclosing(_responses(model, msg, timeouts)) as responses:
            async for response in responses:
                is_done = bool(response.is_last)
                data = bytes(response.audio_from(position)) if response.media_type else b""
                if data or is_done:
                    position += len(data)
                    piece = audio_piece(response, data)
                    if data and (shape := shape or piece.shape) != piece.shape:
                        raise IncompleteAudio("the model changed its sample rate within one call")
                    yield piece
                if is_done:
                    break
    except (SpeechFleetError, CancelledError, GeneratorExit):
        raise
    except Exception as error:
        raise foreign(error) from error
    if not is_done:
        raise IncompleteAudio("the model stopped without a last response")
    if not position:
        raise IncompleteAudio("the model gave no audio for a text that is not empty")


async def _responses(
    model: TTSModelBase, msg: Msg, timeouts: Timeouts
) -> AsyncGenerator[TTSResponse, None]:
    """Yield the responses, within the time-outs.

    Our adapters keep them themselves, fleet or not; here they hold for people's own classes,
    which connect within their first wait.
    """
    watch: Watch | nullcontext[None] = nullcontext()
    if not isinstance(model, ProviderModel):
        watch = Watch(timeouts, slack=timeouts.connect)
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
            if response.media_type and isinstance(watch, Watch):
                watch.heard()
            yield response
    except StopAsyncIteration:
        return
    finally:
        if isinstance(watch, Watch):
            watch.close()
        if isinstance(responses, AsyncGenerator):
            await responses.aclose()


def audio_piece(response: TTSResponse, data: bytes) -> AudioPiece:
    """Make a piece of a response's new bytes. Raises ProviderError for what is no speech."""
    shape = _shape(response.media_type) if data else NO_SHAPE
    if len(data) % (BYTES_PER_SAMPLE * shape.channels):
        raise IncompleteAudio("the audio is not made of whole 16-bit samples")
    return AudioPiece(data, shape, response.usage, response.metadata or {})


def _shape(media_type: str) -> PcmShape:
    if not is_pcm(media_type):
        raise ProviderError(
            f"the model answers with {printable(media_type)!r}; the fleet takes "
            "audio/pcm;rate=...",
            code="unknown_media_type",
        )
    try:
        return shape_of(media_type)
    except ValueError as error:
        raise ProviderError(f"the model answers with {error}", code="unsupported_audio") from None


def foreign(error: Exception) -> ProviderError:
    """Make a retryable ProviderError of an exception that is none of ours.

    The cause may pass, so another attempt is made, at most ``max_attempts``. An SDK's own error
    for a 429 ends here as well: it slows this job down, and no other worker.
    """
    message = redact(f"{type(error).__name__}: {error}"[:LONGEST_MESSAGE])
    if isinstance(error, OSError | TimeoutError):
        return ProviderUnavailable(message)
    return ProviderError(message, retryable=True)


def redact(message: str, names: Iterable[str] = ()) -> str:
    """Strike the secrets of this process's environment out of a message.

    A variable is secret by the end of its name, or because it is one of ``names``.
    """
    names = set(names)
    for name, value in os.environ.items():
        is_secret = name.endswith(SECRET_SUFFIXES) or name in names
        if is_secret and len(value) >= SHORTEST_SECRET:
            message = message.replace(value, "***")
    return message
