"""Corpora as other tools write them: known by content, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from speechfleet.corpus.corpus import open_corpus
from speechfleet.corpus.read_options import ReadOptions
from speechfleet.errors import InvalidRequest
from tests.support.corpus_files import ORDER, read, write

TWO = [("one", "The kettle is on."), ("two", "It is late.")]


FORMS = {
    "XTTS": (
        "metadata.csv",
        (
            "audio_file|text|speaker_name\n"
            "wavs/one.wav|The kettle is on.|anna\nwavs/two.wav|It is late.|anna\n"
        ),
    ),
    "Coqui": ("metadata.txt", "one|The kettle is on.\ntwo|It is late.\n"),
    "VITS": (
        "train_filelist.txt",
        "DUMMY1/one.wav|The kettle is on.\nDUMMY1/two.wav|It is late.\n",
    ),
    "VITS with speakers": (
        "train.txt",
        "one.wav|0|The kettle is on.\ntwo.wav|1|It is late.\n",
    ),
    "Piper": ("metadata.csv", "one|anna|The kettle is on.\ntwo|bert|It is late.\n"),
    "Piper in Chinese": ("metadata.csv", "a|anna|水开了。\nb|bert|很晚了。\n"),
    "phonemes": (
        "metadata.csv",
        ("one|The kettle is on.|ðə kˈɛɾəl ɪz ˈɔn\ntwo|It is late.|ɪt ɪz lˈeɪt\n"),
    ),
    "GPT-SoVITS": (
        "slicer.list",
        ("out/one.wav|anna|EN|The kettle is on.\nout/two.wav|anna|EN|It is late.\n"),
    ),
    "Bert-VITS2": (
        "train.list.cleaned",
        (
            "out/one.wav|anna|EN|The kettle is on.|_ dh|0 1|1 2\n"
            "out/two.wav|anna|EN|It is late.|_ ih|0 1|1 2\n"
        ),
    ),
    "Common Voice": (
        "validated.tsv",
        (
            "client_id\tpath\tsentence\tup_votes\n"
            "x\tone.mp3\tThe kettle is on.\t2\nx\ttwo.mp3\tIt is late.\t2\n"
        ),
    ),
    "Hugging Face": (
        "metadata.csv",
        ("file_name,transcription\nclips/one.wav,The kettle is on.\nclips/two.wav,It is late.\n"),
    ),
    "Hugging Face in JSON": (
        "metadata.jsonl",
        (
            '{"file_name": "one.wav", "transcription": "The '
            'kettle is on."}\n{"file_name": "two.wav", "transcription": "It is '
            'late."}\n'
        ),
    ),
    "NeMo": (
        "manifest.json",
        (
            '{"audio_filepath": "/d/one.wav", "duration": 1.2, "text": "The '
            'kettle is on."}\n{"audio_filepath": "/d/two.wav", "duration": 1, "text": "It is '
            'late."}\n'
        ),
    ),
    "Excel's semicolons": ("c.csv", 'id;text\r\none;"The kettle is on."\r\ntwo;It is late.\r\n'),
    "Excel's sep line": (
        "c.csv",
        "sep=;\nid;text\none;The kettle is on.\ntwo;It is late.\n",
    ),
    "trailing commas": (
        "c.csv",
        "id,text,,\none,The kettle is on.,,\ntwo,It is late.,,\n,,,\n",
    ),
    "blank rows": ("c.csv", "id,text\none,The kettle is on.\n,\n\ntwo,It is late.\n , \n"),
    "blanks behind commas": (
        "c.csv",
        'id, text\none, "The kettle is on."\ntwo, It is late.\n',
    ),
    "CR alone": ("c.csv", "id,text\rone,The kettle is on.\rtwo,It is late.\r"),
    "Piper with phonemes of one word": ("metadata.csv", "one|Hello.|h ə l oʊ\ntwo|Bye.|b aɪ\n"),
    "a JSON array": (
        "c.json",
        json.dumps([{"id": "one", "text": TWO[0][1]}, {"id": "two", "text": TWO[1][1]}]),
    ),
    "a JSON array over lines": (
        "c.json",
        json.dumps([{"id": "one", "text": TWO[0][1]}, {"id": "two", "text": TWO[1][1]}], indent=2),
    ),
    "JSON objects over lines": (
        "c.json",
        "".join(json.dumps({"id": id, "text": text}, indent=1) for id, text in TWO),
    ),
    "names in capitals": ("c.csv", "ID,Text\none,The kettle is on.\ntwo,It is late.\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_other_tools_are_known_by_content(tmp_path: Path, form: str) -> None:
    items, bad = read(write(tmp_path, *FORMS[form]))
    expected = {
        "Piper in Chinese": [("a", "水开了。"), ("b", "很晚了。")],
        "Piper with phonemes of one word": [("one", "Hello."), ("two", "Bye.")],
    }.get(form, TWO)
    assert (bad, [(id, text.strip()) for id, text in items]) == ([], expected)


DOUBTFUL: dict[str, tuple[str, str | bytes, str]] = {
    "subtitles": ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\nHello.\n", "has subtitles"),
    "subtitles by content": ("a.txt", "WEBVTT\n\n00:01.000 --> 00:02.000\nHello.\n", "subtitles"),
    "three columns": (
        "a.csv",
        ("a|It was late.|A lot of other words\nb|We went home.|None of these fit\n"),
        "not clear: say so",
    ),
    "phonemes for texts": (
        "a.txt.cleaned",
        "a.wav|ðə kˈɛɾəl ɪz ˈɔn\nb.wav|ɪt ɪz lˈeɪt\n",
        "phonemes",
    ),
    "a reading in letters": ("a.csv", "a|こんにちは|k o N n i ch i w a\n", "not clear"),
    "prosody in numbers": ("a.csv", "a|Hello|0 0 1\nb|Bye|0 1 2\n", "not clear"),
    "words that differ": (
        "a.csv",
        "".join(f"{n}|Text{n}|HH AH L OW\n" for n in range(6)),
        "not clear",
    ),
    "two texts": ("a.csv", "sentence,transcription\na,b\n", "may all be the text"),
    "one line with a bar": ("a.txt", "Yes|no\n", "ljspeech .* or lines"),
    "four columns": ("a.csv", "a|b|c|It is late.\nb|b|c|It was early.\n", "--text-column"),
    "no text": ("a.tsv", "who\twhat\nx\ty\n", "there are who, what: name it with --text-column"),
    "Excel": ("a.xlsx", b"PK\x03\x04\x00\x00", "Excel"),
    "PDF": ("a.pdf", b"%PDF-1.7\n", "pdftotext"),
    "another delimiter": ("a.csv", "id~text\na~b\n", "--delimiter"),
}


@pytest.mark.parametrize("form", DOUBTFUL)
def test_a_doubtful_form_is_refused_in_one_line(tmp_path: Path, form: str) -> None:
    name, content, said = DOUBTFUL[form]
    with pytest.raises(InvalidRequest, match=said) as refused:
        read(write(tmp_path, name, content))
    assert "\n" not in str(refused.value)


PLAIN = {
    "a heading": "Transcript\nHello there.\n",
    "a Markdown table": "| a | b |\n|---|---|\n| c | d |\n",
    "a bar in one line": "Either this | or that.\nWe shall see.\nAnd so on.\n",
    "a sentence about text": "Sentence, said the judge, is passed.\nHe left.\n",
    "brackets": "[Music]\nHello there.\n",
}


@pytest.mark.parametrize("form", PLAIN)
def test_plain_text_stays_plain_text(tmp_path: Path, form: str) -> None:
    items, bad = read(write(tmp_path, "a.txt", PLAIN[form]))
    assert bad == []
    assert [text for _, text in items] == PLAIN[form].splitlines()


def test_ljspeech_rows_with_numbers_written_out(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "a|He came in 1998.|He came in nineteen ninety-eight.\n"
                                    "b|Dr. Who|Doctor Who\nc|It is late.|It is late.\n"
                                    "d|Yes.|\ne|So it was.|So it was.\n")  # fmt: skip
    items, _ = read(path)
    assert [text for _, text in items] == [
        "He came in nineteen ninety-eight.", "Doctor Who", "It is late.", "Yes.", "So it was.",
    ]  # fmt: skip


def test_an_empty_text_is_never_replaced_by_a_speaker(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "1|anna|It is late.\n2|anna|\n3|bert|Good night.\n")
    items, bad = read(path)
    assert items == [("1", "It is late."), ("3", "Good night.")]
    assert len(bad) == 1
    assert ":2: 2: there is nothing to say" in bad[0]


def test_the_marks_of_a_tsv_swallow_no_row(tmp_path: Path) -> None:
    texts = ['"Come in, she said.', "The door was open.", 'He left at "noon"', "The end.", '"']
    rows = "".join(f"{n}\t{text}\t2\n" for n, text in enumerate(texts))
    items, bad = read(write(tmp_path, "a.tsv", f"id\ttext\tvotes\n{rows}"))
    assert ([text for _, text in items], bad) == (texts, [])


def test_rows_that_a_quotation_mark_swallows_are_all_named(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'id,text\n1,"Come in\n2,The door.\n3,he said so."\n4,x\n')
    items, bad = read(path)
    assert [id for id, _ in items] == ["4"]
    assert "a quotation mark opens here and closes 2 lines below" in bad[0]
    path.write_text('id,text\n1,"Come in\n2,The door.\n3,So.\n')
    items, bad = read(path)
    assert items == []
    assert [line.removeprefix(f"{path}:").partition(":")[0] for line in bad] == ["2", "3", "4"]


def test_a_cell_of_several_lines_is_one_text(tmp_path: Path) -> None:
    content = 'id,text\n1,"Dear friend,\n\nI came, I saw ""it"",\nand left."\n2,End.\n'
    items, bad = read(write(tmp_path, "a.csv", content))
    assert bad == []
    assert items[0] == ("1", 'Dear friend,\n\nI came, I saw "it",\nand left.')


COLUMNS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "by name": ("a.csv", "key,spoken,who\none,Hello.,de\n",
                {"text_column": "spoken", "id_column": "key", "voice_column": "who"}),
    "by name, against the usual one": ("a.csv", "id,text,spoken,who\nx,no,Hello.,de\n",
                                       {"text_column": "spoken", "voice_column": "who"}),
    "of JSON": ("a.jsonl", '{"key": "one", "spoken": "Hello.", "who": "de"}\n',
                {"text_column": "spoken", "id_column": "key", "voice_column": "who"}),
    "by number": ("a.tsv", "1276\tde\tHello.\n",
                  {"text_column": "3", "id_column": "1", "voice_column": "2"}),
    "by number between bars": ("a.txt", "1276|de|Hello.|x|y\n",
                               {"text_column": "3", "id_column": "1", "voice_column": "2"}),
    "with a delimiter": ("a.csv", "id~spoken~who\nx~Hello.~de\n",
                         {"text_column": "spoken", "voice_column": "who", "delimiter": "~"}),
}  # fmt: skip


@pytest.mark.parametrize("case", COLUMNS)
def test_columns_that_the_user_names(tmp_path: Path, case: str) -> None:
    name, content, options = COLUMNS[case]
    with open_corpus(write(tmp_path, name, content), None, ReadOptions(**options)) as corpus:
        [item] = corpus.items(ORDER, 1000)
    assert (item.text, item.fields) == ("Hello.", {"voice": "de"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"text_column": "words"}, "no column is called 'words' .--text-column.; there are id"),
        ({"voice_column": "who"}, "no column is called 'who' .--voice-column."),
        ({"delimiter": "~~"}, "a delimiter is one character"),
        ({"ids": "name"}, "ids are made of number, stem, hash"),
    ],
)
def test_an_option_that_fits_nothing(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        read(write(tmp_path, "a.csv", "id,text\na,b\n"), **options)


@pytest.mark.parametrize("url", ["https://api.openai.com/v1/audio/speech", "/v1/audio/speech/"])
def test_openai_lines_with_voice_objects_and_full_urls(tmp_path: Path, url: str) -> None:
    line = {"custom_id": "a", "method": "post", "url": url,
            "body": {"model": "tts-1", "voice": {"id": "voice_1"}, "input": "Hello."}}  # fmt: skip
    with open_corpus(write(tmp_path, "a.jsonl", json.dumps(line))) as corpus:
        [item] = corpus.items(ORDER, 100)
    assert item.fields["voice"] == "voice_1"


def test_a_broken_json_array_is_one_complaint(tmp_path: Path) -> None:
    values = [json.dumps({"id": str(n), "text": f"Text {n}."}, indent=1) for n in range(50)]
    path = write(tmp_path, "a.json", f"[{','.join(values)}, oops]")
    items, bad = read(path)
    assert len(items) == 50
    assert len(bad) == 1
    assert f"{path}:{50 * 3 + 1}: this is not JSON" in bad[0]


def test_a_long_json_array_is_read_in_pieces(tmp_path: Path) -> None:
    values = [{"id": str(n), "text": f"Text {n}. " * 20} for n in range(5000)]
    items, bad = read(write(tmp_path, "a.json", json.dumps(values)))
    assert (len(items), bad) == (5000, [])


def test_an_array_of_texts(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", json.dumps(["One.", "Two."], indent=1))
    assert [text for _, text in read(path)[0]] == ["One.", "Two."]
