"""What a request may hold beside its text."""

from __future__ import annotations

from typing import Any

import pytest

from speechfleet.bounds import OPTION_VALUES
from speechfleet.errors import InvalidRequest
from speechfleet.request import Request


def request(**fields: Any) -> Request:
    return Request(**{"text": "Hi.", "model": "a/b", **fields})


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"model": "a/" + "b" * 255}, id="model"),
        pytest.param({"voice": "v" * 257}, id="voice"),
        pytest.param({"name": "n" * 2_000_000}, id="speaker"),
        pytest.param({"options": {"o" * 257: 1}}, id="option-name"),
        pytest.param({"options": {"a": {"o" * 257: 1}}}, id="inner-name"),
        pytest.param({"options": {"a": "x" * 10_001}}, id="option-value"),
        pytest.param({"options": {"a": [1] * 2000}}, id="many-values"),
        pytest.param({"options": {str(n): n for n in range(OPTION_VALUES)}}, id="many-options"),
        pytest.param({"options": {"a": 10**400}}, id="huge-integer"),
        pytest.param({"options": {"a": [{"b": -(10**20)}]}}, id="huge-inner-integer"),
        pytest.param({"options": {"a": float("inf")}}, id="infinite"),
        pytest.param({"options": {"a": [[[[[[[[[1]]]]]]]]]}}, id="deep"),
    ],
)
def test_what_is_beyond_all_bounds_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request(**fields).check(1000)
    assert len(caught.value.message) < 300


def test_what_is_within_the_bounds_is_taken() -> None:
    options = {
        "instructions": "x" * 4096,
        "seed": 2**53 - 1,
        "speed": 1.5,
        "cache": True,
        "speakers": {"Ann": "Kore", "Bob": "Puck"},
        "none": None,
    }
    request(model="a/" + "b" * 254, voice="v" * 256, options=options).check(1000)
