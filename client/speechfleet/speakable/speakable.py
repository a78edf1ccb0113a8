"""Text made speakable: what a voice is given, and where each part of it is written.

Markup goes, and what is only looked at: marks of markdown and HTML, code blocks, targets of
links, note marks, emoji, decoration. Tables are read out row by row, addresses become their
host, roman numerals of headings become digits, ``[pause 1.5s]`` becomes silence. Numbers and
abbreviations are left to the voice, which knows its language better.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from speechfleet.speakable.pauses import Pause
from speechfleet.speakable.source_map import SourceMap
from speechfleet.speakable.stream import SpeakableStream

SpeakableMode = Literal["auto", "markdown", "plain", "off"]
"""``markdown``: markdown and HTML. ``plain``: no markup, so asterisks and brackets stay.
``auto``: markdown where the text looks like it. ``off``: spoken as it is written."""

LOOKED_AT = 20_000
"""Code points from which `mode_of` decides whether a text is markdown."""
_MARKUP = re.compile(
    r"^[ ]{0,3}(?:\#{1,6}[ ]\S|```|~~~|\|.*\||[-*+][ ].*\n[ ]{0,3}[-*+][ ])"
    r"|\*\*[^*\s][^*\n]{0,200}\*\*|\]\((?:https?://|/|\#)|`[^`\n]{1,100}`"
    r"|</?(?:p|br|b|i|em|strong|div|span|a|h[1-6]|ul|ol|li|table|code|pre)\b[^<>\n]{0,200}>",
    re.MULTILINE | re.IGNORECASE,
)


@dataclass(frozen=True)
class Speakable:
    """A spoken text, the map to the written text, and the pauses in it."""

    text: str
    map: SourceMap
    pauses: tuple[Pause, ...] = field(default=())


def make_speakable(text: str, language: str = "", mode: SpeakableMode = "auto") -> Speakable:
    """Make a whole text speakable, in linear time. Pure.

    ``language`` is a tag such as "en" or "zh-CN", or "". Nothing but what `SpeakableMode` names
    is left out; a text of nothing else becomes empty.
    """
    decided = mode_of(text, mode)
    if decided == "off":
        unchanged = SourceMap()
        unchanged.copy(0, len(text))
        return Speakable(text, unchanged)
    stream = SpeakableStream(decided, language)
    spoken = stream.feed(text) + stream.flush()
    return Speakable(spoken, stream.map, tuple(stream.pauses))


def mode_of(text: str, mode: SpeakableMode) -> Literal["markdown", "plain", "off"]:
    """Decide what ``auto`` means for a text."""
    if mode != "auto":
        return mode
    return "markdown" if _MARKUP.search(text[:LOOKED_AT]) else "plain"
