"""What a corpus makes of its fields, files and ids, and what it keeps of bad ones."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from speechfleet.corpus.corpus import Corpus, Examined, open_corpus
from speechfleet.corpus.item import Item, stem_of
from speechfleet.errors import InvalidRequest
from speechfleet.provider_options import OPTIONS
from speechfleet_worker.providers.base import ProviderOptions
from speechfleet_worker.providers.dashscope.cosyvoice import DashScopeTaskOptions
from speechfleet_worker.providers.dashscope.http import DashScopeOptions
from speechfleet_worker.providers.dashscope.realtime import DashScopeRealtimeOptions
from speechfleet_worker.providers.elevenlabs import ElevenLabsOptions
from speechfleet_worker.providers.espeak.model import EspeakOptions
from speechfleet_worker.providers.gemini import GeminiOptions
from speechfleet_worker.providers.hibari.model import HibariOptions
from speechfleet_worker.providers.local import LocalOptions
from speechfleet_worker.providers.openai import OpenAIOptions
from speechfleet_worker.providers.openai_realtime import OpenAIRealtimeOptions
from speechfleet_worker.providers.polly import PollyOptions
from tests.support.corpus_files import ORDER, read, write


def examined(path: Path, model: str = "espeak/espeak-ng") -> tuple[Corpus, Examined, list[Item]]:
    order = {**ORDER, "model": model}
    with open_corpus(path) as corpus:
        return corpus, corpus.examine(order, 1000), list(corpus.items(order, 1000))


def test_fields_that_are_no_options_are_ignored_with_one_notice(tmp_path: Path) -> None:
    path = write(
        tmp_path, "a.csv", "id,text,speaker,rat,rate\n1,One.,anna,5,120\n2,Two.,anna,5,\n"
    )
    corpus, summary, items = examined(path)
    assert [item.fields for item in items] == [{"rate": 120}, {}]
    assert summary.ignored == {"speaker": 2, "rat": 2}
    notice = corpus.notice(summary)
    assert "speaker" in notice
    assert "rat (did you mean rate?)" in notice
    assert examined(path, "openai/tts-1")[1].ignored == {"speaker": 2, "rat": 2, "rate": 1}
    # Of a class of one's own only a worker knows the options.
    assert examined(path, "own/model")[2][0].fields == {"speaker": "anna", "rat": 5, "rate": 120}


def test_options_that_are_named_as_such_are_never_ignored(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"text": "x", "options": {"rat": 5}, "duration": 1}\n')
    _, summary, [item] = examined(path)
    assert item.fields == {"rat": 5}
    assert summary.ignored == {"duration": 1}


def test_the_names_of_options_are_those_of_the_adapters() -> None:
    adapters: dict[str, type[ProviderOptions]] = {
        "espeak": EspeakOptions, "hibari": HibariOptions, "local": LocalOptions,
        "openai": OpenAIOptions, "gemini": GeminiOptions,
        "dashscope": DashScopeOptions, "dashscope-realtime": DashScopeRealtimeOptions,
        "dashscope-task": DashScopeTaskOptions, "openai-realtime": OpenAIRealtimeOptions,
        "elevenlabs": ElevenLabsOptions, "polly": PollyOptions,
    }  # fmt: skip
    assert {name: frozenset(kind.model_fields) for name, kind in adapters.items()} == OPTIONS


def test_a_folder_of_texts_is_an_item_a_file(tmp_path: Path) -> None:
    for name, text in {"b.txt": "Two.\n", "a.txt": "One,\nand on.", "c.wav": "x"}.items():
        write(tmp_path, name, text)
    expected = [("a", "One,\nand on."), ("b", "Two.")]
    assert read(tmp_path) == (expected, [])
    assert read(tmp_path / "*.txt") == (expected, [])
    with open_corpus([tmp_path / "b.txt", tmp_path / "a.txt"]) as corpus:
        assert [item.id for item in corpus.items(ORDER, 1000)] == ["b", "a"]
    assert [id for id, _ in read(tmp_path, ids="number")[0]] == ["000001", "000002"]
    assert [len(id) for id, _ in read(tmp_path, ids="hash")[0]] == [20, 20]
    assert read(tmp_path, ids="stem")[0] == expected


def test_files_of_one_stem_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name in ("x/one.txt", "y/one.txt", "y/two.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, name, f"This is {name}.")
    assert [id for id, _ in read(tmp_path)[0]] == ["x/one", "y/one", "two"]


def test_libritts_texts_are_spoken_once(tmp_path: Path) -> None:
    write(tmp_path, "84_1.normalized.txt", "Mister One.")
    write(tmp_path, "84_1.original.txt", "Mr. One.")
    write(tmp_path, "84_2.original.txt", "Two.")
    assert read(tmp_path)[0] == [("84_1", "Mister One."), ("84_2", "Two.")]


def test_files_of_a_folder_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", b"caf\xe9")
    write(tmp_path, "b.txt", "")
    write(tmp_path, "c.txt", "Fine.")
    items, bad = read(tmp_path)
    assert [id for id, _ in items] == ["c"]
    assert ["a.txt" in bad[0], "b.txt" in bad[1]] == [True, True]
    with pytest.raises(InvalidRequest, match="of several files each is one text"):
        open_corpus([write(tmp_path, "d.csv", "id,text\n"), tmp_path]).__enter__()


def test_ids_of_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "ch1.txt", "One.\n\nTwo.\n")
    assert [id for id, _ in read(path, ids="number")[0]] == ["000001", "000002"]
    assert [id for id, _ in read(path, ids="stem")[0]] == ["ch1-000001", "ch1-000002"]


def test_form_feeds_are_white_space(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "One.\n\x0cTwo\x0b here.\n\x0c\n")
    with open_corpus(path) as corpus:
        texts = [item.request("", ORDER, 100).text for item in corpus.items(ORDER, 100)]
    assert texts == ["One.", "Two\n here."]


def test_device_names_of_windows_are_no_file_names() -> None:
    ids = ["con", "NUL", "aux.x", "com1", "LPT9.txt", "prn .a", "conin$"]
    names = [Item(id, "x").file_name for id in ids]
    assert all(name.startswith("%") for name in names)
    assert len(set(names)) == len(ids)
    assert [Item(id, "x").file_name for id in ("console", "com10", "null")] == [
        "console", "com10", "null",
    ]  # fmt: skip


def test_a_header_of_many_columns_takes_linear_time(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        header = ",".join(f"o{number}" for number in range(count))
        path = write(tmp_path, "a.csv", f"id,text,{header}\na,b,{',' * (count - 1)}\n")
        began = time.process_time()
        assert len(read(path)[0]) == 1
        return time.process_time() - began

    # Measured again: a machine that is busy elsewhere makes a short run look long.
    assert any(seconds(100_000) <= 20 * max(seconds(12_500), 0.004) for _ in range(3))


def test_bad_lines_are_counted_but_not_all_kept(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"text": "x"}\n' + "{nope\n" * 5000)
    _, summary, _ = examined(path)
    assert (summary.bad_count, len(summary.bad)) == (5000, 1000)


def test_a_line_end_in_an_id_does_not_break_a_message(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"id": "a\\nerror: \\u2028all is lost", "text": "x"}\n')
    [line] = read(path)[1]
    assert line.isprintable()


def test_what_is_left_half_read_is_closed_with_the_corpus(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "One.\nTwo.\n")
    with open_corpus(path) as corpus:
        items = corpus.items(ORDER, 100)
        assert next(items).text == "One."
        kept = items  # as a traceback would keep it
    with pytest.raises(Exception, match="closed database"):
        next(kept)


def test_stems() -> None:
    stems = ["wavs/one.wav", "C:\\d\\two.FLAC", "v1.2", ".wav", "a.b.mp3"]
    assert [stem_of(path) for path in stems] == ["one", "two", "v1.2", ".wav", "a.b"]
