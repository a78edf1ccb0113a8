"""Line breaks inside a paragraph, which an editor put in, told from those that end one.

An editor that wraps fills each line as far as the next word allows. So a block of lines is
wrapped where nearly every line would not have had room for the first word of the next one; it is
verse, a list or a line a paragraph where most would have had. A block ends at a blank line or at
a line that is longer than any editor's. `is_wrapped` looks at a few lines before and behind the
break, never at more, so that the answer is the same however the text arrives.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from speechfleet_worker.segmentation.abbreviations import UNKNOWN, abbreviations_of
from speechfleet_worker.segmentation.marks import LINE_BREAK, STOPPED

MAX_WIDTH = 110
"""Code points of the longest line that an editor may have wrapped."""
MIN_WIDTH = 30
"""Columns below which a line is taken for verse, a list or a heading."""
_MIN_BLOCK_WIDTH = 40
"""Columns that the longest line of a wrapped block has at least."""
_PROSE_WIDTH = 62
"""Columns above which lines are no verse."""
_SHORT_BLOCK_WIDTH = 48
"""Columns of a line that is taken for wrapped prose, though too few lines follow to be sure."""
_SLACK = 2
"""Columns by which the longest line of a block may exceed the others' width."""
_LINES_BEFORE = 8
_LINES_AFTER = 4
LOOK_BEHIND = _LINES_BEFORE * (MAX_WIDTH + 2)
"""Code points before a break that may be looked at."""
_LOOK_AHEAD = _LINES_AFTER * (MAX_WIDTH + 2)
_MAX_INDENT = 40
_START = 12
"""Code points of a line that show if it is an item of a list."""

_ITEM = re.compile(
    r"""\s*(?:
        [-*+•·‣◦▪●○■□–—―→⇒✓✔☐☑]\s        # bullets
      | \(?(?:\d{1,3}|[^\W\d_]|[ivxlcIVXLC]{1,5})[.)]\s   # 1. (a) iv)
      | [#>|] | ={3} | -{3} | \*{3}          # headings, quotations, tables, rules
    )""",
    re.VERBOSE,
)
_DIALOGUE = re.compile(r"\s*(?:[–—―]|--)\s?(?P<letter>\w)")
_TABLE = re.compile(r"\t|\|.*\||\S\s{3,}\S")
_HYPHENATED = re.compile(r"[^\W\d_][-‐\u00ad]$")
_WORD = re.compile(r"(?:[^\W\d_]{1,5}\.\s)?\S+")
"""A word, with the title before it: editors keep "Mr. Collins" on one line."""
_CASED = re.compile(r"[^\W\d_]")
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1980-\u19df\u1a20-\u1aaf\ua980-\ua9df]"
)
"""Scripts that set no blank between words."""
_WIDE = re.compile(
    r"[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60"
    r"\U0001f300-\U0001faff\U00020000-\U0003ffff]"
)
_LONG_WORD = 12
"""Columns of a word in a script without blanks, at most, as a rule."""
_WIDE_ROOM = 4
"""Columns that an editor leaves free at the end of a line of Han or kana, at most."""


def is_wrapped(text: str, start: int, end: int, *, final: bool) -> bool | None:
    """Tell if the paragraph goes on behind the break at [start, end) of ``text``.

    ``end`` includes the white space that follows the break. None: it depends on text that is not
    there yet, which cannot be where ``final``.
    """
    breaks = LINE_BREAK.findall(text, start, end)
    line = _line_before(text, start)
    if len(breaks) != 1 or line is None or not line.strip():
        return False
    hyphenated = _HYPHENATED.search(line) is not None
    indent = end - start - len(breaks[0]) - _indent(line)
    too_short = not hyphenated and _width(line) < MIN_WIDTH
    if too_short or indent > _MAX_INDENT or "\u3000" in text[start:end]:
        return False
    if not final and not _start_is_known(text, end):
        return None
    following = text[end : end + _START]
    if hyphenated and following[:1].islower():
        return True
    if not following or _is_a_line_of_its_own(line, following, indent):
        return False
    return _judge_block(text, start, end, final)


class BreakJudge:
    """Caches the verdict on a line break.

    The scanner meets each break up to three times: behind a stop, alone and as a blank.
    """

    def __init__(self) -> None:
        self._last = (-1, False)  # the place of the last break that was judged, and the answer

    def is_wrapped(
        self, text: str, start: int, end: int, *, before: int, final: bool
    ) -> bool | None:
        """Judge a break of a text of which ``before`` code points are not in ``text`` any more."""
        if self._last[0] != before + start:
            wrapped = is_wrapped(text, start, end, final=final)
            if wrapped is None:
                return None
            self._last = (before + start, wrapped)
        return self._last[1]


def _is_a_line_of_its_own(line: str, following: str, indent: int) -> bool:
    """Tell if two lines do not belong together, whatever the lines around them look like."""
    if indent > 1 and (_is_stopped(line) or not following[0].islower()):
        return True
    too_short = _width(line) < MIN_WIDTH
    return too_short or _TABLE.search(line) is not None or _begins_anew(following)


def _judge_block(text: str, start: int, end: int, final: bool) -> bool | None:
    after = _lines_after(text, end, final)
    if after is None:
        return None
    before = _lines_before(text, start)
    lines = [*before, *after]
    if max(map(_width, lines)) < _MIN_BLOCK_WIDTH:
        return False
    return any(
        _Block(lines, [measure(line) for line in lines], room).goes_on(len(before) - 1)
        for measure, room in ((len, _room_in_code_points), (columns, _room_in_columns))
    )


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _start_is_known(text: str, end: int) -> bool:
    start = text[end : end + _START]
    return len(start) == _START or LINE_BREAK.search(start) is not None


def _begins_anew(following: str) -> bool:
    """Tell if a line is an item, a heading, a row of a table or what a speaker says."""
    if dialogue := _DIALOGUE.match(following):
        return not dialogue["letter"].islower()
    return _ITEM.match(following) is not None


def _line_before(text: str, end: int) -> str | None:
    """Return the line that ends at ``end``; None where it is longer than `MAX_WIDTH`."""
    piece = text[max(0, end - MAX_WIDTH - 2) : end]
    line = LINE_BREAK.split(piece)[-1]
    return line if len(line) <= MAX_WIDTH else None


def _lines_before(text: str, end: int) -> list[str]:
    """Return the last lines of the block that ends at ``end``, the nearest last."""
    first = max(0, end - LOOK_BEHIND)
    lines = LINE_BREAK.split(text[first:end])
    if first > 0:
        lines = lines[1:]  # it may begin before
    block: list[str] = []
    for line in reversed(lines):
        if not line.strip() or len(line) > MAX_WIDTH or len(block) == _LINES_BEFORE:
            break
        block.append(line)
    return block[::-1]


def _lines_after(text: str, start: int, final: bool) -> list[str] | None:
    """Return the next lines of the block; None where not all of them are there yet."""
    piece = text[start : start + _LOOK_AHEAD + 2]
    lines = LINE_BREAK.split(piece)
    block: list[str] = []
    for number, line in enumerate(lines):
        if len(line) > MAX_WIDTH:
            return block or [line]
        if number == len(lines) - 1 and not final and start + len(piece) == len(text):
            return None
        if number and (not line.strip() or _begins_anew(line[:_START])):
            return block
        block.append(line)
        if len(block) == _LINES_AFTER:
            return block
    return block


@lru_cache(maxsize=1024)
def columns(line: str) -> int:
    """Columns of a terminal that a line takes: Han and kana two, combining marks none."""
    if line.isascii():
        return len(line)
    width = len(line)
    for character in line:
        if character > "\u02ff":
            if _WIDE.match(character):
                width += 1
            elif unicodedata.category(character) in ("Mn", "Me", "Cf"):
                width -= 1
    return width


def _width(line: str) -> int:
    """Return the greater of the two widths: editors count columns, programs count code points."""
    return max(len(line), columns(line))


def _room_in_code_points(line: str) -> int:
    """Code points that the first word of a line would have needed at the end of the last one."""
    if _WIDE.match(line):
        return 2
    return _LONG_WORD if _UNSPACED.match(line) else 1 + len(_first_word(line))


def _room_in_columns(line: str) -> int:
    if _WIDE.match(line):
        return _WIDE_ROOM
    return _LONG_WORD if _UNSPACED.match(line) else 1 + columns(_first_word(line))


def _first_word(line: str) -> str:
    word = _WORD.search(line)
    return word[0] if word else ""


class _Shares(NamedTuple):
    full: int
    not_full: int
    stopped: int
    capitals: int


class _Block:
    """Lines that follow each other, with their widths in one measure."""

    def __init__(self, lines: list[str], widths: list[int], room: Callable[[str], int]) -> None:
        self._lines = lines
        self._stripped = [line.rstrip() for line in lines]
        self._widths = widths
        self._full = [
            width + room(following) > max(widths) - _SLACK
            for width, following in zip(widths, self._stripped[1:], strict=False)
        ]

    def goes_on(self, index: int) -> bool:
        """Tell if the paragraph goes on from line ``index`` to the next one."""
        line, following = self._lines[index], self._lines[index + 1]
        stopped, letter = _is_stopped(line), _first_letter(following)
        if not stopped and letter.islower() and 50 <= len(line) <= 100:
            return True
        # A line that no editor wrapped need not be there as a whole: its width must not count.
        if not self._full[index] or len(following) > MAX_WIDTH:
            return False
        shares = self._shares()
        if shares.full >= 3:
            return self._is_prose(shares, stopped)
        wide_enough = self._widths[index] >= _SHORT_BLOCK_WIDTH
        return not stopped and not shares.not_full and (not letter.isupper() or wide_enough)

    def _is_prose(self, shares: _Shares, stopped: bool) -> bool:
        """Judge a block of four lines or more; a line that ends a sentence needs more evidence."""
        lines = len(self._lines) - 1
        if max(self._widths) < _PROSE_WIDTH and shares.capitals == lines:
            return False  # verse
        if not stopped:
            return 2 * shares.not_full <= shares.full
        return 3 * shares.not_full <= shares.full and 4 * shares.stopped < 3 * lines

    def _shares(self) -> _Shares:
        following = self._lines[1:]
        return _Shares(
            full=sum(self._full),
            not_full=len(self._full) - sum(self._full),
            stopped=sum(_is_stopped(line) for line in self._lines[:-1]),
            capitals=sum(_first_letter(line).isupper() for line in following),
        )


@lru_cache(maxsize=1024)
def _is_stopped(line: str) -> bool:
    """Tell if a sentence may end with the line; not with "Dr."."""
    end = line[-20:].rstrip()
    if STOPPED.search(end) is None:
        return False
    last = end.rpartition(" ")[2]
    titles = abbreviations_of(UNKNOWN).always
    return not (last.endswith(".") and last[:-1].casefold() in titles)


def _first_letter(line: str) -> str:
    """Return the first letter; "" where a digit begins the line, or no letter does."""
    start = line.lstrip()[:4]
    letter = _CASED.search(start)
    return letter[0] if letter else ""
