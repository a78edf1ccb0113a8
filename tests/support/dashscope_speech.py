"""How the tests of DashScope realtime speak: models, messages, and all the audio of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from speechfleet.tts import Msg, TTSResponse
from speechfleet_worker.providers.dashscope.realtime import DashScopeRealtimeTTSModel
from speechfleet_worker.testing.dashscope_realtime_server import DashScopeRealtimeServer

KEY = "sk-realtime-31"


def model_of(server: DashScopeRealtimeServer, **settings: Any) -> DashScopeRealtimeTTSModel:
    return DashScopeRealtimeTTSModel(
        **{"api_key": KEY, "base_url": server.websocket_url, **settings}
    )


def msg(content: str | None, id: str = "m1") -> Msg:
    return Msg("assistant", content, id=id)


async def rest(model: DashScopeRealtimeTTSModel, message: Msg | None) -> list[TTSResponse]:
    responses = await model.synthesize(message)
    assert isinstance(responses, AsyncGenerator)
    return [response async for response in responses]


async def audio_of(model: DashScopeRealtimeTTSModel, message: Msg | None) -> bytes:
    return bytes((await rest(model, message))[-1].audio_from(0))


async def pushed_until(
    model: DashScopeRealtimeTTSModel, message: Msg, enough: Callable[[TTSResponse], bool]
) -> TTSResponse:
    """Push the same text again, which sends nothing, until its answer is as wanted."""
    assert model._session is not None
    async with asyncio.timeout(60):
        while not enough(response := await model.push(message)):
            await asyncio.wait([model._session._reader], timeout=0.001)
    return response
