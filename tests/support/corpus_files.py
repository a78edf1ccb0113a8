"""Corpus files for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from speechfleet.corpus.corpus import open_corpus
from speechfleet.corpus.item import Item
from speechfleet.corpus.read_options import ReadOptions

ORDER = {"model": "espeak/espeak-ng", "voice": "en-us", "format": "wav"}


def read(
    path: Path, format: str | None = None, **options: Any
) -> tuple[list[tuple[str, str]], list[str]]:
    with open_corpus(path, format, ReadOptions(**options)) as corpus:
        found = list(corpus.checked(ORDER, 100_000))
    items = [(item.id, item.text) for item in found if isinstance(item, Item)]
    return items, [str(bad) for bad in found if not isinstance(bad, Item)]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
