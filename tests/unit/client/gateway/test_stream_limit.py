"""Streams that each key may have open."""

from __future__ import annotations

import pytest

from speechfleet.gateway.errors import TooManyStreams
from speechfleet.gateway.stream_limit import StreamLimit


def test_streams_are_given_back_also_after_an_error() -> None:
    streams = StreamLimit(1)
    with (
        pytest.raises(TooManyStreams),
        streams.stream("a"),
        streams.stream("b"),
        streams.stream("a"),
    ):
        pass
    assert streams.total == 0
