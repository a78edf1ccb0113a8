"""A turn of Pipecat's ends, whatever becomes of its voice."""

from __future__ import annotations

from typing import cast

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

from speechfleet import AsyncClient
from speechfleet.integrations.pipecat import FleetTTSService


class Connected(FleetTTSService):
    """Knows whether there is a fleet before the first text comes."""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        assert self._connecting is not None
        await self._connecting


async def error_of_a_turn(service: FleetTTSService) -> str:
    """The first error that the pipeline hears of; the turn has ended."""
    turn = [LLMFullResponseStartFrame(), LLMTextFrame("Hello."), LLMFullResponseEndFrame()]
    down, up = await run_test(service, frames_to_send=turn)
    assert [type(frame) for frame in down][-2:] == [TTSStoppedFrame, LLMFullResponseEndFrame]
    error, *_ = [frame.error for frame in up if isinstance(frame, ErrorFrame)]
    return error


async def test_a_fleet_that_is_set_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", "nonsense://")
    assert "SPEECHFLEET_REDIS_URL" in await error_of_a_turn(Connected(model="espeak/espeak-ng"))


async def test_an_error_that_nobody_foresaw() -> None:
    class Nobody:
        """No client at all."""

    service = FleetTTSService(model="p/m", client=cast("AsyncClient", Nobody()))
    assert "AttributeError" in await error_of_a_turn(service)
