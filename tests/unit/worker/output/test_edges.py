"""`EdgeFade`: edges that click are faded, all other audio is untouched."""

from __future__ import annotations

import random
from array import array
from itertools import pairwise
from math import pi, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechfleet_worker.output.edges import FADE_S, LEAST_STEP, EdgeFade
from speechfleet_worker.testing.wire import speech

RATE = 24_000
EDGE = round(FADE_S * RATE)


def faded(pcm: bytes, *cuts: int) -> bytes:
    fade, parts, at = EdgeFade(RATE), [], 0
    for cut in [*cuts, len(pcm)]:
        parts.append(fade.feed(pcm[at:cut]))
        at = cut
    done = b"".join([*parts, fade.flush()])
    assert fade.is_changed == (done != pcm)
    return done


def tone(phase: float, frames: int = 4800, amplitude: int = 9000) -> array[int]:
    step = 2 * pi * 150 / RATE
    return array("h", (int(amplitude * sin(phase + step * i)) for i in range(frames)))


def noise(frames: int) -> bytes:
    return random.Random(7).randbytes(2 * frames)


@pytest.mark.parametrize(
    "pcm",
    [
        b"",
        bytes(9600),
        speech("Hello."),
        noise(4800),
        tone(pi / 2, 4800, LEAST_STEP - 1).tobytes(),
    ],
    ids=["nothing", "silence", "speech between silences", "noise", "a faint tone"],
)
def test_what_does_not_click_stays_as_it_is(pcm: bytes) -> None:
    assert faded(pcm) == pcm
    assert faded(pcm, *range(480, len(pcm), 480)) == pcm


def test_edges_that_click_are_faded_and_nothing_else() -> None:
    pcm = tone(pi / 2)
    done = array("h", faded(pcm.tobytes()))
    assert len(done) == len(pcm)
    assert (done[0], done[-1]) == (0, 0)
    assert done[EDGE:-EDGE] == pcm[EDGE:-EDGE]
    steps = [abs(b - a) for a, b in pairwise(done)]
    assert max(steps) < 500
    assert max(abs(pcm[0]), abs(pcm[-1])) > 8000


def test_an_edge_is_faded_on_its_own() -> None:
    pcm = tone(0)
    done = array("h", faded(pcm.tobytes() + tone(0)[: EDGE // 3].tobytes()))
    assert done[:-EDGE] == (pcm + tone(0)[: EDGE // 3])[:-EDGE]
    assert done[-1] == 0


@given(cuts=st.lists(st.integers(EDGE, 4800 - EDGE), max_size=4))
def test_pieces_in_which_it_comes_make_no_difference(cuts: list[int]) -> None:
    pcm = tone(pi / 2).tobytes()
    assert faded(pcm, *(2 * cut for cut in sorted(cuts))) == faded(pcm)


@given(samples=st.lists(st.integers(-32768, 32767), min_size=2 * EDGE, max_size=600))
def test_length_is_kept_and_a_second_fade_changes_nothing_more(samples: list[int]) -> None:
    pcm = array("h", samples).tobytes()
    once = faded(pcm)
    assert len(once) == len(pcm)
    assert faded(once) == once


@pytest.mark.parametrize("frames", [1, 2, EDGE - 1, EDGE, EDGE + 1])
def test_audio_shorter_than_its_edges_keeps_its_length(frames: int) -> None:
    assert len(faded(tone(pi / 2, frames).tobytes())) == 2 * frames
