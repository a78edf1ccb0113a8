"""A corpus in a file: its format, its items, and what is wrong with them, before any is spoken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechfleet.corpus import formats
from speechfleet.corpus.item import BadItem, Item
from speechfleet.corpus.lines import Source, source_of
from speechfleet.corpus.seen import Mark, Names, Seen
from speechfleet.errors import InvalidRequest, SpeechFleetError


@dataclass(frozen=True)
class Corpus:
    """A file that is read as often as needed, an item at a time."""

    source: Source
    format: str

    def checked(
        self, order: Mapping[str, Any], max_text: int, *, files: bool = True
    ) -> Iterator[Item | BadItem]:
        """Every item once, each with a request that can be made of it; or what is wrong there.

        An id that comes again with the same request is passed over; with another it is bad.
        ``files``: so is one whose file would be another's on a disk that does not know case.
        """
        with closing(Seen()) as seen, closing(Names(wanted=files)) as names:
            for found in formats.read(self.source, self.format):
                if isinstance(found, BadItem):
                    yield found
                elif (checked := _check(found, seen, order, max_text)) is not None:
                    yield _named(checked, names)

    def examine(self, order: Mapping[str, Any], max_text: int, *, files: bool = True) -> Examined:
        """Read all of it once. Raises InvalidRequest where there is nothing in it."""
        examined = Examined(models=set(), bad=[])
        for found in self.checked(order, max_text, files=files):
            if isinstance(found, BadItem):
                examined.bad.append(found)
            else:
                examined.items += 1
                examined.characters += len(found.text)
                examined.models.add(found.fields.get("model") or order["model"])
        if not examined.items and not examined.bad:
            raise InvalidRequest(f"{self.source.name} holds no item")
        return examined

    def items(
        self, order: Mapping[str, Any], max_text: int, *, files: bool = True
    ) -> Iterator[Item]:
        """The good ones."""
        for found in self.checked(order, max_text, files=files):
            if isinstance(found, Item):
                yield found


@dataclass
class Examined:
    """What a corpus holds. ``characters`` in code points; ``models`` that its items name."""

    models: set[str]
    bad: list[BadItem]
    items: int = 0
    characters: int = 0


@contextmanager
def open_corpus(corpus: str | Path, format: str | None = None) -> Iterator[Corpus]:
    """A file, or ``-`` for stdin. Raises InvalidRequest, OSError."""
    if format is not None and format not in formats.READERS:
        known = ", ".join(formats.READERS)
        raise InvalidRequest(f"unknown input format {format!r}: it is one of {known}")
    with source_of(corpus) as source:
        found = formats.detect(source)  # also where it was told: what is no text is refused
        yield Corpus(source, format or found)


def _named(found: Item | BadItem, names: Names) -> Item | BadItem:
    if isinstance(found, BadItem) or not (other := names.take(found)):
        return found
    return BadItem(
        found.place,
        f"the ids {other[:60]!r} and {found.id[:60]!r} are one file name where a disk does not "
        "tell case or accents apart: rename one, or use --remote",
    )


def _check(
    item: Item, seen: Seen, order: Mapping[str, Any], max_text: int
) -> Item | BadItem | None:
    try:
        digest = item.request("", order, max_text).digest
    except SpeechFleetError as error:
        return BadItem(item.place, f"{item.id[:60]}: {error.message}")
    before = seen.get(item.id)
    if before is None:
        line = item.place.rpartition(":")[2]
        seen.put(item.id, Mark(digest, "", int(line)))
        return item
    if before.digest == digest:
        return None
    return BadItem(
        item.place, f"the id {item.id[:60]!r} stands in line {before.number} with another text"
    )
