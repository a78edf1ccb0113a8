"""A corpus in a file, as a program gives it to a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from speechfleet.corpus.corpus import Corpus, OptionNames, open_corpus
from speechfleet.corpus.read_options import IdSource, ReadOptions
from speechfleet.provider_options import options_of


@dataclass(frozen=True)
class CorpusFile:
    """Name a corpus for `Client.batch`: a file, a folder of .txt, a glob, or several .txt.

    ``format`` and the columns are recognized by content where they are not given. A column is a
    name in the header (in JSON: a field), or a number from 1 in a table without header.
    ``ids``: make ids of the item's number, of its file's name, or of a hash of its text.
    """

    path: str | Path | Sequence[str | Path]
    format: str | None = None
    text_column: str = ""
    id_column: str = ""
    voice_column: str = ""
    delimiter: str = ""
    ids: IdSource | None = None

    @contextmanager
    def open(self, option_names: OptionNames = options_of) -> Iterator[Corpus]:
        """Open it for reading. Raises InvalidRequest, OSError."""
        options = ReadOptions(
            text_column=self.text_column,
            id_column=self.id_column,
            voice_column=self.voice_column,
            delimiter=self.delimiter,
            ids=self.ids,
        )
        with open_corpus(self.path, self.format, options, option_names) as corpus:
            yield corpus
