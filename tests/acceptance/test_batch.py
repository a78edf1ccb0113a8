"""Batches on a whole fleet: nothing twice, whatever ends the run; only what changed again."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from speechfleet.audio import wav
from speechfleet.batch.output_folder import OutputFolder
from speechfleet.cli.app import run
from speechfleet.corpus.item import Item
from speechfleet.errors import BatchStopped, InvalidRequest, JobNotFound
from speechfleet.ledger import BatchState
from speechfleet.lifecycle import State
from speechfleet.sync import Client
from tests.support.corpora import corpus, manifest
from tests.support.program import PROGRAM
from tests.support.stage import MODEL, PROVIDERS, Hold, Stage, opening, sentences, staged


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("batch"), workers=1) as stage:
        yield stage


@pytest.fixture
def command(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """Runs `speechfleet batch corpus ... --json` in a folder of its own; its one object."""
    stage.enter(tmp_path, monkeypatch)

    def command(*arguments: str, status: int = 0) -> dict[str, Any]:
        model = ["--model", MODEL] if arguments[0] not in {"status", "cancel"} else []
        assert run(["batch", *arguments, *model, "--json"]) == status, capsys.readouterr().err
        told: dict[str, Any] = json.loads(capsys.readouterr().out or "{}")
        return told

    return command


def start(stage: Stage, path: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """The command in a process of its own, into the folder ``out`` beside the corpus."""
    return subprocess.Popen(
        [PROGRAM, "batch", str(path), "--out", "out", "--model", MODEL, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **stage.client_environ(), "SPEECHFLEET_PROVIDERS": PROVIDERS},
        cwd=path.parent,
    )


async def test_a_corpus_is_spoken_and_then_costs_nothing(
    stage: Stage, command: Any, tmp_path: Path
) -> None:
    texts = sentences("a whole corpus", 20)
    path = corpus(tmp_path / "corpus.jsonl", texts)
    done = await stage.off_loop(command, str(path), "--out", "out", "--captions", "vtt")
    assert (done["succeeded"], done["failed"], done["skipped"]) == (20, 0, 0)
    assert done["spent"]["characters"] == sum(map(len, texts))
    written = manifest(tmp_path / "out")
    assert [written[f"{number:03}"]["text"] for number in range(20)] == texts
    for entry in written.values():
        speech = wav.decode((tmp_path / "out" / entry["path"]).read_bytes())
        assert len(speech.pcm) / 2 / speech.sample_rate == pytest.approx(
            entry["duration"], abs=0.01
        )
    assert texts[3] in (tmp_path / "out" / "captions" / "003.vtt").read_text()
    assert len((tmp_path / "out" / "metadata.csv").read_text().splitlines()) == 20

    again = await stage.off_loop(command, str(path), "--out", "out")
    assert (again["succeeded"], again["skipped"], again["spent"]["characters"]) == (0, 20, 0)

    changed = [*texts[:7], "This one is another now.", *texts[8:], *sentences("added", 2)]
    corpus(path, changed)
    (tmp_path / "out" / "wavs" / "002.wav").unlink()
    third = await stage.off_loop(command, str(path), "--out", "out")
    assert (third["succeeded"], third["cached"], third["skipped"]) == (4, 1, 18)
    assert (tmp_path / "out" / "wavs" / "002.wav").exists()
    asked = await stage.ledger.asked({*texts, *changed})
    assert set(asked) == {*texts, *changed}
    assert set(asked.values()) == {1}
    assert manifest(tmp_path / "out")["007"]["text"] == "This one is another now."

    async with stage.client() as client:
        assert await client.jobs() == []  # folded: no record is left
        status = await client.batch(id=done["id"]).status()
    assert (status.state, status.outstanding, status.unread) == (BatchState.ENDED, 0, 0)


async def test_a_client_that_is_killed_goes_on(stage: Stage, command: Any, tmp_path: Path) -> None:
    texts = sentences("the killed client", 60)
    hold = Hold(tmp_path, opening(59))
    path = corpus(tmp_path / "corpus.jsonl", texts, **hold.options)
    client = await stage.off_loop(start, stage, path, "--window", "20")
    await stage.ledger.until("end", texts, count=15)
    client.send_signal(signal.SIGKILL)
    await stage.off_loop(client.communicate, None, 120)
    hold.release()
    done = await stage.off_loop(command, str(path), "--out", "out")
    assert done["failed"] == 0
    written = manifest(tmp_path / "out")
    assert {entry["state"] for entry in written.values()} == {State.SUCCEEDED}
    assert len(written) == 60
    assert len(list((tmp_path / "out" / "wavs").iterdir())) == 60
    asked = await stage.ledger.asked(texts)
    assert (len(asked), set(asked.values())) == (60, {1})


async def test_what_ended_meanwhile_counts_once(stage: Stage, tmp_path: Path) -> None:
    """Sent by a run that died, spoken without it, met by the next one before it is fed again."""
    texts = [(f"{n:02}", text) for n, text in enumerate(sentences("ended meanwhile", 12))]
    async with stage.client() as client:
        await client.ledger.batches.open(client.namespace, "meanwhile", window=100)
        for id, text in texts[6:]:
            item = Item(id, text).request("meanwhile", {"model": MODEL}, 1000)
            await client.ledger.jobs.submit(client.namespace, f"meanwhile/{id}", item)
        while (await client.ledger.batches.get(client.namespace, "meanwhile")).unread < 6:
            await client.ledger.batches.results(client.namespace, "meanwhile", wait=1.0)
        met, all_met = 0, asyncio.Event()

        async def fed() -> AsyncIterator[tuple[str, str]]:
            for number, text in enumerate(texts):
                if number == 6:
                    await all_met.wait()
                yield text

        batch = client.batch(fed(), model=MODEL, id="meanwhile", out=tmp_path / "out")
        async for _ in batch.results():
            met += 1
            if met == 12:
                all_met.set()
        sums = batch.summary
        assert (sums.succeeded, sums.skipped) == (12, 0)
        assert sums.spent.characters == sum(len(text) for _, text in texts)


async def test_ctrl_c_says_how_to_go_on(stage: Stage, tmp_path: Path) -> None:
    texts = sentences("an interrupted command", 40)
    hold = Hold(tmp_path, opening(39))
    path = corpus(tmp_path / "corpus.jsonl", texts, **hold.options)
    client = await stage.off_loop(start, stage, path, "--window", "10")
    await stage.ledger.until("end", texts, count=5)
    client.send_signal(signal.SIGINT)
    _, err = await stage.off_loop(client.communicate, None, 120)
    hold.release()
    assert client.returncode == 130
    assert b"the same command resumes it" in err
    assert b"Traceback" not in err


async def test_what_fails_fails_alone_and_can_be_given_again(
    stage: Stage, command: Any, tmp_path: Path
) -> None:
    path = tmp_path / "corpus.jsonl"
    texts = sentences("mixed", 2)
    bad = {"id": "bad", "text": texts[1], "voice": "v", "fail": "rejected"}
    lines = [{"id": "good", "text": texts[0]}, bad]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    done = await stage.off_loop(lambda: command(str(path), "--out", "out", status=1))
    assert (done["succeeded"], done["failed"]) == (1, 1)
    errors = tmp_path / "out" / "errors.jsonl"
    [line] = map(json.loads, errors.read_text().splitlines())
    assert (line["id"], line["error"]["code"]) == ("bad", "request_rejected")
    assert (line["voice"], line.pop("options")) == ("v", {"fail": "rejected"})
    errors.write_text(json.dumps(line) + "\n")
    mended = await stage.off_loop(command, str(errors), "--out", "out")
    assert (mended["succeeded"], mended["failed"]) == (1, 0)
    assert errors.read_text() == ""
    assert {entry["state"] for entry in manifest(tmp_path / "out").values()} == {"SUCCEEDED"}


async def test_bad_lines_are_all_told_before_anything_is_spoken(
    stage: Stage, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [text] = sentences("between bad lines", 1)
    path = tmp_path / "corpus.jsonl"
    path.write_text(f'{{"id": "1"}}\n{{"id": "2", "text": "{text}"}}\nnothing\n')
    arguments = ["batch", str(path), "--out", "out", "--model", MODEL]
    assert await stage.off_loop(run, arguments) == 2
    err = capsys.readouterr().err
    assert err.index(f"{path}:1: there is no 'text'") < err.index(f"{path}:3: this is not JSON")
    assert "2 bad of 3" in err
    assert not (tmp_path / "out").exists()
    assert await stage.ledger.asked([text]) == {}
    done = await stage.off_loop(command, str(path), "--out", "out", "--skip-bad")
    assert (done["succeeded"], done["bad"]) == (1, 2)


async def test_a_run_stops_before_it_passes_its_limit(
    stage: Stage, command: Any, tmp_path: Path
) -> None:
    texts = sentences("the limited run", 10)
    path = corpus(tmp_path / "corpus.jsonl", texts)
    limit = sum(map(len, texts[:4])) + 3
    first = await stage.off_loop(
        lambda: command(str(path), "--out", "out", "--max-chars", str(limit), status=1)
    )
    assert (first["succeeded"], first["cut_short"]) == (4, True)
    assert first["spent"]["characters"] <= limit
    again = await stage.off_loop(
        lambda: command(str(path), "--out", "out", "--max-chars", str(limit), status=1)
    )
    assert (again["succeeded"], again["cut_short"]) == (0, True), "it is the batch's, not a run's"
    rest = await stage.off_loop(command, str(path), "--out", "out")
    assert (rest["succeeded"], rest["skipped"], rest["cut_short"]) == (6, 4, False)


async def test_a_dry_run_sends_nothing(stage: Stage, command: Any, tmp_path: Path) -> None:
    texts = sentences("the dry run", 3)
    path = corpus(tmp_path / "corpus.jsonl", [*texts, texts[0]])
    plan = await stage.off_loop(command, str(path), "--out", "out", "--dry-run")
    [share] = plan["models"]
    assert (plan["items"], share["items"], share["segments"]) == (4, 4, 4)
    assert (share["distinct_segments"], share["distinct_units"]) == (3, sum(map(len, texts)))
    assert share["cost"] is None
    assert not (tmp_path / "out").exists()
    assert await stage.ledger.asked(texts) == {}
    spoken = corpus(tmp_path / "spoken.jsonl", texts[:2])
    await stage.off_loop(command, str(spoken), "--out", "elsewhere")
    [share] = (await stage.off_loop(command, str(path), "--out", "out", "--dry-run"))["models"]
    assert (share["items"], share["stored_segments"], share["distinct_segments"]) == (4, 3, 1)
    assert share["distinct_units"] == len(texts[2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEECHFLEET_LIMITS", json.dumps({MODEL: {"requests": 2}}))
        [share] = (await stage.off_loop(command, str(path), "--out", "out", "--dry-run"))["models"]
    assert (share["minutes"], share["limits_from"]) == (0.5, "as set")


async def test_any_iterable_is_read_lazily(stage: Stage) -> None:
    texts = sentences("the generator", 40)
    given: list[str] = []

    async def source() -> AsyncIterator[str]:
        for text in texts:
            given.append(text)
            yield text

    async with stage.client() as client:
        batch = client.batch(source(), model=MODEL, window=4)
        ahead, ended = 0, []
        async for entry in batch.results():
            ended.append(entry)
            ahead = max(ahead, len(given) - len(ended))
        assert sorted(entry["text"] for entry in ended) == sorted(texts)
        assert ahead <= 2 * 4 + 1
        stored = await client.store.get(ended[0]["object"])
        assert len(stored) == ended[0]["bytes"]
        with pytest.raises(JobNotFound):
            await client.job(f"{batch.id}/{ended[0]['id']}").record()


async def test_an_iterable_fails_at_its_item_and_what_was_before_stands(stage: Stage) -> None:
    texts = sentences("before the wrong one", 3)
    async with stage.client() as client:
        batch = client.batch([*texts, 7], model=MODEL)  # type: ignore[list-item]
        ended: list[dict[str, Any]] = []

        async def read() -> None:
            async for entry in batch.results():
                ended.append(entry)  # noqa: PERF401 # what came before the error counts

        with pytest.raises(InvalidRequest, match="item 4: an item is a text"):
            await read()
        assert sorted(entry["text"] for entry in ended) in ([], sorted(texts))
        twice = client.batch([("a", texts[0]), ("a", texts[1])], model=MODEL)
        with pytest.raises(InvalidRequest, match="item 2: the id 'a' came before"):
            await twice.run()


async def test_a_batch_that_is_cancelled_says_so_and_resumes(stage: Stage, tmp_path: Path) -> None:
    texts = sentences("the cancelled batch", 30)
    async with stage.client() as client:
        batch = client.batch(texts, model=MODEL, out=tmp_path / "out", window=6)

        async def until_cancelled() -> None:
            async for _ in batch.results():
                await client.batch(id=batch.id).cancel("enough")

        with pytest.raises(BatchStopped, match="enough") as stopped:
            await until_cancelled()
        assert stopped.value.code == "cancelled"
        some = len(manifest(tmp_path / "out"))
        assert 0 < some < 30
        rest = await client.batch(texts, model=MODEL, out=tmp_path / "out").run()
        assert (rest.succeeded, rest.skipped, rest.failed) == (30 - some, some, 0)


async def test_what_ended_between_two_runs_is_counted_once(stage: Stage, tmp_path: Path) -> None:
    out, hold = tmp_path / "out", Hold(tmp_path)
    items = [
        {"id": f"{n}", "text": text, **(hold.options if n >= 20 else {})}
        for n, text in enumerate(sentences("between two runs", 30))
    ]
    async with stage.client() as client:
        first = client.batch(items, model=MODEL, out=out)
        async with contextlib.aclosing(first.results()) as entries:
            await anext(entries)
        hold.release()
        for item in items:
            with contextlib.suppress(JobNotFound):
                await client.job(f"{first.id}/{item['id']}").result(timeout=120)
        some = len(manifest(out))
        assert 0 < some < 30
        read = asyncio.Event()

        async def late() -> AsyncIterator[dict[str, str]]:
            await read.wait()
            for item in items:
                yield item

        rest = client.batch(late(), model=MODEL, out=out)
        async for _ in rest.results():
            read.set()
        sums = rest.summary
        assert (sums.succeeded, sums.skipped, len(manifest(out))) == (30 - some, some, 30)


async def test_the_synchronous_client(stage: Stage, tmp_path: Path) -> None:
    texts = [(f"{number}", text) for number, text in enumerate(sentences("in sync", 5))]

    def speak() -> list[str]:
        settings = stage.client().settings
        with Client(settings) as fleet:
            batch = fleet.batch(texts, model=MODEL, out=tmp_path / "out")
            ids = [entry["id"] for entry in batch.results()]
            assert batch.status().succeeded == batch.summary.succeeded == 5
            assert fleet.batch(texts, model=MODEL, out=tmp_path / "out").run().skipped == 5
            return ids

    assert sorted(await asyncio.to_thread(speak)) == [id for id, _ in texts]


async def test_an_unwritable_folder(stage: Stage, command: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    texts = sentences("nowhere to go", 1)
    path = corpus(tmp_path / "corpus.jsonl", texts)
    await stage.off_loop(lambda: command(str(path), "--out", "file/out", status=2))
    assert await stage.ledger.asked(texts) == {}


async def test_a_disk_that_is_full_loses_nothing(
    stage: Stage, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = sentences("the full disk", 12)
    path = corpus(tmp_path / "corpus.jsonl", texts)
    link, written = OutputFolder.link, count()

    def full(folder: OutputFolder, source: Path, target: Path) -> None:
        if next(written) == 5:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        link(folder, source, target)

    monkeypatch.setattr(OutputFolder, "link", full)
    await stage.off_loop(lambda: command(str(path), "--out", "out", status=2))
    done = await stage.off_loop(command, str(path), "--out", "out")
    assert done["failed"] == 0
    assert len(manifest(tmp_path / "out")) == 12
    asked = await stage.ledger.asked(texts)
    assert (len(asked), set(asked.values())) == (12, {1})
