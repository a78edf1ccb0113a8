"""The worker's package on requests that are not sent: counts, problems, explanations."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from speechfleet.errors import MissingExtra
from speechfleet.request import Request
from speechfleet.segment_store import SegmentStore, segment_hash
from speechfleet.settings import Settings
from speechfleet.spoken_form import take_spoken_form
from speechfleet.store import open_store
from speechfleet_worker.measure import check_requests, explain_segments, main, measure_corpus
from speechfleet_worker.request_language import LanguageSource, language_of
from speechfleet_worker.segmentation import cut

ESPEAK = "espeak/espeak-ng"


def line(text: str = "Hello.", **fields: Any) -> str:
    return json.dumps({"line": "c:1", "text": text, "model": ESPEAK, **fields})


async def row(*lines: str, settings: Settings | None = None) -> dict[str, Any]:
    answer = await measure_corpus(lines, settings or Settings())
    assert answer["problems"] == []
    model: dict[str, Any]
    [model] = answer["models"]
    return model


async def test_a_german_voice_is_cut_by_german_rules() -> None:
    text = "Er kam am 3. Mai nach Hause."
    assert (await row(line(text, voice="de", segments="sentence")))["segments"] == 1


@pytest.mark.parametrize(
    ("model", "voice", "options"),
    [
        pytest.param(
            "dashscope/qwen3-tts-flash", "Cherry", {"language_type": "German"}, id="dashscope"
        ),
        pytest.param(
            "gemini/gemini-3.8-flash-tts", "Kore", {"language_code": "de-DE"}, id="gemini"
        ),
        pytest.param("openai/tts-1", "alloy", {}, id="a guess"),
        pytest.param(ESPEAK, "de", {}, id="espeak"),
    ],
)
async def test_every_provider_cuts_by_the_language_of_the_text(
    model: str, voice: str, options: dict[str, Any]
) -> None:
    text = "Siehe Bd. 3 und Abb. 4 dort. Frau Klein kam am 3. Oktober an. Sie ist nun hier."
    counted = await row(line(text, model=model, voice=voice, options=options, segments="sentence"))
    german = cut(text, mode="sentence", limit=600, language="de")
    assert counted["segments"] == len(list(german)) == 3


async def test_what_is_stored_is_not_asked_for(tmp_path: Path) -> None:
    settings = Settings(store=tmp_path.as_uri())
    store = open_store(tmp_path.as_uri())
    segments = SegmentStore(store, settings.namespace)
    request = Request("", ESPEAK, "en-us")
    await segments.save(segment_hash(settings.namespace, request, "One."), b"\0\0", 22_050)
    note = segment_hash(settings.namespace, request, "Two.")
    await segments.refer(note, "audio/gone", 22_050)
    await store.close()
    counted = await row(
        line("One.\n\nTwo.\n\nThree.\n\nThree.", voice="en-us", segments="paragraph"),
        settings=settings,
    )
    assert (counted["segments"], counted["stored_segments"]) == (4, 1)
    assert (counted["distinct_segments"], counted["distinct_units"]) == (2, len("Two.Three."))


async def test_without_the_cache_each_segment_is_asked_for() -> None:
    counted = await row(line("Go.\n\nGo.", cache=False), line("Go.", cache=False))
    assert counted["distinct_segments"] == 3


@pytest.mark.parametrize(
    ("fields", "code", "near"),
    [
        pytest.param({"model": "opnai/tts-1"}, "unknown_model", "openai/tts-1", id="provider"),
        pytest.param({"model": "espeak/nosuch"}, "unknown_model", "espeak-ng", id="model"),
        pytest.param({"voice": "englsh"}, "unknown_voice", "en-us", id="voice of espeak"),
        pytest.param(
            {"model": "openai/tts-1", "voice": "aloy"}, "unknown_voice", "alloy", id="voice"
        ),
        pytest.param({"options": {"rat": 9}}, "unknown_option", "rate", id="option"),
        pytest.param({"options": {"rate": 9999}}, "invalid_request", "450", id="value"),
    ],
)
async def test_what_no_worker_could_speak_is_named(
    fields: dict[str, Any], code: str, near: str
) -> None:
    for measure in (check_requests, measure_corpus):
        answer = await measure([line(), line(**fields)], Settings())
        [problem] = answer["problems"]
        assert (problem["line"], problem["code"]) == ("c:1", code)
        assert near in problem["message"]


async def test_a_text_without_letters_is_a_problem() -> None:
    answer = await measure_corpus([line("...")], Settings())
    assert [problem["code"] for problem in answer["problems"]] == ["empty_text"]
    assert answer["models"] == []


async def test_it_says_how_a_text_is_cut_and_why() -> None:
    text = "Er kam am 3. Mai. Er ging.\n\n" + "wort " * 300
    answer = await explain_segments([line(text, voice="de", segments="sentence")], Settings())
    assert (answer["language"], answer["language_from"]) == ("de", "voice")
    reasons = [segment["reason"] for segment in answer["segments"]]
    assert reasons == [
        "end of a sentence", "end of a sentence", "limit, between words", "end of the text",
    ]  # fmt: skip
    assert all(text[s["start"] : s["end"]] == s["text"] for s in answer["segments"])
    packed = await explain_segments([line("A b. C d.\n\nE f.", segments="paragraph")], Settings())
    assert [segment["reason"] for segment in packed["segments"]] == [
        "end of a paragraph", "end of the text",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "of_voice", "tag", "source"),
    [
        pytest.param(Request("", "m/m", language="fr"), "de-AT", "de-AT", "voice", id="voice"),
        pytest.param(
            Request("", "m/m", options={"language_type": "German"}, language="fr"),
            "", "de", "option", id="option",
        ),
        pytest.param(
            Request("", "m/m", options={"language_type": "Auto"}, language="fr"),
            "", "fr", "request", id="request",
        ),
        pytest.param(Request("", "m/m", language="French"), "", "fr", "request", id="name"),
        pytest.param(Request("", "m/m"), "", "", "text", id="text"),
    ],
)  # fmt: skip
def test_the_language_of_a_request(
    request_: Request, of_voice: str, tag: str, source: str
) -> None:
    assert language_of(request_, of_voice) == (tag, LanguageSource(source))


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nosuch"]) == 2
    assert "corpus, check, segments" in capsys.readouterr().err


async def test_a_library_that_is_missing_here_is_no_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> None:
        raise MissingExtra("espeak", "espeak")

    monkeypatch.setattr("speechfleet.espeak_library.require", missing)
    monkeypatch.setattr("speechfleet.espeak_library.library", missing)
    assert await check_requests([line(voice="de")], Settings()) == {"problems": []}


CHAPTER = """## Chapter {n}: of *many* things

Dr. Smith wrote **bold**, _soft_ and `code` on p. {n}, see [the docs](https://example.org/{n}/x) or
<b>this</b>. "Really?" she asked! It cost 3.50 EUR [pause 300ms] and so on... 🙂[^1]

- one item, with ~~struck~~ words
- another [half open link(

| a | b |
|---|---|
| {n} | two |

```python
print("{n}")
```

"""
SHORTEST_CHAPTER = len(CHAPTER.format(n=0))
MEGABYTE = 1_000_000
TRIES = 3
"""A machine that is busy elsewhere makes a run look long."""


async def seconds_for_markdown(size: int) -> float:
    chapters = (CHAPTER.format(n=number) for number in range(size // SHORTEST_CHAPTER + 1))
    text = "".join(chapters)[:size]
    form = take_spoken_form({"speakable": "markdown"}, text).encode()
    began = time.process_time()
    counted = await row(line(text, segments="sentence", form=form))
    seconds = time.process_time() - began
    assert counted["characters"] == size
    assert counted["segments"] > size / 100
    return seconds


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_five_megabytes_of_markdown_take_five_times_as_long_as_one() -> None:
    await seconds_for_markdown(MEGABYTE // 10)  # imports, and tables that are made once
    for _ in range(TRIES):
        one = await seconds_for_markdown(MEGABYTE)
        five = await seconds_for_markdown(5 * MEGABYTE)
        if five <= 8 * one:
            return
    pytest.fail(f"five megabytes take {five:.1f} s, and one {one:.1f} s")


async def test_the_language_of_a_text_is_guessed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    guessed: list[str] = []

    def guess(text: str) -> str:
        guessed.append(text)
        return "en"

    monkeypatch.setattr(sys.modules[cut.__module__], "guess_language", guess)
    text = " ".join(f"This is the sentence with the number {number}." for number in range(50))
    assert (await row(line(text, segments="sentence")))["segments"] == 50
    assert len(guessed) == 1
