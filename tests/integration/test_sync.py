"""The client for programs without an event loop."""

from __future__ import annotations

import pytest

from speechfleet import Client
from speechfleet.errors import InvalidRequest


def test_a_closed_client_says_that_it_is_closed(redis_url: str) -> None:
    with Client(redis_url=redis_url) as fleet:
        pass
    with pytest.raises(InvalidRequest, match="closed") as refused:
        fleet.submit("Too late.", model="espeak/espeak-ng")
    assert refused.value.code == "client_closed"
