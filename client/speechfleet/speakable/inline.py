"""Tokens within a line: words, links, emphasis, tags, addresses, pictures.

Each pattern finds its end within `LONGEST_TOKEN` code points, so that a text is read in linear
time, whatever it holds, and a text that still grows is held back by no more than that.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from speechfleet.speakable.characters import (
    COMBINING,
    DECORATION,
    DECORATIVE,
    INVISIBLE,
    LIGATURES,
    PICTURE,
)
from speechfleet.speakable.pauses import LONGEST_MARK, MARK

LONGEST_TOKEN = 1024
LONGEST_ENTITY = 33
LONGEST_REFERENCE = 103


class Kind(Enum):
    """The kind of a stretch of a line."""

    COPY = auto()
    DROP = auto()
    REPLACE = auto()
    PAUSE = auto()
    WEB_ADDRESS = auto()
    LINK_TARGET = auto()
    TAG = auto()
    CODE_MARK = auto()


class Token(NamedTuple):
    """A stretch of a line up to ``end``; ``text`` is what is spoken for it, if not itself."""

    kind: Kind
    end: int
    text: str = ""


# Words and what stands between them, where it means nothing else.
_MAY_BE_ADDRESS = r"https?(?::(?:/(?:/|\Z)|\Z)|\Z)|www(?:\.|\Z)"
_PLAIN = re.compile(
    rf"(?:(?!{_MAY_BE_ADDRESS})(?:(?![\ufb00-\ufb06])[^\W_](?![{COMBINING}]))++"
    r"(?:[ ,;.?'’\"“”()%$€£]|!(?!\[|\Z))*+)++",
    re.IGNORECASE,
)
_HOST = r"[^\s/?#:<>()\[\]{}\"'`|\\^*]{1,253}"
_ADDRESS = re.compile(rf"(?:https?://(?:www\.)?|www\.)(?P<host>{_HOST})", re.IGNORECASE)
_COMPOSED = re.compile(rf"\w[{COMBINING}]{{1,8}}")
_INVISIBLE = re.compile(rf"[{INVISIBLE}]+")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_TAG = re.compile(
    r"<!--|<(?:/?[A-Za-z](?:[^<>\"']|\"[^\"<>]*\"|'[^'<>]*')*+|![A-Za-z][^<>]*+|\?[^<>]*+)>"
)
_AUTOLINK = re.compile(
    rf"<(?:https?://(?:www\.)?(?P<host>{_HOST})[^\s<>]{{0,700}}"
    r"|(?:mailto:)?(?P<mail>[\w.+-]{1,64}@[\w.-]{1,200}))>",
    re.IGNORECASE,
)
_NOTE_MARK = re.compile(r"\[\^[^\]\s]{1,60}\]|(?<=[^\s(\[])\[\d{1,3}\](?!\()")
_REFERENCE = re.compile(r"\]\[[^\]\[\n]{0,100}\]")
_TARGET = re.compile(r"\]\((?=\S)")
_EMPHASIS = re.compile(r"\*+|_+|~~+|==+")
_CODE_MARK = re.compile(r"`+")
_SPACE = re.compile(r"[^\S\n\r\v\f\x85\u2028\u2029]+")


class Inline:
    """Reads one token after the other. ``markdown``: with markup, else only plain text."""

    def __init__(self, *, markdown: bool) -> None:
        readers: dict[str, Callable[[str, int, int, bool], Token | None]] = {}
        for characters, reader in (
            ("<", self._tag if markdown else self._break),
            ("[", self._bracket if markdown else self._break),
            ("&", _entity), ("\\", _escape), ("]", _closing_bracket), ("!", _image),
            ("*_~=", _emphasis), ("`", _code_mark),
        ):  # fmt: skip
            if markdown or characters in "<[":
                readers.update(dict.fromkeys(characters, reader))
        self._readers = readers

    def read(self, text: str, at: int, end: int, *, final: bool) -> Token | None:
        """Read the token at ``at``; None where more of the text is needed to tell."""
        plain = _PLAIN.match(text, at, end)
        if plain is not None:
            return _copied(text, at, plain.end(), end, final)
        special = self._readers.get(text[at])
        token = special(text, at, end, final) if special is not None else _NOTHING
        return _other(text, at, end, final) if token is _NOTHING else token

    @staticmethod
    def _break(text: str, at: int, end: int, final: bool) -> Token | None:
        return _pause(text, at, end, final)

    @staticmethod
    def _tag(text: str, at: int, end: int, final: bool) -> Token | None:
        if (token := _pause(text, at, end, final)) is not _NOTHING:
            return token
        if autolink := _AUTOLINK.match(text, at, end):
            return Token(Kind.REPLACE, autolink.end(), autolink["host"] or autolink["mail"])
        limit = min(end, at + LONGEST_TOKEN)
        if tag := _TAG.match(text, at, limit):
            return Token(Kind.TAG, tag.end(), tag[0])
        begins = at + 1 == end or text[at + 1].isalpha() or text[at + 1] in "/!?"
        if begins and limit == end and not final and "<" not in text[at + 1 : end]:
            return None
        return _NOTHING

    @staticmethod
    def _bracket(text: str, at: int, end: int, final: bool) -> Token | None:
        if (token := _pause(text, at, end, final)) is not _NOTHING:
            return token
        if note := _NOTE_MARK.match(text, at, end):
            if note.end() == end and not final:
                return None
            return Token(Kind.DROP, note.end())
        is_open = not final and end - at < 64 and "]" not in text[at:end]
        if is_open and (at + 1 == end or text[at + 1] in "^0123456789"):
            return None
        return Token(Kind.DROP, at + 1)


_NOTHING = Token(Kind.COPY, -1)
"""The answer of a reader that knows nothing of what it was asked."""


def _copied(text: str, at: int, to: int, end: int, final: bool) -> Token | None:
    """Take words as they are; of those that touch the end, the last may go on."""
    if to < end or final:
        return Token(Kind.COPY, to)
    blank = text.rfind(" ", at, to)
    if blank >= at:
        return Token(Kind.COPY, blank + 1)
    return None if end - at < 64 else Token(Kind.COPY, to - 1)


def _pause(text: str, at: int, end: int, final: bool) -> Token | None:
    if mark := MARK.match(text, at, end):
        return Token(Kind.PAUSE, mark.end())
    begun = text[at : min(end, at + 6)].lower()
    is_open = not final and end - at < LONGEST_MARK and not {"]", ">"} & set(text[at:end])
    is_mark = "[pause".startswith(begun) or "<break".startswith(begun)
    return None if is_open and is_mark else _NOTHING


def _entity(text: str, at: int, end: int, final: bool) -> Token | None:
    if entity := _ENTITY.match(text, at, end):
        meant = html.unescape(entity[0])
        if meant != entity[0]:
            return Token(Kind.REPLACE, entity.end(), meant if meant.isprintable() else " ")
    rest = text[at + 1 : end]
    may_be_one = len(rest) < LONGEST_ENTITY and all(c.isalnum() or c == "#" for c in rest)
    return None if may_be_one and not final else _NOTHING


def _escape(text: str, at: int, end: int, final: bool) -> Token | None:
    if escape := _ESCAPE.match(text, at, end):
        return Token(Kind.REPLACE, escape.end(), escape[1])
    return None if at + 1 == end and not final else _NOTHING


def _closing_bracket(text: str, at: int, end: int, final: bool) -> Token | None:
    if target := _TARGET.match(text, at, end):
        return Token(Kind.LINK_TARGET, target.end())
    if reference := _REFERENCE.match(text, at, end):
        return Token(Kind.DROP, reference.end())
    begun = text[at + 1 : min(end, at + LONGEST_REFERENCE)]
    is_reference = begun[:1] == "[" and "]" not in begun and "\n" not in begun
    is_open = not final and end - at < LONGEST_REFERENCE and (begun in ("", "(") or is_reference)
    return None if is_open else Token(Kind.DROP, at + 1)


def _image(text: str, at: int, end: int, final: bool) -> Token | None:
    if text.startswith("![", at):
        return Token(Kind.DROP, at + 2)
    return None if at + 1 == end and not final else _NOTHING


def _emphasis(text: str, at: int, end: int, final: bool) -> Token | None:
    if decoration := DECORATION.match(text, at, end):
        token = _run(Kind.REPLACE, decoration, end, final)
        return token and token._replace(text=" ")
    marks = _EMPHASIS.match(text, at, end)
    if marks is None:
        return None if at + 1 == end and not final else _NOTHING
    if marks.end() == end and not final and end - at < 64:
        return None
    before = text[at - 1 : at] or " "
    after = text[marks.end() : marks.end() + 1] or " "
    if before.isspace() and after.isspace():
        return Token(Kind.COPY, marks.end())
    is_inside_word = text[at] == "_" and before.isalnum() and after.isalnum()
    return Token(Kind.COPY if is_inside_word else Kind.DROP, marks.end())


def _code_mark(text: str, at: int, end: int, final: bool) -> Token | None:
    marks = _CODE_MARK.match(text, at, end)
    assert marks is not None
    return _run(Kind.CODE_MARK, marks, end, final)


def _run(kind: Kind, run: re.Match[str], end: int, final: bool) -> Token | None:
    is_open = run.end() == end and not final and len(run[0]) < LONGEST_TOKEN
    return None if is_open else Token(kind, run.end(), run[0])


def _other(text: str, at: int, end: int, final: bool) -> Token | None:
    """Read what means the same in any text: addresses, pictures, invisible characters."""
    character = text[at]
    if character in LIGATURES:
        return Token(Kind.REPLACE, at + 1, LIGATURES[character])
    if (address := _address(text, at, end, final)) is not _NOTHING:
        return address
    for pattern, kind in _ANYWHERE:
        if found := pattern.match(text, at, end):
            token = _run(kind, found, end, final)
            return token._replace(text=" ") if token and pattern is DECORATION else token
    is_open = not final and end - at < 4 and text[at:end] == character * (end - at)
    if is_open and (character.isalnum() or character in DECORATIVE):
        return None
    return Token(Kind.COPY, at + 1)


def _address(text: str, at: int, end: int, final: bool) -> Token | None:
    if text[at] not in "hHwW" or text[at - 1 : at].isalnum():
        return _NOTHING
    found = _ADDRESS.match(text, at, end)
    if found is None:
        begun = text[at : at + 12].lower()
        is_open = not final and end - at < 12 and any(b.startswith(begun) for b in _BEGINNINGS)
        return None if is_open else _NOTHING
    if found.end() == end and not final and len(found["host"]) < 253:
        return None
    host = found["host"].rstrip(".,;!?")
    return Token(Kind.WEB_ADDRESS, found.start("host") + len(host), host) if host else _NOTHING


_BEGINNINGS = ("https://www.", "http://www.", "https://", "http://", "www.")
_ANYWHERE = (
    (_SPACE, Kind.COPY),
    (_COMPOSED, Kind.REPLACE),
    (PICTURE, Kind.DROP),
    (_INVISIBLE, Kind.DROP),
    (DECORATION, Kind.REPLACE),
)
