"""Numbers, and what Python takes for one."""

from __future__ import annotations

import pytest

from speechfleet.json_numbers import is_number, is_whole_number


@pytest.mark.parametrize(
    ("value", "number", "whole"),
    [(1, True, True), (-2.5, True, False), (True, False, False), ("1", False, False),
     (None, False, False)],
    ids=["whole", "fraction", "true", "text", "nothing"],
)  # fmt: skip
def test_true_and_text_are_no_numbers(value: object, number: bool, whole: bool) -> None:
    assert (is_number(value), is_whole_number(value)) == (number, whole)
