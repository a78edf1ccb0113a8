"""The chunk stream: its entries, and the audio that they add up to. No I/O happens here.

A stream is one epoch of a job. Its entries are flat fields of raw bytes; `encode` writes one,
`decode` reads it, and `speechfleet.accumulator` turns entries into chunks. These promises hold
for every reader, whenever it starts:

- the accumulated audio is the same, whether read live, late or again;
- audio that was handed out never changes; after a `Rewind` it is *replaced*, not altered;
- one terminal entry ends the stream, and nothing follows it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

from speechfleet.audio.buffer import BYTES_PER_SAMPLE, AudioSnapshot
from speechfleet.errors import InvalidRequest, SpeechFleetError
from speechfleet.tts import TTSResponse
from speechfleet.words import Mark, Word, decode_words

log = logging.getLogger(__name__)

MIN_ENTRY = 960
MAX_ENTRY = 64 << 10
"""Bytes of audio in an entry; the last of a segment may be shorter than the minimum."""
MAX_ACCUMULATED = 4 << 20
"""Bytes of audio that ``wire="accumulated"`` may repeat."""


@dataclass(frozen=True)
class Started:
    """Begins an epoch, just before its first audio; all audio is brought to this rate."""

    kind: ClassVar[str] = "started"
    attempt: int
    worker: str
    model: str
    voice: str
    media_type: str
    sample_rate: int
    channels: int = 1


@dataclass(frozen=True)
class AudioEntry:
    """Carries the bytes [offset, total) of the accumulated audio."""

    kind: ClassVar[str] = "audio"
    offset: int
    total: int
    data: bytes


@dataclass(frozen=True)
class SegmentEntry:
    """Ends a segment: the audio before ``offset`` speaks the text before ``text_end``."""

    kind: ClassVar[str] = "segment"
    index: int
    offset: int
    text_start: int
    text_end: int


@dataclass(frozen=True)
class MarkEntry:
    """Begins a segment, just before its first audio: its text, and the offset of that audio.

    ``model``, ``voice``: of a fallback voice that speaks it; left out where it is the job's own.
    """

    kind: ClassVar[str] = "mark"
    index: int
    offset: int
    text_start: int
    text_end: int
    model: str = ""
    voice: str = ""


@dataclass(frozen=True)
class WordsEntry:
    """Gives the words of a finished segment, whose audio begins at ``offset``.

    ``places``: JSON, a list of [text_start, text_end, start, end]: code points of the text, and
    bytes of the job's audio. ``source``: how the times are known.
    """

    kind: ClassVar[str] = "words"
    index: int
    offset: int
    source: str
    places: str

    def words(self) -> tuple[Word, ...]:
        """Read the words; none where they cannot be read."""
        try:
            return decode_words(self.source, self.places)
        except ValueError as error:
            log.warning("the words of segment %d are left out: %s", self.index, error)
            return ()


@dataclass(frozen=True)
class Rewind:
    """Voids the audio past ``offset``; the attempt ``attempt`` goes on from there."""

    kind: ClassVar[str] = "rewind"
    offset: int
    attempt: int
    reason: str


@dataclass(frozen=True)
class Finished:
    """Ends the stream of a job that succeeded.

    ``bytes``: of PCM in all; ``object``: its key in the store; ``usage``: as JSON.
    """

    kind: ClassVar[str] = "finished"
    bytes: int
    duration_ms: int
    object: str
    media_type: str
    usage: str = "{}"


@dataclass(frozen=True)
class Failed:
    """Ends the stream of a job that failed."""

    kind: ClassVar[str] = "failed"
    code: str
    message: str
    retryable: bool


@dataclass(frozen=True)
class Cancelled:
    """Ends the stream of a cancelled job.

    ``text_end``: code points of the text that were published (or heard).
    """

    kind: ClassVar[str] = "cancelled"
    reason: str
    text_end: int


Terminal = Finished | Failed | Cancelled
Entry = Started | MarkEntry | AudioEntry | SegmentEntry | WordsEntry | Rewind | Terminal
ENTRIES: dict[str, type[Entry]] = {
    entry.kind: entry
    for entry in (
        *(Started, MarkEntry, AudioEntry, SegmentEntry, WordsEntry, Rewind),
        *(Finished, Failed, Cancelled),
    )
}


class MalformedEntry(SpeechFleetError):
    """An entry of a known kind lacks a field, or one of its fields cannot be read."""

    code = "malformed_entry"


def encode(entry: Entry) -> list[str | bytes | int]:
    """Write an entry as XADD takes it: field, value, field, value, ..."""
    flat: list[str | bytes | int] = ["kind", entry.kind]
    is_own = isinstance(entry, MarkEntry) and not entry.model
    for name, _, _ in _FIELDS[type(entry)]:
        if is_own and name in ("model", "voice"):
            continue
        value = getattr(entry, name)
        flat += (name, int(value) if isinstance(value, bool) else value)
    return flat


def decode_known(raw: Mapping[bytes, bytes]) -> Entry | None:
    """Read an entry; None also for one that cannot be read: the others must go on.

    A reader that misses it finds its audio in the store, and its end in the record.
    """
    try:
        return decode(raw)
    except MalformedEntry as error:
        log.warning("an entry of a chunk stream is left out: %s", error)
        return None


def decode(raw: Mapping[bytes, bytes]) -> Entry | None:
    """Read an entry; None for a kind that this version does not know. Raises MalformedEntry."""
    kind = ENTRIES.get(raw.get(b"kind", b"").decode("ascii", "replace"))
    if kind is None:
        return None
    values: dict[str, object] = {}
    try:
        for name, key, read in _FIELDS[kind]:
            if (value := raw.get(key)) is not None:
                values[name] = read(value)
        return kind(**values)  # type: ignore[arg-type]  # read by the very types of the fields
    except (TypeError, ValueError) as error:
        raise MalformedEntry(f"a {kind.kind!r} entry cannot be read: {error}") from None


_READ: dict[str, Callable[[bytes], object]] = {
    "int": int,
    "str": lambda value: value.decode("utf-8", "replace"),
    "bool": lambda value: value == b"1",
    "bytes": bytes,
}
_FIELDS: dict[type[Entry], list[tuple[str, bytes, Callable[[bytes], object]]]] = {
    kind: [(field.name, field.name.encode(), _READ[str(field.type)]) for field in fields(kind)]
    for kind in ENTRIES.values()
}
"""Looked up once: a reader decodes an entry for every chunk."""


@dataclass(frozen=True)
class Chunk:
    """A stretch of audio, at its place in the whole.

    ``delta``: the new bytes, [offset, total). ``audio``: all bytes up to now, a read-only view
    that never changes. ``rewound``: all audio past ``offset`` that was handed out is void.
    ``is_last``: no other chunk follows. A chunk without new bytes is the last one, or tells
    words, or (where linear) that a segment has ended. ``text_end``: end of the text that the
    finished segments speak, in code points. ``marks``: the segments that begin with or before
    this chunk, each told once. ``words``: those of all finished segments whose provider (or
    alignment) tells them.
    """

    delta: bytes
    offset: int
    total: int
    sample_rate: int
    is_last: bool = False
    rewound: bool = False
    text_end: int = 0
    marks: tuple[Mark, ...] = ()
    _snapshot: AudioSnapshot | None = None
    _words: tuple[WordsEntry, ...] = ()

    def __repr__(self) -> str:
        marks = "".join(f", {name}" for name in ("rewound", "is_last") if getattr(self, name))
        return f"Chunk(+{len(self.delta):,} B at {self.offset:,}, {self.seconds:.1f} s{marks})"

    @property
    def audio(self) -> memoryview:
        """All the audio up to now. Raises InvalidRequest where none is kept."""
        return self._kept.view

    @property
    def words(self) -> tuple[Word, ...]:
        """The words that are known so far, in the order of the text.

        With ``stream(accumulate=False)`` only those that became known with this chunk. They are
        read when they are asked for.
        """
        return tuple(word for entry in self._words for word in entry.words())

    @property
    def _kept(self) -> AudioSnapshot:
        if self._snapshot is None:
            raise InvalidRequest("stream(accumulate=False) keeps no audio; use chunk.delta")
        return self._snapshot

    @property
    def media_type(self) -> str:
        """The media type of the bytes, with their sample rate."""
        return f"audio/pcm;rate={self.sample_rate}"

    @property
    def seconds(self) -> float:
        """Duration of all the audio up to now."""
        return self.total / BYTES_PER_SAMPLE / self.sample_rate if self.sample_rate else 0.0

    def response(self) -> TTSResponse:
        """Convert to AgentScope's response: ``content`` holds all the audio so far."""
        return TTSResponse.of(self._kept, self.media_type, is_last=self.is_last)
