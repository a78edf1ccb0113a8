"""A batch's folder: its manifest through crashes, what is derived from it, captions, the purse."""

from __future__ import annotations

import json
import resource
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from speechfleet.batch.manifest import Manifest, as_corpus
from speechfleet.batch.output_folder import OutputFolder, batch_of
from speechfleet.batch.pricing import LISTED, PriceList, SpendingLimit, spent_before
from speechfleet.corpus.disk_index import DiskIndex, IndexEntry
from speechfleet.corpus.item import Item
from speechfleet.errors import InvalidRequest, MisconfiguredError
from speechfleet.provider_options import ON_THE_WORKER
from speechfleet.request import Request
from speechfleet.settings import Price


def entry(id: str, state: str = "SUCCEEDED", **more: Any) -> dict[str, Any]:
    text = f"The text of {id}."
    return {"id": id, "text": text, "state": state, "digest": f"d-{id}", "model": "m/m", **more}


def failed(id: str) -> dict[str, Any]:
    error = {"code": "request_rejected", "message": "no"}
    return entry(id, "FAILED", error=error, voice="v", options={"rate": 1}, format="mp3")


def ids(manifest: Manifest) -> list[str]:
    return [entry["id"] for entry in manifest.entries()]


def test_the_last_entry_of_an_id_counts(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    with closing(Manifest(path)) as manifest:
        manifest.append([failed("a"), entry("b")])
        manifest.append([entry("a")])
        assert ids(manifest) == ["b", "a"]
        assert manifest.get("a") == IndexEntry("d-a", "SUCCEEDED", manifest.get("a").number)  # type: ignore[union-attr]  # it is there
        assert manifest.get("c") is None
    with closing(Manifest(path)) as manifest:
        assert ids(manifest) == ["b", "a"]


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_line_cut_short_by_a_crash_is_taken_away(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "manifest.jsonl"
    with closing(Manifest(path)) as manifest:
        manifest.append([entry("a"), entry("b")])
    path.write_bytes(path.read_bytes()[:-cut])
    with closing(Manifest(path)) as manifest:
        assert ids(manifest) == ["a"]
        manifest.append([entry("c")])
        assert ids(manifest) == ["a", "c"]
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 2


def test_a_manifest_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text('{"id": "a"}\n')
    with pytest.raises(InvalidRequest, match=r"manifest\.jsonl:1 is no entry"):
        Manifest(path)


def test_a_manifest_without_a_file(tmp_path: Path) -> None:
    with closing(Manifest(None)) as manifest:
        manifest.append([entry("a")])
        mark = manifest.get("a")
        assert mark is not None
        assert mark.state == "SUCCEEDED"
        assert ids(manifest) == []


def test_a_folder_is_one_batch_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert batch_of(out) == ""
    with closing(OutputFolder(out)) as folder:
        folder.note({"batch": "one", "corpus": "a long name that is overwritten by a short one"})
        with pytest.raises(InvalidRequest, match="another batch is being written"):
            OutputFolder(out)
        folder.note({"batch": "two"})
    assert batch_of(out) == "two"


def test_a_full_disk_is_told_with_its_file_and_loses_nothing(tmp_path: Path) -> None:
    folder, limits = OutputFolder(tmp_path / "out"), resource.getrlimit(resource.RLIMIT_FSIZE)
    folder.manifest.append([entry("a")])
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
        with pytest.raises(OSError, match=r"manifest\.jsonl"):
            folder.manifest.append([entry("b", text="b" * 400)])
        with pytest.raises(OSError, match=r"wavs/x\.wav"):
            folder.write(folder.path / "wavs" / "x.wav", bytes(400))
        folder.summarize(openai=False)
        folder.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (folder.path / "metadata.csv").read_text().startswith("a|")
    with closing(OutputFolder(tmp_path / "out")) as folder:
        assert ids(folder.manifest) == ["a"]


def test_what_is_derived_from_the_manifest(tmp_path: Path) -> None:
    with closing(OutputFolder(tmp_path)) as folder:
        path = folder.audio_path(Item("a/b", "x"), "wav")
        done = entry("a/b", path=path.relative_to(tmp_path).as_posix()) | {"text": "one |\ntwo"}
        folder.manifest.append([failed("c"), failed("d"), done, entry("d")])
        folder.summarize(openai=True)
    assert (tmp_path / "metadata.csv").read_text() == (
        "a%2Fb|one two|one two\nd|The text of d.|The text of d.\n"
    )
    [again] = (json.loads(line) for line in (tmp_path / "errors.jsonl").read_text().splitlines())
    assert again == as_corpus(failed("c"))
    assert again["error"]["code"] == "request_rejected"
    assert again["options"] == {"rate": 1}
    answers = [json.loads(line) for line in (tmp_path / "openai.jsonl").read_text().splitlines()]
    assert [answer["custom_id"] for answer in answers] == ["c", "a/b", "d"]
    assert answers[0]["response"] is None
    assert answers[0]["error"]["code"] == "request_rejected"
    assert answers[1]["response"]["body"]["path"] == "wavs/a%2Fb.wav"


def test_audio_is_linked_or_copied_whole(tmp_path: Path) -> None:
    stored = tmp_path / "stored"
    stored.write_bytes(b"audio")
    with closing(OutputFolder(tmp_path / "out")) as folder:
        target = folder.audio_path(Item("a", "x"), "wav")
        for _ in range(2):  # the second time, both are names of one file
            folder.link(stored, target)
            assert target.read_bytes() == b"audio"
            assert target.stat().st_ino == stored.stat().st_ino
        folder.write(target, b"other")
        assert folder.has(target)
        assert [path.name for path in target.parent.iterdir()] == ["a.wav"]
    assert stored.read_bytes() == b"audio"


def test_a_purse_counts_what_is_under_way_as_spent() -> None:
    prices = PriceList({"openai": Price(per_million=1_000_000)})
    purse = SpendingLimit(prices, max_cost=10)
    most = purse.price(Request("12345678", "openai/tts-1"))
    assert most.money == 8
    assert purse.allows(most)
    purse.reserved += most
    assert not purse.allows(purse.price(Request("123", "openai/tts-1")))
    purse.settle(most, billed=0)  # from the cache
    assert purse.allows(most)
    purse.reserved += most
    purse.settle(most, billed=4, cached=4)
    assert (purse.spent.characters, purse.spent.money) == (4, 4)
    assert purse.allows(purse.price(Request("123456", "openai/tts-1")))
    assert not purse.allows(most)
    with pytest.raises(MisconfiguredError, match="SPEECHFLEET_PRICES"):
        purse.price(Request("x", "gemini/x"))
    assert SpendingLimit(prices).price(Request("x", "gemini/x")).money == 0


def test_what_earlier_runs_spent_counts(tmp_path: Path) -> None:
    prices = PriceList({"m": Price(per_million=1_000_000)})
    with closing(Manifest(tmp_path / "manifest.jsonl")) as manifest:
        paid = entry("a", text="12345678", object="o/1", billed=8, cached=0)
        # The second was written twice by a crash; the third is another end of the same item.
        manifest.append([paid, paid, {**paid, "object": "o/2", "billed": 4, "cached": 4}])
        before = spent_before(prices, manifest.history())
    assert (before.characters, before.money) == (12, 12)
    purse = SpendingLimit(prices, max_cost=20, before=before)
    assert purse.allows(purse.price(Request("12345678", "m/m")))
    assert not purse.allows(purse.price(Request("123456789", "m/m")))


def test_what_is_reserved_is_never_less_than_what_is_billed() -> None:
    """A Han character is two to some; tokens, where a provider counts them, weigh as letters."""
    purse = SpendingLimit(PriceList({}), max_chars=20)
    assert not purse.allows(purse.price(Request("语音合成语音合成语音合成", "dashscope/x")))
    assert purse.price(Request("语", "dashscope/x")).characters >= 2.05
    most = purse.price(Request("x" * 90, "gemini/gemini-3.8-flash-tts"))
    purse.settle(most, billed=30)  # tokens
    assert purse.spent.money == most.money > 0


def test_list_prices_have_their_date_and_source() -> None:
    assert all(price.source for price in LISTED.values())
    assert all(price.date for model, price in LISTED.items() if model not in ON_THE_WORKER)
    assert PriceList({}).cost("openai/tts-1", 1e6) == 15
    assert PriceList({}).of("openai/tts-9") is None
    assert PriceList({"openai": Price(per_million=1)}).cost("openai/tts-1", 1e6) == 1


def test_prices_by_unit() -> None:
    table = {"a": Price(per_million=1e6, unit="bytes"), "a/b": Price(per_million=2e6)}
    assert PriceList(table).cost("a/x", 10, 20) == 20
    assert PriceList(table).cost("a/b", 10, 20) == 20
    assert PriceList(table).cost("c/x", 10) is None
    assert PriceList({}).cost("espeak/espeak-ng", 10) == 0
    assert PriceList({"a": Price(per_million=1e6, unit="minutes")}).cost("a/x", 1800) == 2
    assert PriceList({"a": Price(per_million=1e6, unit="tokens")}).cost("a/x", 40) == 10


def test_seen_takes_any_id() -> None:
    with closing(DiskIndex()) as seen:
        seen.put("\ud800", IndexEntry("d", "FAILED", 1))
        seen.put("a", IndexEntry("d", "FAILED", 1))
        seen.put("a", IndexEntry("e", "SUCCEEDED", 2))
        assert seen.get("a") == IndexEntry("e", "SUCCEEDED", 2)
        assert seen.counts() == {"FAILED": 1, "SUCCEEDED": 1}


def test_adding_an_id_that_is_known_returns_what_was_known() -> None:
    with closing(DiskIndex()) as seen:
        assert seen.add("a", IndexEntry("d", "", 0)) is None
        assert seen.add("a", IndexEntry("e", "", 1)) == IndexEntry("d", "", 0)
        assert seen.get("a") == IndexEntry("d", "", 0)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    file = tmp_path / "corpus.csv"
    file.write_text("id,text\n")
    with pytest.raises(InvalidRequest, match=r"corpus\.csv is a file: name a folder"):
        OutputFolder(file)
