"""The same folder again, with another corpus or other options: what is asked for now is made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from speechfleet.cli.app import run
from tests.support.corpora import corpus, manifest
from tests.support.stage import MODEL, Stage, sentences, staged


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("reruns"), workers=1) as stage:
        yield stage


@pytest.fixture
def batch(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """Runs `speechfleet batch corpus.jsonl --out out`; its one object."""
    stage.enter(tmp_path, monkeypatch)

    def batch(*arguments: str) -> dict[str, Any]:
        command = ["batch", "corpus.jsonl", "--out", "out", "--model", MODEL, "--json"]
        assert run([*command, *arguments]) == 0, capsys.readouterr().err
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        return told

    return batch


async def test_captions_asked_for_later_are_written_without_a_call(
    stage: Stage, batch: Any, tmp_path: Path
) -> None:
    texts = sentences("captions later", 3)
    corpus(tmp_path / "corpus.jsonl", texts)
    await stage.off_loop(batch)
    captions = await stage.off_loop(batch, "--captions", "srt")
    assert (captions["succeeded"], captions["cached"]) == (3, 3)
    assert texts[1] in (tmp_path / "out" / "captions" / "001.srt").read_text()
    assert (await stage.off_loop(batch, "--captions", "srt"))["skipped"] == 3
    assert set((await stage.ledger.asked(texts)).values()) == {1}


async def test_other_segments_are_another_request(
    stage: Stage, batch: Any, tmp_path: Path
) -> None:
    text = "The kettle of this test is on. It is late for it."
    corpus(tmp_path / "corpus.jsonl", [text])
    await stage.off_loop(batch)
    corpus(tmp_path / "corpus.jsonl", [text], segments="sentence")
    assert (await stage.off_loop(batch))["succeeded"] == 1
    corpus(tmp_path / "corpus.jsonl", [text], segments="paragraph")
    assert (await stage.off_loop(batch))["succeeded"] == 1


async def test_a_line_that_left_the_corpus_leaves_the_metadata(
    stage: Stage, batch: Any, tmp_path: Path
) -> None:
    texts = sentences("a line that leaves", 3)
    corpus(tmp_path / "corpus.jsonl", texts)
    await stage.off_loop(batch)
    corpus(tmp_path / "corpus.jsonl", texts[:2])
    done = await stage.off_loop(batch)
    lines = (tmp_path / "out" / "metadata.csv").read_text().splitlines()
    assert sorted(line.partition("|")[0] for line in lines) == ["000", "001"]
    assert len(manifest(tmp_path / "out")) == 3, "the manifest keeps what was paid for"

    async with stage.client() as client:
        handle = client.batch(id=done["id"])
        entries = {entry["id"]: entry["text"] async for entry in handle.entries()}
        assert await handle.fed_by() == ""
    assert sorted(entries.values()) == sorted(texts)
