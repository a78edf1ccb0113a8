"""Takes of a segment: which is chosen, which may share audio, and that they survive the record."""

import pytest

from speechfleet.errors import InvalidRequest
from speechfleet.takes import MAX_TAKES, SegmentTakes, Take, decode_takes, encode_takes


def test_a_new_take_is_chosen_and_all_are_kept() -> None:
    takes = SegmentTakes().with_take(Take(voice="nova"))
    assert takes == SegmentTakes((Take(), Take(voice="nova")), 1)


def test_an_equal_take_does_not_reuse_the_audio_of_the_first() -> None:
    takes = SegmentTakes().with_take(Take()).with_take(Take(text="a")).with_take(Take())
    assert [take.salt for take in takes.takes] == ["", "take=1", "", "take=2"]


def test_they_survive_the_record() -> None:
    takes = {7: SegmentTakes().with_take(Take("v", "täxt", {"seed": 3})), 2: SegmentTakes()}
    assert decode_takes(encode_takes(takes)) == takes
    assert decode_takes("") == {}


def test_there_is_an_end_to_them() -> None:
    takes = SegmentTakes((Take(),) * MAX_TAKES)
    with pytest.raises(InvalidRequest, match="at most 100 takes"):
        takes.with_take(Take())
