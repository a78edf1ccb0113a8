"""Cutting text into what one provider call speaks. Pure: no I/O, no clock, no state outside.

    text        "Dr. Smith came. He saw…\\n* * *\\nAnd left."
    segments     └─── 0 ──────┘ └─ 1 ──┘        └─ 2 ────┘

Segments stand in the order of the text and never overlap. What lies between two of them is
white space, or a stretch with nothing to speak in it: without a letter or a digit ("* * *",
"---", a lone emoji). Such a stretch stays with the sentence before it where it only prolongs
its full stop ("Well. ..."), else with the one that follows it in its paragraph ("- one"), and
is dropped where none follows: providers answer it with an error or with no audio. A text of
nothing else has no segments.

A cut depends on the text up to a few characters behind it and on nothing else. So the same
text gives the same segments, however it arrives (their hashes are cache keys), and an edit
moves the cuts of its own sentence only; or of its own paragraph, where those are packed.

A line end ends a paragraph, unless the line looks wrapped by an editor: see `_is_wrapped`.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal, NamedTuple

import sentencex

HOLD_BACK = 12
"""Code points that must follow a full stop before it is judged: "Dr." needs its "Smith"."""

_CONTEXT = 200
"""Code points before a full stop that are looked at: bounds the work on endless sentences."""

_SLICES = (512, 1 << 14)
"""Code points that `cut` reads at first, and later, so that the first segment waits for little."""

_WRAP_WIDTHS = range(50, 101)
"""Code points of a line that an editor may have wrapped."""

_BREAK = "\n\r\v\f\x85\u2028\u2029"
_STOP = ".!?;\u037e\u0589\u061d\u061e؟۔܀܁܂߹।॥၊။።፧፨᠃᠉᥄᥅᭞᭟᱾᱿‼‽⁇⁈⁉。꓿꛳꛷꧈꧉꩝꩞꩟꯫﹒﹖﹗！．？｡"
_CLOSER = "\"'”’»›)\\]}」』）】》〉〕"
_BLANK = rf"[^\S{_BREAK}]"

_LINE_BREAK = re.compile(rf"\r\n|[{_BREAK}]")
_SPACE = re.compile(r"\s+")
# Line breaks; or full stops (". . ." is one), what closes a quotation or cites behind them, and
# the blanks before the next sentence. Every start matches, so that scanning stays linear.
_END = re.compile(
    rf"(?P<lines>[{_BREAK}]\s*)"
    rf"|[{_STOP}](?:{_BLANK}?[{_STOP}])*+(?P<closers>(?:[{_CLOSER}]|\[\d{{1,3}}\])*){_BLANK}*"
)
_STOPPED = re.compile(rf"[{_STOP}:…][{_CLOSER}]*\s*$")
_CLAUSE = re.compile(r"[,;:،؛–—](?=\s)|[，、；：،؛]")
_SPEAKABLE = re.compile(r"[^\W_]")
_LIST_MARK = re.compile(r"\W*(?:\d{1,3}|[^\W\d_])[.)]")

# What the language of a voice is called by the rules for sentences, where that differs.
_LANGUAGES = {"cmn": "zh", "yue": "zh", "nb": "no", "nn": "no", "arb": "ar"}


@dataclass(frozen=True)
class Segment:
    """``text`` is ``submitted[start:end]``, in code points, without white space around it.

    ``index`` counts from 0 without gaps. Segments of one ``paragraph`` share its number;
    numbers grow with the text, but a paragraph that holds nothing to speak uses one up too.
    """

    index: int
    start: int
    end: int
    text: str
    paragraph: int = 0


def cut(
    text: str,
    *,
    mode: Literal["sentence", "paragraph"],
    limit: int,
    count: Callable[[str], int] = len,
    language: str = "en",
) -> Iterator[Segment]:
    """The segments of a whole text, lazily: the first costs no more in a text of 5 MB.

    ``sentence``: a segment a sentence. ``paragraph``: as many whole sentences of one paragraph
    as fit, so that a paragraph that fits is one segment; two paragraphs are never joined.

    No segment is above ``limit`` as counted by ``count`` (the provider's own unit), which must
    not shrink as text grows. A sentence above it is cut at a clause mark, else between words,
    else between graphemes. ``language`` is a tag such as "en", "de-DE" or "cmn".

    Raises ValueError where not even one character fits into ``limit``.
    """
    stream = SentenceStream(limit=limit, count=count, language=language)
    sentences = _sentences(text, stream)
    return sentences if mode == "sentence" else _packed(sentences, text, limit, count)


def _sentences(text: str, stream: SentenceStream) -> Iterator[Segment]:
    first, further = _SLICES
    yield from stream.feed(text[:first])
    for start in range(first, len(text), further):
        yield from stream.feed(text[start : start + further])
    yield from stream.flush()


def _packed(
    sentences: Iterator[Segment], text: str, limit: int, count: Callable[[str], int]
) -> Iterator[Segment]:
    packed: Segment | None = None
    for sentence in sentences:
        if packed is None:
            packed = sentence
            continue
        joined = text[packed.start : sentence.end]
        if sentence.paragraph == packed.paragraph and count(joined) <= limit:
            packed = replace(packed, end=sentence.end, text=joined)
        else:
            yield packed
            packed = replace(sentence, index=packed.index + 1)
    if packed is not None:
        yield packed


class SentenceStream:
    """Sentences out of a text that is still being written.

    `feed` takes what was added and returns the sentences that are now certain; `flush` says
    that no more is coming, or that what is there is to be spoken as it is. However the text is
    divided among calls of `feed`, the segments are those of `cut` in sentence mode.
    """

    def __init__(
        self, *, limit: int, count: Callable[[str], int] = len, language: str = "en"
    ) -> None:
        if limit < 1:
            raise ValueError(f"a limit of {limit} leaves no room for text")
        self._limit = limit
        self._count = count
        self._language = _sentence_rules(language)
        self._tail = ""  # the end of what was fed; positions below are in it
        self._before = 0  # code points before the tail
        self._start = 0  # of the sentence that is looked for
        self._seen = 0  # it does not end before
        self._index = 0
        self._paragraph = 0

    def feed(self, delta: str) -> list[Segment]:
        """Take more text (never what was fed before); the sentences that it completed."""
        self._tail += delta
        return self._advance(final=False)

    def flush(self) -> list[Segment]:
        """Everything that is left. The text may go on afterwards, in a new paragraph."""
        segments = self._advance(final=True)
        self._paragraph += 1
        return segments

    def _advance(self, *, final: bool) -> list[Segment]:
        segments: list[Segment] = []
        while self._skip_space():
            end = self._find_end(final)
            if self._count(self._tail[self._start : end.position].rstrip()) > self._limit:
                end = _End(self._find_cut(end.position), certain=True)
            if not end.certain:
                break
            text = self._tail[self._start : end.position].rstrip()
            if _SPEAKABLE.search(text):
                segments.append(self._segment(text))
            self._paragraph += end.closes_paragraph
            self._start = self._seen = end.position
        self._forget()
        return segments

    def _segment(self, text: str) -> Segment:
        start = self._before + self._start
        segment = Segment(self._index, start, start + len(text), text, self._paragraph)
        self._index += 1
        return segment

    def _skip_space(self) -> bool:
        """Go to where the next sentence starts; whether there is any text."""
        if space := _SPACE.match(self._tail, self._start):
            self._start = space.end()
        self._seen = max(self._seen, self._start)
        return self._start < len(self._tail)

    def _forget(self) -> None:
        """Drop what was cut, except for what `_is_wrapped` looks back on."""
        kept = max(0, self._start - _WRAP_WIDTHS.stop)
        self._tail = self._tail[kept:]
        self._before += kept
        self._start -= kept
        self._seen -= kept

    def _find_end(self, final: bool) -> _End:
        """The sentence's end, or where it cannot end before, as far as the text is known."""
        for match in _END.finditer(self._tail, self._seen):
            position, following = match.end(), self._tail[match.end() : match.end() + 1]
            if match["lines"]:
                position = match.start()
                known = final or bool(following) or self._is_stopped(position)
                if not known or not self._is_wrapped(match):
                    return _End(position, certain=known, closes_paragraph=True)
            elif not following and final:
                break
            elif not following or following not in _BREAK:
                if not final and position + HOLD_BACK > len(self._tail):
                    return _End(position, certain=False)
                if self._is_boundary(match, following):
                    return _End(position, certain=True)
            self._seen = match.end()
        return _End(len(self._tail), certain=final)

    def _is_stopped(self, position: int) -> bool:
        start = max(self._start, position - 20)
        return _STOPPED.search(self._tail, start, position) is not None

    def _is_wrapped(self, lines: re.Match[str]) -> bool:
        """Whether a sentence runs on behind a line break that an editor put in.

        It does where a single break follows a line of 50 to 100 characters that does not end
        a sentence, and the next line goes on in lower case. Lists and verse are shorter, and
        paragraphs of a line each are longer or end in a full stop.
        """
        position = lines.start()
        line = self._tail[max(0, position - _WRAP_WIDTHS.stop) : position]
        return (
            len(_LINE_BREAK.findall(lines[0])) == 1
            and len(_LINE_BREAK.split(line)[-1]) in _WRAP_WIDTHS
            and self._tail[lines.end() : lines.end() + 1].islower()
            and not self._is_stopped(position)
        )

    def _is_boundary(self, stop: re.Match[str], following: str) -> bool:
        """Whether a sentence ends with these full stops, and one that can be spoken."""
        if stop[0][-1] == "." and following.isalnum():
            return False  # 3.14, example.org
        sentence = self._tail[self._start : stop.end()].rstrip()
        if not _SPEAKABLE.search(sentence) or _LIST_MARK.fullmatch(sentence):
            return False
        start = max(self._start, stop.start() - _CONTEXT)
        known = _LINE_BREAK.sub(" ", self._tail[start : stop.end() + HOLD_BACK])
        ends = accumulate(len(part) for part in sentencex.segment(self._language, known))
        return any(stop.start() < start + end <= stop.end() for end in ends)

    def _find_cut(self, end: int) -> int:
        """Where to cut a sentence that is above the limit before ``end``.

        As late as fits: behind a clause mark in the second half, else between words, else
        behind any clause mark, else between graphemes.
        """
        text, start = self._tail, self._start
        sizes = range(start + 1, end + 1)
        fit = start + bisect_right(sizes, self._limit, key=lambda q: self._count(text[start:q]))
        if fit == start:
            raise ValueError(f"{text[start]!r} alone is above the limit of {self._limit}")
        clauses = (mark.end() for mark in _CLAUSE.finditer(text, start, fit + 1))
        clause = max((q for q in clauses if q <= fit), default=start)
        if clause > (start + fit) // 2:
            return clause
        space = max((gap.start() for gap in _SPACE.finditer(text, start, fit + 1)), default=start)
        return max(space, clause) if max(space, clause) > start else _between(text, start, fit)


class _End(NamedTuple):
    position: int
    certain: bool
    closes_paragraph: bool = False


def _sentence_rules(language: str) -> str:
    name = language.replace("_", "-").partition("-")[0].lower()
    return _LANGUAGES.get(name, name) or "en"


def _between(text: str, start: int, end: int) -> int:
    """The last place in (start, end] between two graphemes; ``end`` if there is none."""
    position = end
    while position > start and _is_inside(text, position):
        position -= 1
    return position if position > start else end


def _is_inside(text: str, position: int) -> bool:
    """Whether a grapheme goes on across ``position``: the rules of UAX #29 that matter here."""
    before, after = text[position - 1], text[position]
    return (
        unicodedata.category(after) in ("Mn", "Mc", "Me")
        or _ZERO_WIDTH_JOINER in (before, after)
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= after <= "\U000e007f"  # tags of flags
        or "\u1160" <= after <= "\u11ff"  # vowels and finals of decomposed Hangul
        or (unicodedata.combining(before) == _VIRAMA and after.isalpha())
        or (_is_flag_half(after) and _flag_halves_before(text, position) % 2 == 1)
    )


_ZERO_WIDTH_JOINER = "\u200d"
_VIRAMA = 9
"""The combining class of the sign that joins two Indic consonants into one."""


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _flag_halves_before(text: str, position: int) -> int:
    start = position
    while start > 0 and _is_flag_half(text[start - 1]):
        start -= 1
    return position - start
