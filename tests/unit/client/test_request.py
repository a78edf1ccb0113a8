"""Requests, states, records."""

import pytest

from speechfleet.errors import (
    EmptyText,
    IllegalId,
    IllegalText,
    IllegalTransition,
    InvalidRequest,
    NewerRecord,
    TextTooLong,
    UnknownFormat,
    UnknownModel,
)
from speechfleet.ledger.keys import JobKeys
from speechfleet.lifecycle import TRANSITIONS, Event, State, after
from speechfleet.record import Record
from speechfleet.request import Request, check_id
from speechfleet.store.layout import audio_object

GOOD = Request("hello", "espeak/espeak-ng")


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_the_table_decides_every_pair(state: State, event: Event) -> None:
    if event in TRANSITIONS[state]:
        assert after(state, event) is TRANSITIONS[state][event]
    else:
        with pytest.raises(IllegalTransition, match=str(state)):
            after(state, event)


def test_only_terminal_states_are_left_by_retry_alone() -> None:
    for state, events in TRANSITIONS.items():
        assert (set(events) == {Event.RETRY}) == state.terminal


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (Request("", "a/b"), EmptyText),
        (Request(" \n\t", "a/b"), EmptyText),
        (Request("x" * 101, "a/b"), TextTooLong),
        (Request("a\ud800b", "a/b"), IllegalText),
        (Request("a\x00b", "a/b"), IllegalText),
        (Request("a", "espeak"), UnknownModel),
        (Request("a", "/x"), UnknownModel),
        (Request("a", "a/b", format="mp4"), UnknownFormat),
        (Request("a", "a/b", options={"x": object()}), InvalidRequest),
    ],
)
def test_bad_requests_are_refused_by_name(request_: Request, error: type[InvalidRequest]) -> None:
    with pytest.raises(error) as told:
        request_.check(100)
    assert not told.value.retryable
    assert told.value.code == error.code


@pytest.mark.parametrize("id", ["", "x" * 257, "a\nb", "a\x7f", "\ud800"])
def test_illegal_ids(id: str) -> None:
    with pytest.raises(IllegalId):
        check_id(id)


@pytest.mark.parametrize("id", ["a", "x" * 256, "a b/c:d%", "消息-١", "..", "~"])
def test_legal_ids_make_keys_that_lead_back(id: str) -> None:
    job = JobKeys("ten/ant", check_id(id))
    assert JobKeys.parse(job.name).id == id
    assert JobKeys.parse(job.name).namespace == "ten/ant"
    assert job.record.count(":") == 3
    parts = audio_object("ten/ant", id, "boot:1", "wav").split("/")
    assert all(part and part not in (".", "..") and len(part) <= 255 for part in parts)


def test_no_two_ids_share_a_key() -> None:
    ids = ["a/b", "a:b", "a%2Fb", "a b", "a", "..", "%2E%2E", "x" * 256, "x" * 255]
    assert len({JobKeys("n", id).record for id in ids}) == len(ids)
    assert len({audio_object("n", id, "t", "wav") for id in ids}) == len(ids)


def test_equal_digest_means_the_same_speech() -> None:
    assert GOOD.digest == Request("hello", "espeak/espeak-ng", lane="batch").digest  # type: ignore[arg-type]
    for other in (
        Request("hello!", "espeak/espeak-ng"),
        Request("hello", "espeak/other"),
        Request("hello", "espeak/espeak-ng", voice="de"),
        Request("hello", "espeak/espeak-ng", options={"rate": 200}),
        Request("hello", "espeak/espeak-ng", format="mp3"),
    ):
        assert other.digest != GOOD.digest


def test_a_record_of_a_newer_version_is_refused() -> None:
    with pytest.raises(NewerRecord, match="upgrade"):
        Record.decode("default", "x", {b"v": b"2", b"state": b"QUEUED"})


@pytest.mark.parametrize("language", ["", "de", "pt-BR", "German", "中文", "Norwegian (Bokmål)"])
def test_a_language_is_a_tag_or_a_name(language: str) -> None:
    Request("Hello.", "m/m", language=language).check(100)


@pytest.mark.parametrize("language", ["x" * 51, "d\x00e"])
def test_a_language_that_can_be_neither_is_refused(language: str) -> None:
    with pytest.raises(InvalidRequest, match="language="):
        Request("Hello.", "m/m", language=language).check(100)


def test_the_language_is_part_of_what_a_request_is() -> None:
    plain = Request("Hello.", "m/m")
    assert Request("Hello.", "m/m", language="de").digest != plain.digest
