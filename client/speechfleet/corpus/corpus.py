"""A corpus: its format, its items, and everything that is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from speechfleet.corpus import formats
from speechfleet.corpus.disk_index import DiskIndex, FileNameIndex, IndexEntry
from speechfleet.corpus.item import SHOWN_ID, BadItem, Item, derived_id, stem_of
from speechfleet.corpus.read_options import BY_CONTENT, ReadOptions
from speechfleet.corpus.text_file import TextFile, source_of
from speechfleet.corpus.text_folder import TextFiles, text_files
from speechfleet.errors import InvalidRequest, SpeechFleetError
from speechfleet.provider_options import near_option, options_of

OptionNames = Callable[[str], frozenset[str] | None]
FILES = "files"
"""The format of a folder or a list of text files."""
BAD_ITEMS_KEPT = 1000
"""Bad items that are kept to be named; all are counted."""
IGNORED_KEPT = 20
"""Names of ignored fields that a notice lists."""


@dataclass
class Corpus:
    """Read a file, or a folder of texts, item by item, as often as needed."""

    source: TextFile | TextFiles
    format: str
    options: ReadOptions = BY_CONTENT
    option_names: OptionNames = options_of
    _indexes: ExitStack = field(default_factory=ExitStack, repr=False)

    def checked(
        self, order: Mapping[str, Any], max_text: int, *, files: bool = True
    ) -> Iterator[Item | BadItem]:
        """Yield every good item once, and a BadItem for each wrong one.

        An id that comes again with the same request is passed over; with another it is bad.
        ``files``: so is one whose file would be another's on a disk that ignores case.
        """
        yield from self._checked(order, max_text, files=files, ignored=Counter())

    def examine(
        self,
        order: Mapping[str, Any],
        max_text: int,
        *,
        files: bool = True,
        observe: Callable[[Item], None] | None = None,
    ) -> Examined:
        """Read all of it once, and show ``observe`` every good item.

        Raises InvalidRequest where there is nothing in it.
        """
        examined = Examined()
        for found in self._checked(order, max_text, files=files, ignored=examined.ignored):
            if isinstance(found, BadItem):
                examined.bad_count += 1
                if len(examined.bad) < BAD_ITEMS_KEPT:
                    examined.bad.append(found)
            else:
                examined.items += 1
                examined.characters += len(found.text)
                examined.models.add(found.fields.get("model") or order["model"])
                if observe is not None:
                    observe(found)
        if not examined.items and not examined.bad:
            raise InvalidRequest(f"{self.source.name} holds no item")
        return examined

    def items(
        self, order: Mapping[str, Any], max_text: int, *, files: bool = True
    ) -> Iterator[Item]:
        """Yield the good items."""
        for found in self.checked(order, max_text, files=files):
            if isinstance(found, Item):
                yield found

    def notice(self, examined: Examined) -> str:
        """Return a sentence that names the fields that were ignored; "" for none."""
        if not examined.ignored:
            return ""
        options = frozenset[str]().union(
            *(self.option_names(model) or frozenset() for model in examined.models)
        )
        names = [name for name, _ in examined.ignored.most_common(IGNORED_KEPT)]
        near = {name: option for name in names if (option := near_option(name, options))}
        listed = ", ".join(
            f"{name} (did you mean {near[name]}?)" if name in near else name for name in names
        )
        more = len(examined.ignored) - len(names)
        models = ", ".join(sorted(examined.models))
        return (
            f"ignored, for they are neither fields of a request nor options of {models}: "
            f"{listed}{f' and {more:,} more' if more else ''}; --voice-column NAME takes "
            "the voices from one"
        )

    def close(self) -> None:
        """Close what `checked` has opened. Idempotent."""
        self._indexes.close()

    def _checked(
        self,
        order: Mapping[str, Any],
        max_text: int,
        *,
        files: bool,
        ignored: Counter[str],
    ) -> Iterator[Item | BadItem]:
        # On the stack as well, for whoever stops reading may leave this generator to the
        # garbage collector.
        seen = self._indexes.enter_context(DiskIndex())
        names = self._indexes.enter_context(FileNameIndex(wanted=files))
        with seen, names:
            for number, found in enumerate(self._read(), 1):
                if isinstance(found, Item):
                    decided = self._decided(found, number, order, ignored)
                    checked = _check(decided, seen, order, max_text)
                    if checked is not None:
                        yield _named(checked, names)
                else:
                    yield found

    def _read(self) -> Iterator[Item | BadItem]:
        if isinstance(self.source, TextFiles):
            return self.source.items()
        return formats.read(self.source, self.format, self.options)

    def _decided(
        self, item: Item, number: int, order: Mapping[str, Any], ignored: Counter[str]
    ) -> Item:
        """Keep the extra fields that are options, and give the item an id."""
        if item.id and not item.extra and self.options.ids is None:
            return item
        fields = dict(item.fields)
        model = fields.get("model") or order.get("model") or ""
        known = self.option_names(model) if isinstance(model, str) else None
        for name, value in item.extra.items():
            if known is None or name in known:
                fields[name] = value
            else:
                ignored[name] += 1
        id = self._id(item, number) or derived_id(item.text, fields)
        return Item(id, item.text, fields, item.place)

    def _id(self, item: Item, number: int) -> str:
        match self.options.ids:
            case "number":
                return f"{number:06}"
            case "hash":
                return ""
            case "stem" if isinstance(self.source, TextFile):
                return f"{stem_of(_name_of(self.source))}-{number:06}"
        return item.id


@dataclass
class Examined:
    """Sum up a corpus. ``characters`` in code points; ``models``: all that items ask for.

    ``bad``: the first bad items; ``bad_count``: how many there are. ``ignored``: fields that
    are neither a request's nor options, with the number of items that have them.
    """

    models: set[str] = field(default_factory=set)
    bad: list[BadItem] = field(default_factory=list)
    bad_count: int = 0
    items: int = 0
    characters: int = 0
    ignored: Counter[str] = field(default_factory=Counter)


@contextmanager
def open_corpus(
    corpus: str | Path | Sequence[str | Path],
    format: str | None = None,
    options: ReadOptions = BY_CONTENT,
    option_names: OptionNames = options_of,
) -> Iterator[Corpus]:
    """Open a file, ``-`` for stdin, a folder, a glob or several text files.

    ``option_names``: names the options that a model takes. Raises InvalidRequest, OSError.
    """
    if format is not None and format not in formats.READERS:
        known = ", ".join(formats.READERS)
        raise InvalidRequest(f"unknown input format {format!r}: it is one of {known}")
    names = [corpus] if isinstance(corpus, str | Path) else list(corpus)
    with ExitStack() as stack:
        opened: Corpus
        if texts := text_files([str(name) for name in names]):
            _require_whole_texts(texts, format, options)
            opened = Corpus(texts, FILES, options, option_names)
        else:
            source = stack.enter_context(source_of(names[0]))
            _ = source.head  # what is no text is refused
            format = format or formats.detect(source, options)
            opened = Corpus(source, format, options, option_names)
        stack.callback(opened.close)
        yield opened


def _require_whole_texts(texts: TextFiles, format: str | None, options: ReadOptions) -> None:
    if format or options.columns or options.delimiter:
        raise InvalidRequest(
            f"{texts.name}: of several text files each is one text, which has no format, columns "
            "or delimiter"
        )


def _named(item: Item | BadItem, names: FileNameIndex) -> Item | BadItem:
    if isinstance(item, BadItem) or not (other := names.take(item)):
        return item
    return BadItem(
        item.place,
        f"the ids {other[:SHOWN_ID]!r} and {item.id[:SHOWN_ID]!r} are one file name where a disk "
        "does not tell case or accents apart: rename one, or use --remote",
    )


def _check(
    item: Item, seen: DiskIndex, order: Mapping[str, Any], max_text: int
) -> Item | BadItem | None:
    """Return the item, a BadItem if it is wrong, None if it came before."""
    try:
        digest = item.request("", order, max_text).digest
    except SpeechFleetError as error:
        return BadItem(item.place, f"{item.id[:SHOWN_ID]}: {error.message}")
    before = seen.add(item.id, IndexEntry(digest, item.place, 0))
    if before is None:
        return item
    if before.digest == digest:
        return None
    file, _, line = before.state.rpartition(":")
    where = f"line {line}" if file == item.place.rpartition(":")[0] else before.state
    return BadItem(
        item.place, f"the id {item.id[:SHOWN_ID]!r} stands in {where} with another text"
    )


def _name_of(source: TextFile) -> str:
    return PurePath(source.name).name.removesuffix(".gz")
