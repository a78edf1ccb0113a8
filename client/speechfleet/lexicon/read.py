"""Reads a lexicon from a file: tab-separated lines, or PLS.

    # written <TAB> spoken [<TAB> language tag or voice]
    SQL	sequel
    Nguyen	win	en

Of PLS (https://www.w3.org/TR/pronunciation-lexicon/) the aliases are read; phonemes need a
provider that takes them.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from xml.parsers import expat

from speechfleet.errors import InvalidRequest
from speechfleet.lexicon.lexicon import Lexicon, LexiconEntry

log = logging.getLogger(__name__)

LARGEST_FILE = 16 << 20
"""Bytes of a file that is read."""


def read_lexicon(path: Path | str) -> Lexicon:
    """Read a file, again only where it has changed. Raises InvalidRequest with file and line."""
    path = Path(path)
    try:
        about = path.stat()
        if about.st_size > LARGEST_FILE:
            raise InvalidRequest(f"lexicon {path}: it is larger than {LARGEST_FILE >> 20} MB")
        return _read(path, about.st_mtime_ns, about.st_size)
    except OSError as error:
        raise InvalidRequest(f"lexicon {path}: {error.strerror or error}") from None


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, size: int) -> Lexicon:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidRequest(f"{path}:{line}: the lexicon is not UTF-8") from None
    if text.lstrip().startswith("<"):
        return _Pls(path).read(data)
    return _lines(path, text)


def _lines(path: Path, text: str) -> Lexicon:
    entries: list[LexiconEntry] = []
    places: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split("\t")]
        if not 2 <= len(fields) <= 3 or not all(fields[:2]):
            raise InvalidRequest(
                f"{path}:{number}: {line[:60]!r} is not written<TAB>spoken, and perhaps <TAB> "
                "and a language tag or a voice"
            )
        entries.append(LexiconEntry(*fields))
        places.append(f"{path}:{number}")
    return Lexicon(entries, places)


class _Pls:
    """The aliases of a Pronunciation Lexicon Specification document."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._entries: list[LexiconEntry] = []
        self._places: list[str] = []
        self._language = ""
        self._graphemes: list[str] = []
        self._alias = ""
        self._text: list[str] | None = None
        self._phonemes = 0

    def read(self, data: bytes) -> Lexicon:
        """Read the document. Raises InvalidRequest."""
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            reason = expat.errors.messages.get(error.code, "no XML")
            raise InvalidRequest(f"{self._path}:{error.lineno}: {reason}") from None
        if self._phonemes:
            log.warning(
                "%s: %d lexemes have phonemes only and are passed over", self._path, self._phonemes
            )
        return Lexicon(self._entries, self._places)

    def _refuse(self, *_: object) -> None:
        # Entities of a document type may grow without bounds.
        raise InvalidRequest(f"{self._place}: a lexicon has no DOCTYPE")

    @property
    def _place(self) -> str:
        return f"{self._path}:{self._parser.CurrentLineNumber}"

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        match name.rpartition(" ")[2]:
            case "lexicon":
                xml = "http://www.w3.org/XML/1998/namespace lang"
                self._language = attributes.get(xml, "")
            case "lexeme":
                self._graphemes, self._alias = [], ""
            case "grapheme" | "alias":
                self._text = []

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _end(self, name: str) -> None:
        text = " ".join("".join(self._text or ()).split())
        match name.rpartition(" ")[2]:
            case "grapheme":
                self._graphemes.append(text)
            case "alias":
                self._alias = self._alias or text
            case "lexeme":
                self._finish()
            case _:
                return
        self._text = None

    def _finish(self) -> None:
        if not self._graphemes:
            raise InvalidRequest(f"{self._place}: a lexeme without a grapheme")
        if not self._alias:
            self._phonemes += 1
            return
        for written in self._graphemes:
            self._entries.append(LexiconEntry(written, self._alias, self._language))
            self._places.append(self._place)
