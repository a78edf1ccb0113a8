"""Options that say how a corpus is read, and what is said about one."""

from __future__ import annotations

from typing import Annotated

import typer

from speechfleet.cli import output
from speechfleet.corpus.corpus import Corpus, Examined
from speechfleet.corpus.formats import READERS
from speechfleet.corpus.read_options import DELIMITERS, ID_SOURCES, ReadOptions
from speechfleet.errors import InvalidRequest

CorpusNames = Annotated[
    list[str],
    typer.Argument(
        metavar="CORPUS",
        help="JSONL or JSON, OpenAI's batch form, CSV, TSV, LJSpeech and other file lists, or "
        "plain text, also as .gz; or a folder of .txt, or several .txt, each of which is one "
        "text; - is stdin.",
        show_default=False,
    ),
]
InputFormat = Annotated[
    str | None,
    typer.Option(
        "--input-format",
        metavar="FORM",
        help=f"{', '.join(READERS)}. Default: by what is in it.",
        show_default=False,
    ),
]
_COLUMN = "A name in the header (or a field of JSON), or a number where there is no header."
TextColumn = Annotated[
    str,
    typer.Option("--text-column", metavar="COLUMN", help=f"The text. {_COLUMN}",
                 show_default=False),
]  # fmt: skip
IdColumn = Annotated[
    str, typer.Option("--id-column", metavar="COLUMN", help="The id.", show_default=False)
]
VoiceColumn = Annotated[
    str, typer.Option("--voice-column", metavar="COLUMN", help="The voice.", show_default=False)
]
Delimiter = Annotated[
    str,
    typer.Option("--delimiter", metavar="CHARACTER", show_default=False,
                 help=f"Between columns: a character, or {', '.join(DELIMITERS)}."),
]  # fmt: skip
Ids = Annotated[
    str | None,
    typer.Option("--ids", metavar="|".join(ID_SOURCES), show_default=False,
                 help="Make ids of the item's number, its file's name, or a hash of its text."),
]  # fmt: skip


def read_options(
    text_column: str, id_column: str, voice_column: str, delimiter: str, ids: str | None
) -> ReadOptions:
    """Check the options together. Raises InvalidRequest."""
    source = next((known for known in ID_SOURCES if known == ids), None)
    if ids is not None and source is None:
        raise InvalidRequest(f"--ids is {', '.join(ID_SOURCES)}, not {ids!r}")
    return ReadOptions(text_column, id_column, voice_column, delimiter, source)


def report(examined: Examined, corpus: Corpus, *, skip_bad: bool) -> None:
    """Name every bad line and the fields that are ignored, before anything is spoken.

    Raises InvalidRequest where lines are bad and not to be skipped.
    """
    for bad in examined.bad:
        output.tell(str(bad))
    if notice := corpus.notice(examined):
        output.tell(notice)
    count = examined.bad_count
    if not count:
        return
    if count > len(examined.bad):
        output.tell(f"... and {count - len(examined.bad):,} more")
    if not skip_bad:
        raise InvalidRequest(
            f"{count:,} bad of {count + examined.items:,} in {corpus.source.name} (read as "
            f"{corpus.format}): nothing was spoken; correct them, or --skip-bad speaks the rest"
        )
    output.tell(f"{output.count(count, 'bad line')} skipped")
