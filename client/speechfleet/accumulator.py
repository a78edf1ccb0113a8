"""Turns the entries of a chunk stream into chunks. No I/O happens here."""

from __future__ import annotations

from speechfleet.audio.buffer import AudioBuffer
from speechfleet.chunks import (
    AudioEntry,
    Chunk,
    Entry,
    MarkEntry,
    Rewind,
    SegmentEntry,
    Started,
    Terminal,
    WordsEntry,
)
from speechfleet.words import Mark


class Gap(Exception):
    """Audio is missing before an entry: read the stream again from its start, or the store."""

    def __init__(self, held: int, offset: int) -> None:
        super().__init__(f"audio [{held}, {offset}) is missing")
        self.held = held
        self.offset = offset


class Accumulator:
    """Turns entries into chunks.

    ``accumulate=False`` keeps no audio, so that memory does not grow. ``linear=True`` is for
    consumers that cannot take audio back (a socket, a loudspeaker): after a rewind, nothing is
    handed out until the new audio passes the old, and the end of a segment makes a chunk.
    """

    def __init__(self, *, accumulate: bool = True, linear: bool = False) -> None:
        self._buffer = AudioBuffer() if accumulate else None
        self._linear = linear
        self.position = 0
        """Bytes of the stream's audio that were taken in, and are not void."""
        self._handed_out = 0
        self.sample_rate = 0
        self.text_end = 0
        self.terminal: Terminal | None = None
        self._marks: list[Mark] = []
        self._latest_mark: Mark | None = None
        self._words: tuple[WordsEntry, ...] = ()
        self._latest_words = -1

    def feed(self, entry: Entry) -> Chunk | None:
        """Take an entry in, and return the chunk that it makes, if any. Raises Gap."""
        if self.terminal is not None:
            return None
        chunk: Chunk | None = None
        match entry:
            case Started():
                self.sample_rate = entry.sample_rate
            case AudioEntry():
                chunk = self._audio(entry)
            case MarkEntry():
                self._take_mark(entry)
            case SegmentEntry():
                chunk = self._end_segment(entry)
            case WordsEntry():
                chunk = self._take_words(entry)
            case Rewind():
                self._void_words(entry.offset)
                self._void_marks(entry.offset)
                chunk = self._rewind(entry.offset)
            case _:
                self.terminal = entry
                chunk = self._chunk(b"", self._handed_out if self._linear else self.position)
        return chunk

    def _take_mark(self, entry: MarkEntry) -> None:
        """Keep a mark for the next chunk, unless it is known: from the store, or sent again."""
        if self._latest_mark is None or entry.index > self._latest_mark.index:
            self._latest_mark = Mark(
                entry.index, entry.offset, entry.text_start, entry.text_end,
                entry.model, entry.voice,
            )  # fmt: skip
            self._marks.append(self._latest_mark)

    def _end_segment(self, entry: SegmentEntry) -> Chunk | None:
        """Tell whoever plays the audio at once: the next segment may not be written yet."""
        if entry.text_end <= self.text_end:
            return None
        self.text_end = entry.text_end
        return self._chunk(b"", self._handed_out) if self._linear else None

    def _take_words(self, entry: WordsEntry) -> Chunk | None:
        """Tell the words at once: the next audio may be a while, and these are heard now."""
        if entry.index <= self._latest_words:
            return None
        self._latest_words = entry.index
        self._words = (*self._words, entry)
        return self._chunk(b"", self._handed_out)

    def _void_words(self, offset: int) -> None:
        self._words = tuple(entry for entry in self._words if entry.offset < offset)
        self._latest_words = -1

    def _void_marks(self, offset: int) -> None:
        self._marks = [mark for mark in self._marks if mark.offset < offset]
        self._latest_mark = None

    def _audio(self, entry: AudioEntry) -> Chunk | None:
        if entry.offset > self.position:
            raise Gap(self.position, entry.offset)
        start, data, rewound = entry.offset, entry.data, False
        if start < self.position:
            known = self._repeated(entry)
            if known is None:
                self._void_words(start)
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
        """Count the entry's bytes that are held already; None where they differ from these.

        They are the same in a repeated write and on the accumulated wire. They differ where
        Redis lost its last second, and with it the rewind before another reading.
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
        marks, self._marks = tuple(self._marks), []
        words = self._words
        if self._buffer is None:
            self._words = ()
        return Chunk(
            delta=data,
            offset=offset,
            total=offset + len(data),
            sample_rate=self.sample_rate,
            is_last=self.terminal is not None,
            rewound=rewound,
            text_end=self.text_end,
            marks=marks,
            _snapshot=self._buffer.snapshot() if self._buffer is not None else None,
            _words=words,
        )
