"""LangChain: the last part of a chain, which speaks what the model writes.

chain = model | StrOutputParser() | FleetTTS("openai/gpt-4o-mini-tts", voice="alloy")
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Unpack

from speechfleet.client import AsyncClient
from speechfleet.errors import MissingExtra
from speechfleet.integrations.fleet_voice import FleetVoice
from speechfleet.keywords import Options, SessionOptions
from speechfleet.speakable import SpeakableMode

try:
    from langchain_core.runnables import RunnableGenerator
except ImportError:
    raise MissingExtra("FleetTTS", "langchain") from None

SAMPLE_RATE = 24_000
FIRST_AUDIO_TIMEOUT_S = 30.0


class FleetTTS(RunnableGenerator[str, bytes]):
    """The fleet as a runnable: pieces of text in, audio out while they come.

    Audio is 16-bit PCM, mono, at ``sample_rate``. Each run is a session; one that is left early
    falls silent, at the provider too. Asynchronous calls only: `astream`, `ainvoke`, ...
    ``client``: without, it uses the one that all code on the running event loop shares.
    ``first_audio_timeout``: seconds from the latest piece of text to the first audio.
    ``speakable``: what of the text is markup; language models write markdown, which is not read
    aloud. ``language``, ``cache``, ``options`` and the provider's own options are those of
    `AsyncClient.session`. Calls raise SpeechFleetError where the fleet fails.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        voice: str = "",
        sample_rate: int = SAMPLE_RATE,
        client: AsyncClient | None = None,
        first_audio_timeout: float = FIRST_AUDIO_TIMEOUT_S,
        language: str = "",
        cache: bool = True,
        speakable: SpeakableMode = "markdown",
        options: Options | None = None,
        **provider: Unpack[SessionOptions],
    ) -> None:
        self._timeout = first_audio_timeout
        self._voice = FleetVoice(
            client, sample_rate,
            model=model, voice=voice, language=language, cache=cache, speakable=speakable,
            options=options, **provider,
        )  # fmt: skip
        super().__init__(self._speak, name="FleetTTS")

    async def _speak(self, texts: AsyncIterator[str]) -> AsyncIterator[bytes]:
        spoken = self._voice.speak_live(texts, id=uuid.uuid4().hex, timeout=self._timeout)
        async with aclosing(spoken) as parts:
            async for part in parts:
                if part.audio:
                    yield part.audio
