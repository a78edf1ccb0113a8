"""A folder, a glob or a list of text files, each of which is one item."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from speechfleet.corpus.item import BadItem, Item
from speechfleet.corpus.text_file import LINE_BYTES, TextFile
from speechfleet.errors import InvalidRequest

SUFFIXES = (".txt", ".txt.gz", ".md")
_NORMALIZED, _ORIGINAL = ".normalized", ".original"
"""LibriTTS writes each text twice; the normalized one is spoken."""


@dataclass(frozen=True)
class TextFiles:
    """List text files in the order of their items. ``name``: as messages call all of them."""

    paths: tuple[Path, ...]
    name: str

    def items(self) -> Iterator[Item | BadItem]:
        """Yield an item a file, its id the file's stem; a BadItem for one that is no text."""
        for path in self.paths:
            source = TextFile(path, str(path))
            try:
                yield Item(self._ids[path], _whole_text(source), {}, source.place(1))
            except InvalidRequest as error:
                yield BadItem(str(path), error.message)

    @cached_property
    def _ids(self) -> dict[Path, str]:
        """Map files to stems; files with one stem to their paths below the common folder."""
        stems = {path: _stem(path.name) for path in self.paths}
        counts = Counter(stems.values())
        common = os.path.commonpath([path.absolute().parent for path in self.paths])
        return {
            path: stem if counts[stem] == 1
            else (path.absolute().parent.relative_to(common) / stem).as_posix()
            for path, stem in stems.items()
        }  # fmt: skip


def text_files(names: Sequence[str]) -> TextFiles | None:
    """Find the text files that are meant; None where it is one file, which is a corpus itself.

    Raises InvalidRequest where there is none, and where several files are not all texts.
    """
    name = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    if len(names) == 1:
        if names[0] == "-" or Path(names[0]).is_file():
            return None
        if not Path(names[0]).is_dir() and not glob.has_magic(names[0]):
            return None
    paths = [path for each in names for path in _expanded(each)]
    for path in paths:
        if not path.name.lower().endswith(SUFFIXES):
            raise InvalidRequest(
                f"{path} is no text file: of several files each is one text (.txt); give a "
                "corpus alone"
            )
    return TextFiles(tuple(_without_originals(dict.fromkeys(paths))), name)


def _expanded(name: str) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        paths = sorted(
            file for file in path.rglob("*")
            if file.name.lower().endswith(SUFFIXES) and not file.name.startswith(".")
        )  # fmt: skip
        if not paths:
            raise InvalidRequest(f"{path} is a folder without a .txt file: name a file in it")
        return paths
    if path.exists():
        return [path]
    paths = [Path(file) for file in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207 # absolute too
    if not paths:
        raise InvalidRequest(f"{name} is not there")
    return [file for file in paths if not file.is_dir()]


def _without_originals(paths: dict[Path, None]) -> list[Path]:
    """Leave out LibriTTS's original texts that are there normalized as well."""
    return [
        path for path in paths
        if _ORIGINAL not in path.name
        or path.with_name(path.name.replace(_ORIGINAL, _NORMALIZED)) not in paths
    ]  # fmt: skip


def _stem(name: str) -> str:
    suffix = next(suffix for suffix in SUFFIXES if name.lower().endswith(suffix))
    return name[: -len(suffix)].removesuffix(_NORMALIZED).removesuffix(_ORIGINAL) or name


def _whole_text(source: TextFile) -> str:
    _ = source.head  # refuses what is no text
    pieces, size = [], 0
    for piece in source.text():
        pieces.append(piece)
        size += len(piece)
        if size > LINE_BYTES:
            raise InvalidRequest(f"it is longer than {LINE_BYTES >> 20} MB")
    return "".join(pieces).replace("\r\n", "\n").replace("\r", "\n").strip()
