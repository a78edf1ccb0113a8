"""Pipecat: a text-to-speech service that speaks through the fleet.

    tts = FleetTTSService(model="openai/gpt-4o-mini-tts", voice="alloy")
    pipeline = Pipeline([transport.input(), stt, user, llm, tts, transport.output(), assistant])

Each audio context of Pipecat (a turn, or a `TTSSpeakFrame`) is a session of the fleet under the
context's id. Its text is pushed as the language model writes it; its audio and its words come
from a task of its own. A provider or a worker that is lost in mid-sentence is replaced below.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.client import AsyncClient
from speechfleet.errors import MissingExtra, SpeechFleetError
from speechfleet.integrations.failure_kinds import FailureKind, failure_kind
from speechfleet.integrations.fleet_voice import FleetVoice, Spoken
from speechfleet.speakable import SpeakableMode

try:
    from pipecat.frames.frames import (
        CancelFrame,
        EndFrame,
        ErrorFrame,
        Frame,
        StartFrame,
        TTSAudioRawFrame,
        TTSStoppedFrame,
    )
    from pipecat.services.settings import TTSSettings
    from pipecat.services.tts_service import TextAggregationMode, TTSService
    from pipecat.transcriptions.language import Language
    from pipecat.utils.errors import ErrorCategory
    from pipecat.utils.tracing.service_decorators import traced_tts
except ImportError:
    raise MissingExtra("FleetTTSService", "pipecat") from None

SAMPLE_RATE = 24_000
"""Used until the pipeline says which rate it has."""
FIRST_AUDIO_TIMEOUT_S = 10.0
SILENT_CONTEXT_S = 300.0
"""Seconds without audio after which Pipecat would end a context. Its 3 seconds would drop all
audio that a language model or a dead worker delays; a session ends each context itself."""
PIECE_S = 0.04
"""Seconds of the pieces that Pipecat's output plays. It drops the rest of one when speech pauses,
so audio is handed on in whole pieces."""

_CATEGORY = {
    FailureKind.FLEET: ErrorCategory.CONNECTIVITY,
    FailureKind.LATE: ErrorCategory.CONNECTIVITY,
    FailureKind.SPEECH: ErrorCategory.SERVER,
    FailureKind.RATE: ErrorCategory.RATE_LIMIT,
    FailureKind.QUOTA: ErrorCategory.QUOTA,
    FailureKind.KEY: ErrorCategory.AUTHENTICATION,
    FailureKind.SETUP: ErrorCategory.INVALID_REQUEST,
    FailureKind.TEXT: ErrorCategory.APPLICATION,
}
"""AUTHENTICATION and INVALID_REQUEST write the service off; a `ServiceSwitcher` goes on with the
next one then."""


def error_category(error: SpeechFleetError) -> ErrorCategory:
    """Return the category of an error, by which Pipecat decides whether the service works."""
    return _CATEGORY.get(failure_kind(error), ErrorCategory.UNKNOWN)


@dataclass
class FleetTTSSettings(TTSSettings):
    """The settings that a `TTSUpdateSettingsFrame` may change, from the next context on.

    ``extra``: the provider's own options, by their names.
    """


class FleetTTSService(TTSService):
    """The fleet as Pipecat's text-to-speech.

    ``sample_rate``: of the audio, whatever the model speaks at; without, the pipeline's.
    ``client``: without, it uses the one that all code on the running event loop shares, opened
    when the pipeline starts.
    ``options``: of the provider. ``speakable``: what of the text is markup; language models write
    markdown, which is not read aloud. ``first_audio_timeout``: seconds from a context's first
    word to its first audio. ``settings``: as for any service of Pipecat, goes before ``model``,
    ``voice`` and ``language``. Further keywords are those of Pipecat's `TTSService`.
    """

    Settings = FleetTTSSettings

    def __init__(
        self,
        *,
        model: str | None = None,
        voice: str = "",
        language: Language | str | None = None,
        client: AsyncClient | None = None,
        sample_rate: int | None = None,
        options: Mapping[str, Any] | None = None,
        cache: bool = True,
        speakable: SpeakableMode = "markdown",
        first_audio_timeout: float = FIRST_AUDIO_TIMEOUT_S,
        settings: FleetTTSSettings | None = None,
        stop_frame_timeout_s: float = SILENT_CONTEXT_S,
        **kwargs: Any,
    ) -> None:
        stored = self.Settings(
            model=model, voice=voice, language=language, extra=dict(options or {})
        )
        if settings is not None:
            stored.apply_update(settings)
        super().__init__(
            text_aggregation_mode=TextAggregationMode.TOKEN,
            push_start_frame=True,
            push_text_frames=False,
            stop_frame_timeout_s=stop_frame_timeout_s,
            sample_rate=sample_rate,
            settings=stored,
            **kwargs,
        )
        self._voice = FleetVoice(client, SAMPLE_RATE, cache=cache, speakable=speakable)
        self._timeout = first_audio_timeout
        self._contexts: dict[str, _Context] = {}
        self._connecting: asyncio.Task[None] | None = None

    def can_generate_metrics(self) -> bool:
        """Tell Pipecat that times and usage are measured."""
        return True

    @property
    def supports_processing_metrics(self) -> bool:
        """False: audio comes from a task, so `run_tts` has no time of its own."""
        return False

    async def start(self, frame: StartFrame) -> None:
        """Connect to the fleet in the background. Wrong settings are told at once."""
        await super().start(frame)
        self._voice.sample_rate = self.sample_rate
        self._connecting = self.create_task(self._connect(), "connect")

    async def _connect(self) -> None:
        try:
            await self._voice.connect()
        except SpeechFleetError as error:
            await self.push_error(error.message, exception=error, category=error_category(error))

    async def stop(self, frame: EndFrame) -> None:
        """Let the speech end, then close."""
        await super().stop(frame)
        await self._close()

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop all speech at once, and close."""
        await super().cancel(frame)
        await self._close()

    async def cleanup(self) -> None:
        """Close what is still open. Idempotent."""
        await super().cleanup()  # type: ignore[no-untyped-call] # Pipecat's
        await self._close()

    async def _close(self) -> None:
        for id in list(self._contexts):
            await self._leave(id)
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            await self.cancel_task(connecting)

    @traced_tts
    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Push a piece of a context's text; the first one opens its session. Never raises."""
        context = self._contexts.get(context_id)
        if context is None:
            context = self._contexts[context_id] = _Context()
            context.task = self.create_task(self._speak(context_id, context), context_id)
        context.texts.put_nowait(text)
        yield None

    async def flush_audio(self, context_id: str | None = None) -> None:
        """Complete the text of a context: it was pushed whole."""
        context_id = context_id or self.get_active_audio_context_id() or ""
        if context := self._contexts.get(context_id):
            context.texts.put_nowait(None)
        elif not self.is_usable and self.audio_context_available(context_id):
            # Pipecat opened it, and kept its text from a service that is written off.
            await self._end(context_id)

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """Stop a context's speech, at the provider too."""
        await super().on_audio_context_interrupted(context_id)
        await self._leave(context_id)

    async def _leave(self, context_id: str) -> None:
        context = self._contexts.pop(context_id, None)
        if context is not None and context.task is not None:
            await self.cancel_task(context.task)

    async def _speak(self, context_id: str, context: _Context) -> None:
        """Bring one context's audio, words or error into its queue, and end it."""
        try:
            async with aclosing(self._spoken(context_id, context)) as parts:
                async for part in parts:
                    await self._take(context_id, context, part)
            await self._play(context_id, context.rest())
        except SpeechFleetError as error:
            if failure_kind(error) is not FailureKind.CANCELLED:
                category = error_category(error)
                frame = ErrorFrame(error.message, exception=error, category=category)
                await self.append_to_audio_context(context_id, frame)
        except Exception as error:  # noqa: BLE001 # whatever it is: a turn has to end
            frame = ErrorFrame(f"{type(error).__name__}: {error}", exception=error)
            await self.append_to_audio_context(context_id, frame)
        self._contexts.pop(context_id, None)
        await self._end(context_id)

    async def _end(self, context_id: str) -> None:
        await self.append_to_audio_context(context_id, TTSStoppedFrame(context_id=context_id))
        await self.remove_audio_context(context_id)

    def _spoken(self, context_id: str, context: _Context) -> AsyncGenerator[Spoken, None]:
        stored = self._settings
        self._voice.keywords |= {
            "model": stored.model,
            "voice": stored.voice or "",
            "language": stored.language or "",
            "options": stored.extra,
        }
        return self._voice.speak_live(context.pieces(), id=context_id, timeout=self._timeout)

    async def _take(self, context_id: str, context: _Context, part: Spoken) -> None:
        if part.audio:
            context.note_delay(part.offset)
            piece_bytes = round(PIECE_S * self.sample_rate) * BYTES_PER_SAMPLE
            await self._play(context_id, context.whole_pieces(part.audio, piece_bytes))
        for word in part.words:
            await self.add_word_timestamps(
                [(word.text.strip(), word.start + context.delay_s)],
                context_id,
                includes_inter_frame_spaces=word.is_unspaced,
            )

    async def _play(self, context_id: str, audio: bytes) -> None:
        if audio:
            frame = TTSAudioRawFrame(audio, self.sample_rate, 1, context_id=context_id)
            await self.append_to_audio_context(context_id, frame)


class _Context:
    """The text of one audio context on its way to the fleet, and when its audio came."""

    def __init__(self) -> None:
        self.texts: asyncio.Queue[str | None] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None
        self.delay_s = 0.0
        self._began: float | None = None
        self._rest = b""

    async def pieces(self) -> AsyncIterator[str]:
        while (text := await self.texts.get()) is not None:
            yield text

    def whole_pieces(self, audio: bytes, piece_bytes: int) -> bytes:
        """Add audio; return as much of what there is as makes whole pieces."""
        audio = self._rest + audio
        end = len(audio) - len(audio) % piece_bytes
        self._rest = audio[end:]
        return audio[:end]

    def rest(self) -> bytes:
        """Return the audio that made no whole piece."""
        rest, self._rest = self._rest, b""
        return rest

    def note_delay(self, offset: float) -> None:
        """Note how much later audio is heard than at its place, because it came too late.

        Pipecat counts a word's time from the first audio on, also through a pause.
        """
        now = asyncio.get_running_loop().time()
        if self._began is None:
            self._began = now - offset
        self.delay_s = max(self.delay_s, now - self._began - offset)
