"""A service of Pipecat's that is written off: the turn goes on without a voice."""

from __future__ import annotations

import pytest
from pipecat.frames.frames import (
    ErrorFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    StartFrame,
    TTSStoppedFrame,
)
from pipecat.tests.utils import run_test

from speechfleet.integrations.pipecat import FleetTTSService


class Connected(FleetTTSService):
    """Knows whether there is a fleet before the first text comes."""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        assert self._connecting is not None
        await self._connecting


async def test_a_turn_ends_where_the_fleet_is_set_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", "nonsense://")
    turn = [LLMFullResponseStartFrame(), LLMTextFrame("Hello."), LLMFullResponseEndFrame()]
    down, up = await run_test(Connected(model="espeak/espeak-ng"), frames_to_send=turn)
    assert [type(frame) for frame in down][-2:] == [TTSStoppedFrame, LLMFullResponseEndFrame]
    [error] = [frame for frame in up if isinstance(frame, ErrorFrame)]
    assert "SPEECHFLEET_REDIS_URL" in error.error
