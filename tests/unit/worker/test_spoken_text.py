"""The segments of a text that is not spoken as it stands, and where they are written."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from speechfleet.cli.measure_process import line_of
from speechfleet.dialogue import VoicedPart
from speechfleet.request import Lane, Request, SegmentMode
from speechfleet.segment_store import segment_hash
from speechfleet.settings import Settings
from speechfleet.speakable import SpeakableMode
from speechfleet.spoken_form import SpokenForm, take_spoken_form
from speechfleet_worker.measure import Measurement
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.base import Capabilities
from speechfleet_worker.segmentation import TextSegment, cut
from speechfleet_worker.spoken_text import LaterVoice, Speaker, spoken_segments
from speechfleet_worker.synthesis.model_cache import Voice
from speechfleet_worker.synthesis.session_text import SessionText

CAN = Capabilities()
TEXT = "# Part II\n\nSay **hello** to SQL. [pause 2s] See [it](https://a.b/c).\n\n[pause 500ms]\n"


def request(text: str, speakable: SpeakableMode = "markdown", **words: str) -> Request:
    fields = {"speakable": speakable, "lexicon": words}
    return Request(text, "espeak/espeak-ng", form=take_spoken_form(fields, text))


def segments(request: Request) -> list[TextSegment]:
    return list(spoken_segments(request, lambda _: Speaker(CAN, "en")))


def test_marks_name_the_written_text_and_pauses_are_segments() -> None:
    found = segments(request(TEXT, SQL="sequel"))
    assert [(s.index, s.text, s.pause) for s in found] == [
        (0, "Part 2", 0.0), (1, "Say hello to sequel.", 0.0), (2, "", 2.0), (3, "See it.", 0.0),
        (4, "", 0.5),
    ]  # fmt: skip
    assert [TEXT[s.start : s.end] for s in found] == [
        "Part II", "Say **hello** to SQL.", "[pause 2s]", "See [it](https://a.b/c).",
        "[pause 500ms]",
    ]  # fmt: skip
    assert found[1].written == "Say **hello** to SQL."


def test_a_plain_job_is_cut_and_hashed_as_ever() -> None:
    text = "One **two**. Three [pause 1s]."
    plain = Request(text, "espeak/espeak-ng")
    assert segments(plain) == list(cut(text, mode="sentence", limit=4096, language="en"))
    assert plain.form.encode() == ""
    assert plain.digest == "6ad238eb77db815bc3367446fc48b4ae"  # as before there were forms
    assert segment_hash("default", plain, "x") == segment_hash("default", request("y"), "x")


def test_a_text_of_pauses_alone_has_nothing_to_say() -> None:
    assert segments(request("[pause 1s] --- [pause 2s]")) == []


def test_a_changed_entry_changes_the_segments_that_hold_the_word_only() -> None:
    text = "SQL is old. So is COBOL. Nothing here. SQL again."

    def hashes(**words: str) -> list[str]:
        asked = request(text, "off", **words)
        return [segment_hash("default", asked, s.text) for s in segments(asked)]

    before, after = hashes(SQL="sequel", COBOL="koball"), hashes(SQL="S Q L", COBOL="koball")
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, True, False]


def test_the_digest_changes_only_where_the_text_holds_the_word() -> None:
    assert (
        request("No such word.", "off", SQL="a").digest
        == Request("No such word.", "espeak/espeak-ng").digest
    )
    assert request("SQL.", "off", SQL="a").digest != request("SQL.", "off", SQL="b").digest


def test_a_spoken_word_may_be_longer_than_the_limit_of_one_call() -> None:
    asked = request("ab cd ab cd ab cd", "off", ab="a long way to say it")
    can = Capabilities(input_limit=30)
    assert all(len(s.text) <= 30 for s in spoken_segments(asked, lambda _: Speaker(can, "en")))


async def test_the_dry_run_counts_what_the_run_speaks() -> None:

    measurement = Measurement(Settings())
    asked = request(TEXT, SQL="sequel")
    await measurement.add(json.dumps(line_of(asked)))
    (row,) = await measurement.rows(None)
    spoken = [s.text for s in segments(asked) if not s.pause]
    assert (row["segments"], row["units"]) == (len(spoken), sum(map(len, spoken)))


def test_the_form_survives_the_record() -> None:
    form = request(TEXT, SQL="sequel").form
    assert SpokenForm.decode(form.encode()) == form


VOICE = Voice(
    lambda: registry.build("espeak/espeak-ng", settings=Settings.load()),
    registry.build("espeak/espeak-ng", settings=Settings.load()), CAN, "en",
)  # fmt: skip


def session_text(start: int = 0, index: int = 0) -> SessionText:
    asked = Request(
        "", "espeak/espeak-ng", lane=Lane.SESSION, open=True,
        form=SpokenForm("auto", request(TEXT, SQL="sequel").form.lexicon),
    )  # fmt: skip
    return SessionText(asked, VOICE, start=start, index=index, cold_start=(0, 0))


def place(segment: TextSegment) -> tuple[int, int, int, str, float]:
    return segment.index, segment.start, segment.end, segment.text, segment.pause


@given(cuts=st.sets(st.integers(1, len(TEXT) - 1)), done=st.integers(0, 4))
def test_a_session_speaks_the_same_however_it_comes_and_whoever_goes_on(
    cuts: set[int], done: int
) -> None:
    whole = segments(request(TEXT, SQL="sequel"))
    text = session_text(whole[done - 1].end if done else 0, done)
    found: list[TextSegment] = []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(TEXT)], strict=True):
        found += text.take(TEXT[start:end], open=True)
    found += text.take("", open=False)
    assert [place(s) for s in found] == [place(s) for s in whole[done:]]


def test_a_session_hears_a_sentence_before_its_line_ends() -> None:
    text = session_text()
    assert text.take("**Well**, it [rains](https://a", open=True) == []
    found = text.take(".b). And there is more", open=True)
    assert [s.text for s in found] == ["Well, it rains."]


def speaker_by_limit(asked: Request) -> Speaker:
    """The limit of a voice is its name."""
    return Speaker(Capabilities(input_limit=int(asked.voice)), "en")


@given(
    st.text(alphabet="ab .\n", max_size=300),
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 40)), max_size=3),
    st.sampled_from(["sentence", "paragraph"]),
)
def test_voices_that_take_over_speak_the_rest_of_the_text_once(
    text: str, changes: list[tuple[int, int]], mode: SegmentMode
) -> None:
    def by(limit: int) -> Request:
        return Request(text, "a/b", str(limit), segments=mode)

    later = [LaterVoice(first, by(limit)) for first, limit in sorted(changes)]
    found = list(spoken_segments(by(25), speaker_by_limit, None, later))
    assert [segment.index for segment in found] == list(range(len(found)))
    assert letters(found) == "".join(text.split()).replace(".", "")
    for segment in found:
        limits = [int(v.request.voice) for v in later if v.first <= segment.index]
        assert len(segment.text) <= (limits or [25])[-1]
    for count in range(len(found)):  # what a later worker finds is what was recorded
        again = [voice for voice in later if voice.first <= count]
        rest = list(spoken_segments(by(25), speaker_by_limit, None, again))[:count]
        assert places(rest) == places(found[:count])


def letters(segments: list[TextSegment]) -> str:
    """What is heard of them: what has no letter is not spoken."""
    return "".join("".join(segment.text.split()).replace(".", "") for segment in segments)


def places(segments: list[TextSegment]) -> list[tuple[int, int]]:
    return [(segment.start, segment.end) for segment in segments]


def test_each_part_of_a_dialogue_has_the_voice_of_its_turn() -> None:
    text = "One. Two.\n\nThree."

    def by(limit: int, *voices: str) -> Request:
        parts = tuple(map(VoicedPart, voices, (0, 11), (9, 17)))
        return Request(text, "a/b", str(limit), form=SpokenForm(parts=parts))

    later = [LaterVoice(1, by(30, "31", "32"))]
    found = list(spoken_segments(by(20, "21", "22"), speaker_by_limit, None, later))
    assert [(s.text, s.voice) for s in found] == [("One.", "21"), ("Two.", "31"), ("Three.", "32")]
    assert [text[s.start : s.end] for s in found] == ["One.", "Two.", "Three."]
