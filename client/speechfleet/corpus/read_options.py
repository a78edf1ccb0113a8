"""Options that a user gives for reading a corpus; the rest is recognized by content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from speechfleet.errors import InvalidRequest

IdSource = Literal["number", "stem", "hash"]
ID_SOURCES: tuple[IdSource, ...] = get_args(IdSource)
DELIMITERS = {
    "comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "bar": "|",
}  # fmt: skip
"""Names of delimiters that are awkward to write in a shell."""


@dataclass(frozen=True)
class ReadOptions:
    """Hold the options for reading a corpus. An empty one leaves the choice to the content.

    ``text_column``, ``id_column``, ``voice_column``: a name in the header (in JSON: a field), or
    a number from 1 in a table without header. ``ids``: make ids of the item's number, of its
    file's name, or of a hash of its text, instead of those in the corpus.
    """

    text_column: str = ""
    id_column: str = ""
    voice_column: str = ""
    delimiter: str = ""
    ids: IdSource | None = None

    def __post_init__(self) -> None:
        """Raise InvalidRequest for a delimiter or an id source that does not exist."""
        if self.ids is not None and self.ids not in ID_SOURCES:
            raise InvalidRequest(f"ids are made of {', '.join(ID_SOURCES)}, not {self.ids!r}")
        if self.delimiter and len(self.separator) != 1:
            raise InvalidRequest(
                f"a delimiter is one character or {', '.join(DELIMITERS)}, not {self.delimiter!r}"
            )

    @property
    def separator(self) -> str:
        """Return the delimiter as one character; "" if none is given."""
        return DELIMITERS.get(self.delimiter.lower(), self.delimiter)

    @property
    def columns(self) -> dict[str, str]:
        """Return the columns that are named, by the field of an item that they become."""
        named = {"text": self.text_column, "id": self.id_column, "voice": self.voice_column}
        return {field: column for field, column in named.items() if column}

    @property
    def has_numbers(self) -> bool:
        """Return True if columns are given by number: the table has no header then."""
        return bool(self.text_column.isdecimal() or self.id_column.isdecimal())


BY_CONTENT = ReadOptions()
"""Everything is recognized by content."""
