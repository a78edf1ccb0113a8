"""The contract between models and the fleet: texts, responses, model classes.

This is the domain, and the file to read first. The words and the behaviour are those of
AgentScope's TTS module (version 1): text goes in and audio comes out *accumulatively*. A
response holds ALL the audio so far, and every later one begins with the very same bytes:

    text    "Hel"  "Hello, wor"  "Hello, world."        each push repeats what came before
    audio   ▂▃▅    ▂▃▅▆▇         ▂▃▅▆▇▅▃▂               so does each response

That is the meaning, not the cost. Behind a response stands a view into one growing buffer
(`AudioBuffer`); base64 is made only when somebody asks for it, each byte once.

Audio is raw PCM: signed 16 bit, little endian, mono unless the media type says otherwise
(``audio/pcm;rate=24000``), without a header.
"""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import Any, Literal, Self, TypedDict

from speechfleet.audio.buffer import AudioBuffer, AudioSnapshot


class Base64Source(TypedDict):
    """``data`` is base64 and prefix-stable: a later response's data begins with this one's."""

    type: Literal["base64"]
    media_type: str
    data: str


class AudioBlock(TypedDict):
    """A piece of audio as a message's content block."""

    type: Literal["audio"]
    source: Base64Source


@dataclass
class Msg:
    """A text to be spoken. ``id`` keys the job, its stream, its session and its audio.

    ``content`` is a string, or a list of content blocks of which those of type ``text`` are
    spoken, joined by line ends. ``speech`` is the audio once it has been spoken.
    """

    name: str
    content: str | list[Any] | None
    role: Literal["user", "assistant", "system"] = "assistant"
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    speech: AudioBlock | None = None

    def text(self) -> str:
        """Return the text to be spoken, "" where there is none."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        blocks = (b for b in self.content if isinstance(b, dict) and b.get("type") == "text")
        return "\n".join(str(block.get("text") or "") for block in blocks)

    def get_text_content(self) -> str | None:
        """Return the text under AgentScope's name; None where there is none."""
        return self.text() or None


@dataclass
class TTSUsage:
    """The cost of a call: tokens where the provider counts them, characters as it bills."""

    input_tokens: int = 0
    output_tokens: int = 0
    time: float = 0.0
    characters: int = 0
    type: Literal["tts"] = "tts"


class TTSResponse:
    """All the audio so far. Its fields are read as attributes or as items, with equal answers.

    ``content`` is an `AudioBlock`, or None where there is no audio yet; ``is_last`` is true
    for exactly one response of a stream. Built from a ready ``content`` (as a provider of
    one's own does) or from an `AudioBuffer` by `of`, in which case base64 is made on demand.
    """

    def __init__(
        self,
        content: AudioBlock | None = None,
        *,
        id: str | None = None,
        created_at: str | None = None,
        type: Literal["tts"] = "tts",
        usage: TTSUsage | None = None,
        metadata: dict[str, Any] | None = None,
        is_last: bool = True,
    ) -> None:
        self._content = content
        self._audio: AudioSnapshot | None = None
        self._media_type = ""
        # Made when asked for: there is a response a chunk, and few are asked.
        self._created = time.time()
        if id is not None:
            self.id = id
        if created_at is not None:
            self.created_at = created_at
        self.type = type
        self.usage = usage
        self.metadata = metadata
        self.is_last = is_last

    @classmethod
    def of(
        cls,
        audio: AudioBuffer | AudioSnapshot,
        media_type: str,
        *,
        is_last: bool,
        usage: TTSUsage | None = None,
        id: str | None = None,
    ) -> TTSResponse:
        """Make a response of the audio that a buffer holds now, or held at a snapshot."""
        response = cls(None, usage=usage, is_last=is_last, id=id)
        response._audio = audio.snapshot() if isinstance(audio, AudioBuffer) else audio
        response._media_type = media_type
        return response

    @cached_property
    def id(self) -> str:
        return uuid.uuid4().hex

    @cached_property
    def created_at(self) -> str:
        created = datetime.fromtimestamp(self._created, UTC)
        return created.isoformat(timespec="milliseconds")

    @property
    def content(self) -> AudioBlock | None:
        if self._content is None and self._audio is not None and self._audio.length:
            data = self._audio.base64(last=self.is_last)
            source = Base64Source(type="base64", media_type=self._media_type, data=data)
            self._content = AudioBlock(type="audio", source=source)
        return self._content

    @property
    def media_type(self) -> str:
        """Return the type as in ``content``, without making the base64; "" without audio."""
        if self._audio is not None:
            return self._media_type
        return self._content["source"]["media_type"] if self._content else ""

    def audio_from(self, start: int) -> bytes | memoryview:
        """Return the raw bytes from ``start`` on, decoding no more than these."""
        if self._audio is not None:
            return self._audio.since(start)
        if self._content is None:
            return b""
        group = start // 3
        return b64decode(self._content["source"]["data"][group * 4 :])[start - group * 3 :]

    def __getitem__(self, name: str) -> Any:
        if name not in self.keys():
            raise KeyError(name)
        return getattr(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self.keys() else default

    def keys(self) -> tuple[str, ...]:
        return ("content", "id", "created_at", "type", "usage", "metadata", "is_last")

    def __repr__(self) -> str:
        size = self._audio.length if self._audio else "base64" if self._content else 0
        return f"TTSResponse(id={self.id!r}, audio={size}, is_last={self.is_last})"


class TTSModelBase(ABC):
    """A speech model, with or without a fleet around it.

    ``supports_streaming_input`` tells two kinds apart:

    - *Whole text*: only `synthesize`, which may be called again while earlier calls are under
      way. ``connect`` and ``close`` are not called.
    - *Realtime*: `connect`; any number of `push`; one `synthesize`; `close`. One msg.id at a
      time: a push with another id while one is active is a RuntimeError. `close` without
      `synthesize` means that nobody wants the rest.
    """

    supports_streaming_input: bool = False
    model_name: str
    stream: bool

    def __init__(self, model_name: str, stream: bool) -> None:
        self.model_name = model_name
        self.stream = stream

    async def __aenter__(self) -> Self:
        if self.supports_streaming_input:
            await self.connect()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.supports_streaming_input:
            await self.close()

    async def connect(self) -> None:
        """Open the provider's session. Realtime models only."""
        raise NotImplementedError(f"{type(self).__name__} takes no streaming input")

    async def close(self) -> None:
        """Close it; idempotent. Realtime models only."""
        raise NotImplementedError(f"{type(self).__name__} takes no streaming input")

    async def push(self, msg: Msg, **kwargs: Any) -> TTSResponse:
        """Take the text so far (accumulated, never a delta) and return at once.

        The response holds all the audio there is so far, or content None. Unchanged, empty
        or missing text sends nothing. Realtime models only.
        """
        raise NotImplementedError(f"{type(self).__name__} takes no streaming input")

    @abstractmethod
    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> TTSResponse | AsyncGenerator[TTSResponse, None]:
        """Speak the (rest of the) text to its end.

        With ``stream=True`` the awaited value is an async generator of accumulated responses,
        the last of them with ``is_last``, for empty text too; otherwise one whole response.
        Audio that ended early is an error, never a success.
        """
