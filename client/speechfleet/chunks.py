"""The chunk stream: its entries, and what they add up to. No I/O happens here.

A stream is one epoch of a job. Its entries are flat fields of raw bytes, see the README's
first page; `decode` reads one, an entry's `fields` writes it, and `Accumulator` turns them
into chunks. The promises that hold for every reader, whenever it starts:

- the accumulated audio is the same, whether read live, late or again;
- audio that was handed out never changes; after a `Rewind` it is *replaced*, not altered;
- one terminal entry ends the stream, and nothing follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

from speechfleet.errors import InvalidRequest, SpeechFleetError
from speechfleet.tts import BYTES_PER_SAMPLE, AudioBuffer, AudioSnapshot, TTSResponse

MIN_ENTRY = 960
MAX_ENTRY = 64 << 10
"""Bytes of audio in an entry; the last of a segment may be shorter than the minimum."""
MAX_ACCUMULATED = 4 << 20
"""Bytes of audio that ``wire="accumulated"`` may repeat."""


@dataclass(frozen=True)
class Started:
    """Once an epoch, just before the first audio; all audio is brought to this rate."""

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
    """Bytes [offset, total) of the accumulated audio."""

    kind: ClassVar[str] = "audio"
    offset: int
    total: int
    data: bytes


@dataclass(frozen=True)
class SegmentEntry:
    """What lies before ``offset`` speaks the text before ``text_end``."""

    kind: ClassVar[str] = "segment"
    index: int
    offset: int
    text_start: int
    text_end: int


@dataclass(frozen=True)
class Rewind:
    """What lies past ``offset`` is void; attempt ``attempt`` goes on from there."""

    kind: ClassVar[str] = "rewind"
    offset: int
    attempt: int
    reason: str


@dataclass(frozen=True)
class Finished:
    """Terminal. ``bytes`` of PCM in all; ``object`` is a key in the store; ``usage`` JSON."""

    kind: ClassVar[str] = "finished"
    bytes: int
    duration_ms: int
    object: str
    media_type: str
    usage: str = "{}"


@dataclass(frozen=True)
class Failed:
    """Terminal."""

    kind: ClassVar[str] = "failed"
    code: str
    message: str
    retryable: bool


@dataclass(frozen=True)
class Cancelled:
    """Terminal. ``text_end``: code points of the text that were published (or heard)."""

    kind: ClassVar[str] = "cancelled"
    reason: str
    text_end: int


Entry = Started | AudioEntry | SegmentEntry | Rewind | Finished | Failed | Cancelled
Terminal = Finished | Failed | Cancelled
ENTRIES: dict[str, type[Entry]] = {
    entry.kind: entry
    for entry in (Started, AudioEntry, SegmentEntry, Rewind, Finished, Failed, Cancelled)
}


class MalformedEntry(SpeechFleetError):
    """An entry of a known kind that lacks a field or holds nonsense in one."""

    code = "malformed_entry"


def encode(entry: Entry) -> list[str | bytes | int]:
    """The entry as XADD takes it: field, value, field, value, ..."""
    flat: list[str | bytes | int] = ["kind", entry.kind]
    for name, _, _ in _FIELDS[type(entry)]:
        value = getattr(entry, name)
        flat += (name, int(value) if isinstance(value, bool) else value)
    return flat


def decode(raw: Mapping[bytes, bytes]) -> Entry | None:
    """The entry of a stream; None for a kind that this version does not know."""
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
    kind: [(each.name, each.name.encode(), _READ[str(each.type)]) for each in fields(kind)]
    for kind in ENTRIES.values()
}
"""Looked up once: a reader decodes an entry a chunk."""


class Gap(Exception):
    """Audio is missing before an entry: read the stream again from the start, or the store."""

    def __init__(self, held: int, offset: int) -> None:
        super().__init__(f"audio [{held}, {offset}) is missing")
        self.held = held
        self.offset = offset


@dataclass(frozen=True)
class Chunk:
    """Audio as it came, in its place in the whole.

    ``delta``: the new bytes, [offset, total). ``audio``: all bytes up to now, a read-only view
    that never changes. ``rewound``: what was handed out past ``offset`` is void. ``is_last``:
    nothing follows; such a chunk may be empty. ``text_end``: the text before it is spoken by
    what lies in finished segments so far (code points).
    """

    delta: bytes
    offset: int
    total: int
    sample_rate: int
    is_last: bool = False
    rewound: bool = False
    text_end: int = 0
    _snapshot: AudioSnapshot | None = None

    @property
    def audio(self) -> memoryview:
        return self._kept.view

    @property
    def _kept(self) -> AudioSnapshot:
        if self._snapshot is None:
            raise InvalidRequest("stream(accumulate=False) keeps no audio; use chunk.delta")
        return self._snapshot

    @property
    def media_type(self) -> str:
        return f"audio/pcm;rate={self.sample_rate}"

    @property
    def seconds(self) -> float:
        """Duration of all the audio up to now."""
        return self.total / BYTES_PER_SAMPLE / self.sample_rate if self.sample_rate else 0.0

    def response(self) -> TTSResponse:
        """The same as AgentScope sees it: ``content`` holds all the audio so far."""
        return TTSResponse.of(self._kept, self.media_type, is_last=self.is_last)


class Accumulator:
    """Entries in, chunks out.

    ``accumulate=False`` keeps no audio: memory does not grow. ``linear=True`` is for consumers
    that cannot un-hear (a socket, a loudspeaker): after a rewind nothing is handed out until
    the audio passes what was.
    """

    def __init__(self, *, accumulate: bool = True, linear: bool = False) -> None:
        self._buffer = AudioBuffer() if accumulate else None
        self._linear = linear
        self.position = 0
        """Bytes of the stream's audio that were taken in and are not void."""
        self._handed_out = 0
        self.sample_rate = 0
        self.text_end = 0
        self.terminal: Terminal | None = None

    def feed(self, entry: Entry) -> Chunk | None:
        """The chunk that the entry makes, if it makes one. Raises Gap, with nothing taken in."""
        if self.terminal is not None:
            return None
        match entry:
            case Started():
                self.sample_rate = entry.sample_rate
            case AudioEntry():
                return self._audio(entry)
            case SegmentEntry():
                self.text_end = max(self.text_end, entry.text_end)
            case Rewind():
                return self._rewind(entry.offset)
            case _:
                self.terminal = entry
                return self._chunk(b"", self._handed_out if self._linear else self.position)
        return None

    def _audio(self, entry: AudioEntry) -> Chunk | None:
        if entry.offset > self.position:
            raise Gap(self.position, entry.offset)
        start, data, rewound = entry.offset, entry.data, False
        if start < self.position:
            known = self._repeated(entry)
            if known is None:
                rewound = self._rewind(start) is not None
            elif known == len(data):
                return None
            else:
                start, data = start + known, data[known:]
        if self._linear:
            return self._append_linear(start, data)
        if self._buffer is not None:
            self._buffer.append(data)
        self.position = start + len(data)
        self._handed_out = self.position
        return self._chunk(data, start, rewound=rewound)

    def _repeated(self, entry: AudioEntry) -> int | None:
        """How many of the entry's bytes are held already; None where they differ from these.

        They are the same in a repeated write and on the accumulated wire. They differ where
        Redis lost its last second, and with it the rewind that told of another reading.
        """
        overlap = min(len(entry.data), self.position - entry.offset)
        if self._buffer is None or self._linear:
            same = entry.total >= self.position
        else:
            held = self._buffer.view()[entry.offset : entry.offset + overlap]
            same = held == entry.data[:overlap]
        return overlap if same else None

    def _append_linear(self, start: int, data: bytes) -> Chunk | None:
        self.position = start + len(data)
        if self.position <= self._handed_out:
            return None
        offset = self._handed_out
        data = data[offset - start :] if offset > start else data
        if self._buffer is not None:
            self._buffer.append(data)
        self._handed_out = self.position
        return self._chunk(data, offset)

    def _rewind(self, offset: int) -> Chunk | None:
        if offset >= self.position:
            return None
        self.position = offset
        if self._linear:
            return None
        self._handed_out = offset
        if self._buffer is not None:
            self._buffer.truncate(offset)
        return self._chunk(b"", offset, rewound=True)

    def _chunk(self, data: bytes, offset: int, *, rewound: bool = False) -> Chunk:
        return Chunk(
            delta=data,
            offset=offset,
            total=offset + len(data),
            sample_rate=self.sample_rate,
            is_last=self.terminal is not None,
            rewound=rewound,
            text_end=self.text_end,
            _snapshot=self._buffer.snapshot() if self._buffer is not None else None,
        )
