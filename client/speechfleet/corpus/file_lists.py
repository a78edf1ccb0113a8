"""Lists without a header, cells parted by ``|``, as training tools write them.

ljspeech     id|text, id|text|normalized text, audio file|text (Coqui, VITS)
speakers     id|speaker|text (Piper), audio file|speaker|text (VITS, vosk)
gptsovits    audio file|speaker|language|text, and more columns behind it (Bert-VITS2)

`recognize` tells them apart by what is in their columns, and refuses what may be either.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from speechfleet.corpus.item import FILE_EXTENSIONS, BadItem, Item, stem_of
from speechfleet.corpus.read_options import ReadOptions
from speechfleet.corpus.text_file import TextFile
from speechfleet.errors import InvalidRequest, SpeechFleetError

FORMATS = ("ljspeech", "speakers", "gptsovits")
LONGEST_ROW_ID, LONGEST_SPEAKER = 200, 40
"""Characters of a cell that may be an id, or a speaker's name."""
MANY_ROWS = 5
"""Rows from which on the speakers of a list repeat."""
SURE, PROBABLE = 0.8, 0.5
"""Shares of the rows that must have a form: in a .txt, which may be plain text; in another."""
LANGUAGES = {
    "zh", "cn", "en", "ja", "jp", "ko", "kr", "yue", "de", "fr", "es", "ru", "it", "pt", "pl",
    "nl", "tr", "ar", "hi", "vi", "th", "auto", "all_zh", "all_ja", "all_ko",
    "all_yue", "auto_yue",
}  # fmt: skip
_IPA = re.compile("[ˈˌːəɪʊɛɔæʌɑɹŋθðʃʒɡɾʔɲɐɜ]")
_NAME = re.compile(r"[\w-][\w.-]*(?<![.])")
_WORDS = re.compile(r"\w+")


def recognize(source: TextFile, *, is_text_file: bool) -> str:
    """Return the list's format; "" where the file is none.

    Raises InvalidRequest where it is not clear which column is the text.
    """
    rows = [[cell.strip() for cell in line.split("|")] for line in source.head_lines]
    widths = Counter(len(row) for row in rows)
    width = max(widths, key=lambda width: (widths[width], width))
    if width < 2 or len(rows[0]) < 2:
        return ""
    of_width = [row for row in rows if len(row) == width]
    if _share(_is_row_id(row[0]) for row in of_width) < SURE:
        return ""
    fitting = [row for row in rows if 1 < len(row) <= width]
    if len(fitting) < (SURE if is_text_file else PROBABLE) * len(rows):
        return ""
    if width == 2:
        return _of_two(source, of_width, is_text_file=is_text_file)
    return _of_more(source, of_width, width)


def _of_two(source: TextFile, rows: Sequence[Sequence[str]], *, is_text_file: bool) -> str:
    sure = len(rows) > 1 or _is_file(rows[0][0]) or any(map(str.isdigit, rows[0][0]))
    if is_text_file and not sure:
        raise _doubtful(source, "one line with a |", "ljspeech (id|text) or lines (plain text)")
    if _share(_is_phonetic("", row[1]) for row in rows) >= SURE:
        raise InvalidRequest(
            f"{source.name} has phonemes instead of texts: give the list that it was made of, or "
            "--input-format ljspeech to speak them all the same"
        )
    return "ljspeech"


def _of_more(source: TextFile, rows: Sequence[Sequence[str]], width: int) -> str:
    if width >= 4:
        if _share(row[2].lower() in LANGUAGES for row in rows) >= SURE:
            return "gptsovits"
        raise _doubtful(source, f"{width} columns between |", "--text-column and --id-column")
    filled = [row for row in rows if row[2]] or [[*row[:2], row[1]] for row in rows]
    if _share(_is_phonetic(row[1], row[2]) for row in filled) >= SURE:
        return "ljspeech"
    if _are_speakers([row[1] for row in filled]) and (
        _share(_is_spoken_by(row[1], row[2]) for row in filled) >= SURE
    ):
        return "speakers"
    if _share(_is_normalized(row[1], row[2]) for row in filled) >= SURE:
        return "ljspeech"
    raise _doubtful(
        source, "three columns between |",
        "ljspeech (id|text|normalized text) or speakers (id|speaker|text)",
    )  # fmt: skip


def _doubtful(source: TextFile, found: str, choices: str) -> InvalidRequest:
    option = "" if choices.startswith("--") else "--input-format "
    return InvalidRequest(
        f"{source.name} has {found}, and which part is the text is not clear: say so with "
        f"{option}{choices}"
    )


def read_list(source: TextFile, format: str, options: ReadOptions) -> Iterator[Item | BadItem]:
    """Yield an item a line of a list of one of `FORMATS`."""
    numbered = _Positions.given(options) if options.has_numbers else None
    for line in source.lines():
        if isinstance(line, BadItem):
            yield line
            continue
        number, text = line
        if not text.strip():
            continue
        place = source.place(number)
        cells = [cell.strip() for cell in text.split("|")]
        try:
            positions = numbered or _Positions.of(format, cells)
            yield positions.item(cells, place)
        except SpeechFleetError as error:
            yield BadItem(place, error.message)


@dataclass(frozen=True)
class _Positions:
    """Number the cells of a row that are text, id and voice, from 0; -1 for none."""

    text: int
    id: int = 0
    voice: int = -1
    speaker: int = -1

    @classmethod
    def given(cls, options: ReadOptions) -> _Positions:
        """Take them from the options, which count from 1."""
        return cls(*(_index(column) for column in
                     (options.text_column, options.id_column, options.voice_column)))  # fmt: skip

    @classmethod
    def of(cls, format: str, cells: Sequence[str]) -> _Positions:
        """Find them in a row of a format. Raises InvalidRequest where the row is none."""
        count = len(cells)
        if format == "ljspeech" and count in (2, 3):
            spoken = count - 1
            if count == 3 and (not cells[2] or _is_phonetic(cells[1], cells[2])):
                spoken = 1
            return cls(spoken)
        if format == "speakers" and count == 3:
            return cls(2, speaker=1)
        if format == "gptsovits" and count >= 4:
            return cls(3, speaker=1)
        wanted = {"ljspeech": "2 or 3", "speakers": "3", "gptsovits": "4"}[format]
        raise InvalidRequest(f"it has {count} parts between |, not {wanted}")

    def item(self, cells: Sequence[str], place: str) -> Item:
        """Make the item of a row. Raises InvalidRequest where a cell is missing."""
        needed = max(self.text, self.id, self.voice)
        if needed >= len(cells):
            raise InvalidRequest(f"it has {len(cells)} parts between |, not {needed + 1}")
        id = cells[self.id] if self.id >= 0 else ""
        fields = {"voice": cells[self.voice]} if self.voice >= 0 and cells[self.voice] else {}
        extra = {"speaker": cells[self.speaker]} if self.speaker >= 0 else {}
        return Item(stem_of(id) if _is_file(id) else id, cells[self.text], fields, place, extra)


def _index(column: str) -> int:
    if column and not column.isdecimal():
        raise InvalidRequest(f"the list has no header: name column {column!r} by its number")
    return int(column) - 1 if column else -1


def _share(rows: Iterable[bool]) -> float:
    flags = list(rows)
    return sum(flags) / len(flags)


def _is_row_id(cell: str) -> bool:
    return bool(cell) and len(cell) <= LONGEST_ROW_ID and (_is_file(cell) or " " not in cell)


def _is_file(cell: str) -> bool:
    return cell.rpartition(".")[2].lower() in FILE_EXTENSIONS and "." in cell


def _is_normalized(text: str, other: str) -> bool:
    """Return True if a cell may be the text with numbers and abbreviations written out."""
    if not other or text == other:
        return True
    words, others = set(_WORDS.findall(text.lower())), set(_WORDS.findall(other.lower()))
    if not words or not others:
        return False
    shared = len(words & others) / min(len(words), len(others))
    letters, of_other = set(text.lower()), set(other.lower())
    alike = len(letters & of_other) / len(letters | of_other)
    return shared >= PROBABLE or (" " not in text and alike >= PROBABLE)


def _is_phonetic(text: str, other: str) -> bool:
    """Return True if the other cell may be the text in phonetic letters."""
    signs = len(_IPA.findall(other))
    return signs * 20 >= len(other) and signs > len(_IPA.findall(text))


def _are_speakers(cells: Sequence[str]) -> bool:
    """Return True if cells of many rows repeat, as the speakers of a list do."""
    return len(cells) < MANY_ROWS or len(set(cells)) <= SURE * len(cells)


def _is_spoken_by(speaker: str, text: str) -> bool:
    """Return True if the first cell may be a name, and the other is more than one word."""
    if len(speaker) > LONGEST_SPEAKER or not _NAME.fullmatch(speaker):
        return False
    if not speaker.isascii() and text.isascii():
        return False  # a text, and its reading in Latin letters
    words = [word for word in _WORDS.findall(text) if not word.isdigit()]
    return len(words) > 1 or (speaker.isascii() and not text.isascii())
