"""Counts of many processes add up, and mean what they meant."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from speechfleet.observability.metrics import ENDED, FIRST_AUDIO, METRICS, STORE, Tally, samples

LABELS = ("espeak/espeak-ng", "live")


def test_a_histogram_is_cumulative_and_ends_with_all_there_are() -> None:
    tally = Tally()
    for seconds in (0.001, 0.01, 0.02, 0.3, 1000.0):
        tally.observe(FIRST_AUDIO, *LABELS, seconds=seconds)
    [sample] = samples(tally.take())
    assert sample.labels == LABELS
    assert abs(sample.value - 1000.331) < 1e-6
    assert sample.cumulative[:3] == (2, 3, 3), "what is as long as the end belongs below it"
    assert sample.cumulative[-2:] == (4, 5)
    assert len(sample.cumulative) == len(FIRST_AUDIO.buckets) + 1


def test_what_was_taken_is_not_told_again_unless_it_is_put_back() -> None:
    tally = Tally()
    tally.add(ENDED, *LABELS, "FAILED", by=2)
    taken = tally.take()
    assert tally.take() == {}
    tally.put_back(taken)
    tally.add(ENDED, *LABELS, "FAILED")
    [sample] = samples(tally.take())
    assert (sample.metric, sample.value) == (ENDED, 3)


@given(st.lists(st.lists(st.floats(0, 100), max_size=20), max_size=5))
def test_many_processes_are_one(processes: list[list[float]]) -> None:
    together, sums = Tally(), Counter[str]()
    for process in processes:
        tally = Tally()
        for seconds in process:
            tally.observe(STORE, seconds=seconds)
            together.observe(STORE, seconds=seconds)
        sums.update(tally.take())
    assert samples(sums) == samples(together.take())


def test_counts_of_another_version_are_passed_over() -> None:
    assert samples({'["warp_speed","x",""]': 3, '["jobs_ended","too","few",""]': 3}) == []


def test_names_are_those_of_a_metric() -> None:
    assert all(name == metric.name for name, metric in METRICS.items())
