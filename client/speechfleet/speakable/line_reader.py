"""Reads the inside of the lines of a text, and passes over what is not spoken."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from speechfleet.speakable import tags
from speechfleet.speakable.inline import Inline, Kind, Token
from speechfleet.speakable.numerals import Heading, HeadingWord
from speechfleet.speakable.pauses import MARK, seconds_of
from speechfleet.speakable.writer import Writer

LINE_BREAK = re.compile(r"\r\n|[\n\r\v\f\x85\u2028\u2029]")
_BREAKS = frozenset("\n\r\v\f\x85\u2028\u2029")
_END_OF_CODE = re.compile(r"`+|[\n\r\v\f\x85\u2028\u2029]")
_END_OF_TARGET = re.compile(r"[()\s]")
_TITLE = re.compile(r"[ \t]+(?:\"[^\"\n]{0,500}\"|'[^'\n]{0,500}')[ \t]?\)")
_LONGEST_TITLE = 520
_LONGEST_CODE_MARK = 1024
_ADDRESS_TAIL = re.compile(r"[^\s<>\"“”]++")
_TRAILING = ".,;:!?'’*_)]}"
_LONGEST_TRAILING = 64

Step = Callable[[int, int, bool], "int | None"]
"""Reads on from a position, up to an end that is or is not final.

Returns how far it came, None where it needs more of the text.
"""


class LineReader:
    """Reads the inside of lines into a writer, one step after the other."""

    def __init__(self, *, markdown: bool) -> None:
        self._writer = Writer()
        self._inline = Inline(markdown=markdown)
        self._text = ""  # the end of what was fed, from one character before what is unread
        self._before = 0  # code points before it
        self._heading = Heading()
        self._code = ""  # the marks that the current stretch of code began with
        self._hidden_until: re.Pattern[str] | None = None
        self._depth = 0  # of brackets in a link's target
        self._next_line: Step = self._within
        self._step: Step = self._within

    def _within(self, at: int, end: int, final: bool) -> int | None:
        if self._text[at] in _BREAKS:
            return self._line_break(at, end, final)
        if self._code:
            return self._in_code(at, end, final)
        if self._heading.is_open and not self._text[at - 1 : at].isalnum():
            word = self._heading.word(self._text, at, end)
            if word is not None:
                return self._heading_word(word, at, end, final)
        token = self._inline.read(self._text, at, end, final=final)
        if token is None:
            return None
        self._take(token, at)
        return token.end

    def _heading_word(self, word: HeadingWord, at: int, end: int, final: bool) -> int | None:
        if word.end == end and not final:
            return None
        self._heading.passed(self._text[at : word.end])
        kind = Kind.REPLACE if word.digits else Kind.COPY
        self._take(Token(kind, word.end, word.digits), at)
        return word.end

    def _line_break(self, at: int, end: int, final: bool) -> int | None:
        found = LINE_BREAK.match(self._text, at, end)
        assert found is not None
        if found[0] == "\r" and found.end() == end and not final:
            return None
        if self._heading.is_open:
            self._heading.end()
            self._writer.end_paragraph(self._before + at)
        if self._writer.last == "\n":
            self._code = ""
        self._writer.copy(found[0], self._before + at)
        self._step = self._next_line
        return found.end()

    def _in_code(self, at: int, end: int, final: bool) -> int | None:
        """Read a stretch of code within a line, as it stands."""
        found = _END_OF_CODE.search(self._text, at, end)
        code_end = end if found is None else found.start()
        if code_end > at:
            self._writer.copy(self._text[at:code_end], self._before + at)
            return code_end
        assert found is not None
        if found.end() == end and not final and found.end() - at < _LONGEST_CODE_MARK:
            return None
        if found[0] == self._code:
            self._code = ""
        else:
            self._writer.copy(found[0], self._before + at)
        return found.end()

    def _take(self, token: Token, at: int) -> None:
        start, end = self._before + at, self._before + token.end
        match token.kind:
            case Kind.COPY:
                self._writer.copy(self._text[at : token.end], start)
            case Kind.REPLACE:
                self._writer.replace(unicodedata.normalize("NFC", token.text), start, end)
            case Kind.PAUSE:
                mark = MARK.match(self._text, at, token.end)
                assert mark is not None
                self._writer.pause(seconds_of(mark), start, end)
            case Kind.WEB_ADDRESS:
                self._writer.replace(token.text, start, end)
                if self._text[token.end : token.end + 1] in tuple("/?#:"):
                    self._step = self._address_tail
            case Kind.LINK_TARGET:
                self._depth, self._step = 0, self._target
            case Kind.CODE_MARK:
                self._code = token.text
            case Kind.TAG:
                self._take_tag(token.text, start, end)
            case Kind.DROP:
                pass

    def _take_tag(self, tag: str, start: int, end: int) -> None:
        if tags.ends_paragraph(tag):
            self._heading.end()
            self._writer.end_paragraph(start)
            if tags.is_heading(tag):
                self._heading.begin()
        self._hidden_until = tags.hidden_until(tag)
        if self._hidden_until is not None:
            self._step = self._hidden
        self._writer.replace(tags.spoken(tag), start, end)

    # --- what is passed over ----------------------------------------------------------------

    def _hidden(self, at: int, end: int, final: bool) -> int | None:
        assert self._hidden_until is not None
        found = self._hidden_until.search(self._text, at, end)
        if found is not None:
            self._step = self._within
            return found.end()
        rest = end if final else max(at, end - tags.LONGEST_END)
        return rest if rest > at else None

    def _target(self, at: int, end: int, final: bool) -> int | None:
        """Pass over the target of a link, up to the bracket that closes it."""
        found = _END_OF_TARGET.search(self._text, at, end)
        if found is None:
            return end
        if found[0] == "(":
            self._depth += 1
            return found.end()
        if found[0] == ")":
            self._depth -= 1
            if self._depth < 0:
                self._step = self._within
            return found.end()
        self._step = self._title
        return found.start()

    def _title(self, at: int, end: int, final: bool) -> int | None:
        """Pass over a link's title; without one, a blank ends the target."""
        title = _TITLE.match(self._text, at, end)
        if title is None and not final and end - at < _LONGEST_TITLE:
            begun = self._text[at:end].lstrip(" \t")
            if begun[:1] in ("", '"', "'") and "\n" not in begun:
                return None
        self._step = self._within
        return at if title is None else title.end()

    def _address_tail(self, at: int, end: int, final: bool) -> int | None:
        """Pass over what follows an address's host, but for the marks that close behind it."""
        found = _ADDRESS_TAIL.match(self._text, at, end)
        if found is None:
            self._step = self._within
            return at
        tail_end = at + len(found[0].rstrip(_TRAILING))
        if found.end() == end and not final:
            if found.end() - tail_end >= _LONGEST_TRAILING:
                return end
            return tail_end if tail_end > at else None
        self._step = self._within
        return tail_end if tail_end > at else self._within(at, end, final)
