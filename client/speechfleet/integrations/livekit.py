"""LiveKit Agents: a text-to-speech plugin that speaks through the fleet.

    session = AgentSession(llm=..., tts=FleetTTS("openai/gpt-4o-mini-tts", voice="alloy"))

A `SynthesizeStream` of LiveKit is a session of the fleet, a `ChunkedStream` is a job; LiveKit's
request id and segment id are the id of both. A provider or a worker that is lost in mid-sentence
is replaced below the stream. An error reaches LiveKit only where the whole fleet fails.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Unpack

from speechfleet.client import AsyncClient
from speechfleet.errors import MissingExtra, SpeechFleetError
from speechfleet.integrations.failure_kinds import FailureKind, failure_kind
from speechfleet.integrations.fleet_voice import FleetVoice, Spoken
from speechfleet.keywords import Options, SessionOptions
from speechfleet.speakable import SpeakableMode

try:
    from livekit.agents import (
        DEFAULT_API_CONNECT_OPTIONS,
        APIConnectionError,
        APIConnectOptions,
        APIError,
        APIStatusError,
        APITimeoutError,
        tts,
    )
    from livekit.agents.types import TimedString
except ImportError:
    raise MissingExtra("FleetTTS", "livekit") from None

log = logging.getLogger(__name__)

SAMPLE_RATE = 24_000
MEDIA_TYPE = "audio/pcm"

_STATUS = {
    FailureKind.SPEECH: 503,
    FailureKind.RATE: 429,
    FailureKind.QUOTA: 402,
    FailureKind.KEY: 401,
    FailureKind.SETUP: 400,
    FailureKind.TEXT: 400,
    FailureKind.CANCELLED: 499,
}
"""LiveKit tries 429 and 5xx again, ends quietly after 499, and gives up after any other."""


def api_error(error: SpeechFleetError, request_id: str = "") -> APIError:
    """Return an error as LiveKit knows it; its kind decides about retries and fallbacks."""
    kind = failure_kind(error)
    message = f"{error.code}: {error.message}"
    if kind is FailureKind.FLEET:
        return APIConnectionError(message, retryable=True)
    if kind is FailureKind.LATE:
        return APITimeoutError(message)
    return APIStatusError(message, status_code=_STATUS[kind], request_id=request_id)


class FleetTTS(tts.TTS[str]):
    """The fleet as LiveKit's text-to-speech.

    ``sample_rate``: of the audio, whatever the model speaks at. ``client``: without, it uses the
    one that all code on the running event loop shares, opened at `prewarm` or by the first text.
    ``speakable``: what of the text is markup; language models write markdown, which is not read
    aloud. ``language``, ``cache``, ``options`` and the provider's own options are those of
    `AsyncClient.session`. The words of the transcript have their times, except with
    ``mode="server_commit"``, where the provider does not tell what it speaks. Usable at import,
    in prewarm hooks and in threads.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        voice: str = "",
        sample_rate: int = SAMPLE_RATE,
        client: AsyncClient | None = None,
        language: str = "",
        cache: bool = True,
        speakable: SpeakableMode = "markdown",
        options: Options | None = None,
        **provider: Unpack[SessionOptions],
    ) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(
                streaming=True, aligned_transcript=provider.get("mode") != "server_commit"
            ),
            sample_rate=sample_rate,
            num_channels=1,
        )
        self._voice = FleetVoice(
            client, sample_rate=sample_rate,
            model=model, voice=voice, language=language, cache=cache, speakable=speakable,
            options=options, **provider,
        )  # fmt: skip
        self._warming: asyncio.Task[None] | None = None

    @property
    def model(self) -> str:
        """The model's name without its provider, for LiveKit's metrics."""
        return self._voice.model.partition("/")[2]

    @property
    def provider(self) -> str:
        """The provider's name, for LiveKit's metrics."""
        return self._voice.model.partition("/")[0]

    def update_options(
        self,
        *,
        model: str | None = None,
        voice: str | None = None,
        language: str | None = None,
        options: Options | None = None,
    ) -> None:
        """Change what is given, from the next speech on."""
        given = {"model": model, "voice": voice, "language": language, "options": options}
        self._voice.keywords |= {name: value for name, value in given.items() if value is not None}

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Speak a whole text, as a job."""
        return _FleetChunkedStream(self, self._voice, text, conn_options)

    def stream(
        self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.SynthesizeStream:
        """Speak a text that is still being written, as a session."""
        return _FleetSynthesizeStream(self, self._voice, conn_options)

    def prewarm(self) -> None:
        """Connect to the fleet in the background; a failure is told at the first speech.

        Where no event loop runs, as in the prewarm hook of a process, the first speech connects.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._warming is None:
            self._warming = loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self._voice.connect()
        except SpeechFleetError as error:
            log.warning("the fleet is not there yet: %s: %s", error.code, error)

    async def aclose(self) -> None:
        """Stop connecting; the client is not the plugin's to close. Idempotent."""
        warming, self._warming = self._warming, None
        if warming is not None:
            warming.cancel()
            await asyncio.gather(warming, return_exceptions=True)


class _FleetChunkedStream(tts.ChunkedStream):
    def __init__(
        self, owner: FleetTTS, voice: FleetVoice, text: str, options: APIConnectOptions
    ) -> None:
        super().__init__(tts=owner, input_text=text, conn_options=options)
        self._voice = voice

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        id = uuid.uuid4().hex
        output_emitter.initialize(
            request_id=id,
            sample_rate=self._voice.sample_rate,
            num_channels=1,
            mime_type=MEDIA_TYPE,
        )
        spoken = self._voice.speak_text(
            self._input_text, id=id, timeout=self._conn_options.timeout
        )
        await _emit(spoken, output_emitter, id)
        output_emitter.flush()


class _FleetSynthesizeStream(tts.SynthesizeStream):
    def __init__(self, owner: FleetTTS, voice: FleetVoice, options: APIConnectOptions) -> None:
        super().__init__(tts=owner, conn_options=options)
        self._voice = voice

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        id = uuid.uuid4().hex
        output_emitter.initialize(
            request_id=id,
            sample_rate=self._voice.sample_rate,
            num_channels=1,
            mime_type=MEDIA_TYPE,
            stream=True,
        )
        output_emitter.start_segment(segment_id=id)
        spoken = self._voice.speak_live(self._texts(), id=id, timeout=self._conn_options.timeout)
        await _emit(spoken, output_emitter, id)
        output_emitter.end_segment()

    async def _texts(self) -> AsyncIterator[str]:
        """Yield the text of the one segment that a stream has; its time runs from the first."""
        async for piece in self._input_ch:
            if isinstance(piece, str):
                if piece.strip():
                    self._mark_started()
                yield piece


async def _emit(spoken: AsyncGenerator[Spoken, None], emitter: tts.AudioEmitter, id: str) -> None:
    """Hand audio and words to LiveKit. Raises APIError alone."""
    heard = False
    try:
        async with aclosing(spoken) as parts:
            async for part in parts:
                if part.words:
                    emitter.push_timed_transcript(
                        [
                            TimedString(word.text, start_time=word.start, end_time=word.end)
                            for word in part.words
                        ]
                    )
                if part.audio:
                    heard = True
                    emitter.push(part.audio)
    except SpeechFleetError as error:
        failure = api_error(error, id)
        if heard:  # another try would begin anew, and its beginning was heard
            failure.retryable = False
        raise failure from None
