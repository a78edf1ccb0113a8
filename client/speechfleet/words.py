"""Words with their times: where each word of a text lies in its audio.

A `Word` names the submitted text and the audio of the whole job. A segment is stored with its
words in coordinates of its own (`SegmentWords`), so that every job that reuses its audio finds
them again, wherever the segment lies in that job's text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

WordSource = Literal["provider", "aligned", "estimated"]
"""``provider``: it said so; ``aligned``: found by comparison with another voice;
``estimated``: shared out between the silences by the length of the words."""

SOURCES: tuple[WordSource, ...] = get_args(WordSource)
MAX_WORDS = 100_000
"""Words that one segment is believed to have."""

Place = tuple[int, int, int, int]
"""(text_start, text_end, start, end): what each of the four counts is said where it is used."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the submitted text, in code points [text_start, text_end), and its audio.

    [start, end): bytes of the job's PCM, whole frames. A list of words is in the order of the
    text, which is that of the audio.
    """

    text_start: int
    text_end: int
    start: int
    end: int
    source: WordSource


@dataclass(frozen=True, slots=True)
class Mark:
    """A segment begins: at byte ``offset`` of the audio, the text [text_start, text_end).

    It is sent before the segment's first audio. A mark whose ``index`` was there before
    replaces the earlier one: the audio was taken back. ``model``, ``voice``: of a fallback voice
    that speaks it; "" is the job's own.
    """

    index: int
    offset: int
    text_start: int
    text_end: int
    model: str = ""
    voice: str = ""


@dataclass(frozen=True, slots=True)
class SegmentWords:
    """The words of one stored segment.

    ``text``: what was spoken, in ``language`` (a tag; "" where it is not known). ``places``: code
    points of that text, and frames of the segment's audio at its own rate; none where nobody has
    told the times yet.
    """

    source: WordSource
    text: str
    places: tuple[Place, ...] = ()
    language: str = ""
    ratio: float | None = None
    """Its speech is so many times as long as espeak-ng's of the same text; None: not known."""

    def encode(self) -> bytes:
        """Write as JSON."""
        fields: dict[str, Any] = {
            "source": self.source,
            "text": self.text,
            "words": self.places,
            "language": self.language,
        }
        if self.ratio is not None:
            fields["ratio"] = round(self.ratio, 4)
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview) -> SegmentWords:
        """Read what `encode` wrote. Raises ValueError."""
        try:
            fields: Any = json.loads(bytes(data))
            ratio = fields.get("ratio")
            return cls(
                _source(fields["source"]),
                str(fields["text"]),
                _places(fields["words"]),
                str(fields.get("language", "")),
                None if ratio is None else float(ratio),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"no words of a segment: {error!r}") from None

    def at_rate(self, old: int, new: int) -> SegmentWords:
        """Return the words of the same audio at another sample rate."""
        if old == new:
            return self
        places = tuple((a, b, s * new // old, e * new // old) for a, b, s, e in self.places)
        return replace(self, places=places)


def encode_places(places: Iterable[Place]) -> str:
    """Write places as the chunk stream carries them."""
    return json.dumps(list(places), separators=(",", ":"))


def decode_words(source: str, places: str) -> tuple[Word, ...]:
    """Read the words of an entry of the chunk stream. Raises ValueError."""
    known = _source(source)
    try:
        return tuple(Word(*place, known) for place in _places(json.loads(places)))
    except TypeError as error:
        raise ValueError(f"no words: {error!r}") from None


def _source(value: object) -> WordSource:
    for source in SOURCES:
        if source == value:
            return source
    raise ValueError(f"words of an unknown source {str(value)[:40]!r}")


def _places(value: Any) -> tuple[Place, ...]:
    return tuple((int(a), int(b), int(s), int(e)) for a, b, s, e in value)
