"""The settings of a worker process, by what it serves."""

from __future__ import annotations

import pytest

from speechfleet.settings import Settings, Timeouts
from speechfleet_worker.run import with_listeners


@pytest.mark.parametrize(("silence", "expected"), [(20.0, 3.0), (1.5, 1.5)], ids=["long", "short"])
def test_a_session_waits_for_the_shorter_silence(silence: float, expected: float) -> None:
    timeouts = Timeouts(connect=1.0, first_audio=9.0, silence=silence, call=90.0)
    changed = with_listeners(Settings(timeouts=timeouts)).timeouts
    assert changed == Timeouts(connect=1.0, first_audio=9.0, silence=expected, call=90.0)
