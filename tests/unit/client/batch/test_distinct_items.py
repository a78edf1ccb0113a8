"""The items of a batch: each id once, from programs and from files."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from speechfleet.batch.distinct_items import BatchItems, DistinctItems, open_items
from speechfleet.corpus.corpus_file import CorpusFile
from speechfleet.corpus.item import Item
from speechfleet.errors import InvalidRequest
from speechfleet.settings import Settings

ORDER = {"model": "espeak/espeak-ng", "voice": "en-us", "format": "wav"}
TEXTS = [("a", "One."), ("b", "Two."), ("a", "One.")]


def read(items: DistinctItems) -> list[str]:
    return [item.id for item in cast("Iterable[Item]", items.read())]


async def stream() -> AsyncIterator[tuple[str, str]]:
    for text in TEXTS:
        yield text


async def test_each_id_comes_once_and_is_known() -> None:
    with closing(DistinctItems(TEXTS, files=True)) as items:
        assert not items.is_complete
        assert read(items) == ["a", "b"]
        assert (items.is_complete, "a" in items, "c" in items) == (True, True, False)
    with closing(DistinctItems(stream(), files=True)) as items:
        found = cast("AsyncIterator[Item]", items.read())
        assert [item.id async for item in found] == ["a", "b"]
        assert items.is_complete


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([("a", "One."), ("a", "Two.")], "item 2: the id 'a' came before with another text"),
        ([("a", "One."), ("A", "Two.")], "item 2: the ids 'a' and 'A' are one file name"),
        ([7], "item 1: an item is a text"),
    ],
)
def test_a_wrong_item_is_named(texts: Any, said: str) -> None:
    with closing(DistinctItems(texts, files=True)) as items:
        with pytest.raises(InvalidRequest, match=said):
            read(items)
        assert not items.is_complete


def test_what_is_left_half_read_is_closed() -> None:
    with closing(DistinctItems(TEXTS, files=True)) as items:
        reading = iter(cast("Iterable[Item]", items.read()))
        next(reading)
    with pytest.raises(Exception, match="closed database"):
        next(reading)


def test_one_text_is_no_batch() -> None:
    with pytest.raises(InvalidRequest, match=r"pathlib\.Path"):
        BatchItems(cast("Any", "corpus.csv"))


def test_a_file_is_closed_with_the_batch_only_if_nobody_else_can(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("One.\nTwo.\n")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        items = BatchItems(path.open())
        with closing(DistinctItems(cast("Any", items.texts), files=True)) as distinct:
            assert len(read(distinct)) == 2
        del items, distinct
        gc.collect()
    assert [str(warning.message) for warning in warned] == []
    with path.open() as file:
        held = BatchItems(file)
        del held
        assert not file.closed


async def test_a_file_is_a_corpus(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "corpus.csv"
    path.write_text("key,spoken,mood\na,One.,good\nb,Two.,bad\n")
    corpus = CorpusFile(path, text_column="spoken", id_column="key")
    with caplog.at_level(logging.WARNING):
        async with open_items(corpus, ORDER, Settings(), files=True) as items:
            assert read(items) == ["a", "b"]
    assert "ignored" in caplog.text
    assert "mood" in caplog.text
    path.write_text("id,text\na,One.\n")
    async with open_items(path, ORDER, Settings(), files=True) as items:
        assert read(items) == ["a"]


async def test_a_file_with_bad_lines_is_refused_whole(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"id": "a", "text": "One."}\n{"id": "b"}\n')
    with pytest.raises(InvalidRequest, match=r"1 of 2 items are wrong.*:2: there is no 'text'"):
        async with open_items(path, ORDER, Settings(), files=True):
            pass
