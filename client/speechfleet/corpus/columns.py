"""Find the column of a table (or field of a JSON object) that is the text, id or voice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from speechfleet.corpus.item import stem_of
from speechfleet.corpus.read_options import ReadOptions
from speechfleet.errors import InvalidRequest

TEXT_NAMES = (
    "text", "sentence", "transcription", "transcript", "utterance", "normalized_text",
    "raw_transcription", "normalized_transcription", "raw_text",
)  # fmt: skip
"""Column names taken for the text.

`text` wins; two of the others together are ambiguous and raise an error.
"""
ID_NAMES = ("id", "utterance_id", "utt_id", "clip_id", "segment_id", "uid")
FILE_NAMES = (
    "file_name", "filename", "audio_file", "audio_filepath", "audio_path", "wav_path",
    "wav_filename", "file", "path", "audio", "wav",
)  # fmt: skip
"""Names of an item's audio file, whose own name is the id where no column is called one."""
COLUMN, FIELD = "column", "field"
"""The word for a name in messages: of a table, of a JSON object."""
SHOWN_NAMES = 200
"""Characters of a list of names that a message quotes."""


@dataclass(frozen=True)
class Columns:
    """Name the columns that become ``text``, ``id`` and ``voice``; "" for none.

    ``from_file``: the id is the stem of a file name.
    """

    text: str
    id: str = ""
    voice: str = ""
    from_file: bool = False

    def rename(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields by the names that an item has for them."""
        renamed = dict(fields)
        for name in ("text", "id", "voice"):
            column = getattr(self, name)
            if column and column != name:
                if name in renamed and name != "id":
                    renamed.pop(name)
                value = renamed.pop(column, None)
                renamed[name] = value
        if self.from_file:
            renamed["id"] = _file_id(renamed["id"])
        return renamed


def find_columns(names: Sequence[str], options: ReadOptions, *, what: str = COLUMN) -> Columns:
    """Choose the columns by what the user named, else by common names.

    ``names``: as they stand, in lower case. Raises InvalidRequest where none is the text, where
    several may be, and where a column that the user named is missing.
    """
    for option, wanted in options.columns.items():
        if clean_name(wanted) not in names:
            raise InvalidRequest(
                f"no {what} is called {wanted!r} (--{option}-column); there are {_listed(names)}"
            )
    text = clean_name(options.text_column) or _text_of(names, what)
    id = clean_name(options.id_column)
    if not id:
        id = next((name for name in ID_NAMES if name in names and name != text), "")
    if not id:
        id = next((name for name in FILE_NAMES if name in names and name != text), "")
    voice = clean_name(options.voice_column) or ("voice" if "voice" in names else "")
    return Columns(text, id, voice, id in FILE_NAMES)


def has_text(names: Sequence[str], options: ReadOptions) -> bool:
    """Return True if a header names a text."""
    wanted = clean_name(options.text_column)
    return wanted in names if wanted else any(name in TEXT_NAMES for name in names)


def check_distinct(names: Sequence[str]) -> None:
    """Raise InvalidRequest where two columns have one name."""
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    if twice:
        raise InvalidRequest(f"columns called the same: {_listed(twice)}")


def clean_name(name: str) -> str:
    """Return a column's name as it is compared: lower case, no blanks around, none within."""
    return "_".join(name.strip().strip("\ufeff").lower().split())


def _text_of(names: Sequence[str], what: str) -> str:
    if "text" in names:
        return "text"
    known = [name for name in TEXT_NAMES if name in names]
    if len(known) == 1:
        return known[0]
    if known:
        raise InvalidRequest(
            f"the {what}s {_listed(known)} may all be the text: name it with --text-column"
        )
    if what == FIELD:
        raise InvalidRequest(f"there is no 'text'; its fields are {_listed(names)}")
    raise InvalidRequest(
        f"no {what} is called 'text'; there are {_listed(names)}: name it with --text-column"
    )


def _file_id(file: object) -> object:
    """Return the id of a file name; data sets also write ``{"path": ..., "bytes": ...}``."""
    if isinstance(file, dict):
        file = file.get("path")
    return stem_of(file) if isinstance(file, str) else None


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(name or "(no name)" for name in names[:SHOWN_NAMES])
    return listed if len(listed) <= SHOWN_NAMES else f"{listed[:SHOWN_NAMES]}..."
