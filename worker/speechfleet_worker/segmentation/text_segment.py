"""A segment of text before it is spoken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class CutReason(StrEnum):
    """Why a segment ends where it ends."""

    SENTENCE = "end of a sentence"
    PARAGRAPH = "end of a paragraph"
    CLAUSE = "limit, behind a clause"
    WORD = "limit, between words"
    CHARACTER = "limit, inside a word"
    LIMIT = "limit, behind a sentence"
    TEXT = "end of the text"
    PAUSE = "pause"


@dataclass(frozen=True)
class TextSegment:
    """``text`` is what is spoken for [start, end) of the submitted text, in code points.

    It has no white space around it. As it is cut, it is that stretch itself; where markup or a
    lexicon makes it differ, ``original`` is the stretch as it is written. ``pause``: seconds of
    silence, instead of speech; then the text is "". ``voice`` ("" is the request's) and
    ``options``, beside the request's, speak it. ``salt`` keeps its audio from being shared.

    ``index`` counts from 0 without gaps. Segments of one ``paragraph`` share its number;
    numbers grow with the text, but a paragraph that holds nothing to speak uses one up too.
    """

    index: int
    start: int
    end: int
    text: str
    paragraph: int = 0
    reason: CutReason = CutReason.TEXT
    pause: float = 0.0
    original: str | None = None
    voice: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    salt: str = ""

    @property
    def written(self) -> str:
        """Return the stretch of the submitted text."""
        return self.text if self.original is None else self.original
