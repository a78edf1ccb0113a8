"""OpenAI Agents SDK: a speech model of its voice pipeline that speaks through the fleet.

    VoicePipeline(workflow=..., tts_model=FleetTTS("openai/gpt-4o-mini-tts", voice="alloy"))

The pipeline asks for each group of sentences at once, and plays them in order: each is a job.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Unpack

from speechfleet.client import AsyncClient
from speechfleet.errors import MissingExtra, SpeechFleetError
from speechfleet.integrations.fleet_voice import FleetVoice
from speechfleet.keywords import Options, SessionOptions
from speechfleet.provider_options import options_of
from speechfleet.settings import settings as fleet_settings
from speechfleet.speakable import SpeakableMode

try:
    from agents.voice import TTSModel, TTSModelSettings
except ImportError:
    raise MissingExtra("FleetTTS", "openai-agents") from None

log = logging.getLogger(__name__)

SAMPLE_RATE = 24_000
"""The pipeline names none; its players take this one for granted."""
EVENT_BYTES = 4800
"""Bytes of audio in an event, a tenth of a second."""
FIRST_AUDIO_TIMEOUT_S = 30.0


class FleetTTS(TTSModel):
    """The fleet as a speech model of a voice pipeline.

    ``client``: without, it uses the one that all code on the running event loop shares.
    ``strict=False``: a group that cannot be spoken is left out, with a line in the log;
    ``strict=True`` raises, and the pipeline then drops the groups behind it as well.
    ``first_audio_timeout``: seconds from a group's text to its first audio. ``speakable``: what
    of the text is markup; language models write markdown, which is not read aloud. ``language``,
    ``cache``, ``options`` and the provider's own options are those of `AsyncClient.session`.
    The pipeline's ``tts_settings`` go before: its voice, its speed, and instructions where the
    model takes them.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        voice: str = "",
        client: AsyncClient | None = None,
        strict: bool = False,
        first_audio_timeout: float = FIRST_AUDIO_TIMEOUT_S,
        language: str = "",
        cache: bool = True,
        speakable: SpeakableMode = "markdown",
        options: Options | None = None,
        **provider: Unpack[SessionOptions],
    ) -> None:
        self._client = client
        self._strict = strict
        self._timeout = first_audio_timeout
        self._keywords: dict[str, Any] = {
            "model": model or fleet_settings().default_model,
            "voice": voice,
            "language": language,
            "cache": cache,
            "speakable": speakable,
            "options": options or {},
            **provider,
        }

    @property
    def model_name(self) -> str:
        """The model that speaks, as ``provider/model``."""
        return str(self._keywords["model"])

    async def run(self, text: str, settings: TTSModelSettings) -> AsyncIterator[bytes]:
        """Yield a group's audio, in pieces of which the pipeline makes events of 0.1 s."""
        keywords = self._keywords | self._asked(settings)
        voice = FleetVoice(self._client, SAMPLE_RATE, **keywords)
        # It counts pieces, not bytes, until it hands an event on; samples stay whole.
        size = max(1, EVENT_BYTES // 2 // max(1, settings.buffer_size)) * 2
        spoken = voice.speak_text(text, id=uuid.uuid4().hex, timeout=self._timeout)
        try:
            async with aclosing(spoken) as parts:
                async for part in parts:
                    for at in range(0, len(part.audio), size):
                        yield part.audio[at : at + size]
        except SpeechFleetError as error:
            if self._strict:
                raise
            log.warning("a part of the turn is not spoken: %s: %s", error.code, error)

    def _asked(self, settings: TTSModelSettings) -> dict[str, Any]:
        """Return the keywords for what the pipeline's settings ask beyond their defaults."""
        voice = settings.voice["id"] if isinstance(settings.voice, dict) else settings.voice
        asked: dict[str, Any] = {"voice": voice, "speed": settings.speed}
        takes_instructions = "instructions" in (
            options_of(self.model_name, fleet_settings()) or ()
        )
        if takes_instructions and settings.instructions != TTSModelSettings.instructions:
            asked["instructions"] = settings.instructions
        return {name: value for name, value in asked.items() if value is not None}
