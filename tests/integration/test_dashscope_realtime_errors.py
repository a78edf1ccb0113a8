"""DashScope realtime: how sessions end, and that the next message is spoken all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from speechfleet.errors import (
    AuthenticationFailed,
    IncompleteAudio,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
)
from speechfleet.settings import Timeouts
from speechfleet_worker.testing.dashscope_realtime_server import DashScopeRealtimeServer
from speechfleet_worker.testing.wire import Fault, speech
from tests.support.dashscope_speech import KEY, audio_of, model_of, msg, rest

pytestmark = pytest.mark.usefixtures("rehearsed")


@pytest.mark.parametrize(
    ("fault", "kind", "retryable"),
    [
        (Fault("status", 401), AuthenticationFailed, False),
        (Fault("status", 403), AuthenticationFailed, False),
        (Fault("status", 429, retry_after="3"), RateLimited, True),
        (Fault("status", 503), ProviderUnavailable, True),
        (Fault("drop_before"), ProviderUnavailable, True),
    ],
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, Fault) else "",
)
async def test_a_refused_handshake_is_an_error_at_once(
    fault: Fault, kind: type[ProviderError], retryable: bool
) -> None:
    async with DashScopeRealtimeServer() as server:
        server.script(fault)
        model = model_of(server)
        async with asyncio.timeout(60):
            with pytest.raises(kind) as raised:
                await model.connect()
        assert raised.value.retryable is retryable
        assert raised.value.retry_after == (3.0 if fault.retry_after else None)
        with pytest.raises(RuntimeError, match="not connected"):
            await model.push(msg("Hello."))
        async with model:
            assert await audio_of(model, msg("Hello.")) == speech("Hello.")


@pytest.mark.parametrize(
    ("fault", "kind", "retryable"),
    [
        (Fault("error_frame", 400, "invalid_value"), RequestRejected, False),
        (Fault("error_frame", 500, "internal_error"), ProviderUnavailable, True),
        (Fault("error_frame", 429, "rate_limit_exceeded"), RateLimited, True),
        (Fault("drop_middle"), ProviderUnavailable, True),
        (Fault("close_1011"), ProviderUnavailable, True),
        (Fault("early_end"), ProviderUnavailable, True),
        (Fault("malformed_frame"), ProviderUnavailable, True),
        (Fault("odd_bytes"), IncompleteAudio, True),
        (Fault("stall"), ProviderTimeout, True),
    ],
    ids=lambda value: f"{value.kind}-{value.code}" if isinstance(value, Fault) else "",
)
async def test_what_ends_a_session_is_raised_and_the_next_message_is_spoken(
    fault: Fault, kind: type[ProviderError], retryable: bool
) -> None:
    async with DashScopeRealtimeServer() as server:
        server.script(fault)
        patient = Timeouts(silence=60.0)
        silence = 2.0 if fault.kind == "stall" else 60.0
        async with model_of(server, timeouts=Timeouts(silence=silence)) as model:
            responses = await model.synthesize(msg("Hello, world."))
            assert isinstance(responses, AsyncGenerator)
            with pytest.raises(kind) as raised:
                assert not [response async for response in responses]
            assert raised.value.retryable is retryable
            model.timeouts = patient
            assert await audio_of(model, msg("Hello.", id="m2")) == speech("Hello.")


async def test_an_error_while_pushing_is_raised_by_push() -> None:
    async with DashScopeRealtimeServer() as server:
        server.script(Fault("error_frame", 400, "invalid_value"))
        async with model_of(server) as model:
            await model.push(msg("One. Two"))
            assert model._session is not None
            await model._session._reader
            with pytest.raises(RequestRejected):
                await model.push(msg("One. Two. Three"))


async def test_a_refused_voice_is_raised() -> None:
    async with DashScopeRealtimeServer() as server:
        with pytest.raises(RequestRejected, match="voice") as raised:
            await rest(model_of(server, voice="nobody"), msg("Hello."))
        assert raised.value.provider_code == "invalid_value"


async def test_a_session_that_was_closed_idle_is_opened_again() -> None:
    async with DashScopeRealtimeServer() as server:
        server.script(Fault("close_idle"))
        async with model_of(server) as model:
            assert model._session is not None
            await model._session._reader
            await model.push(msg("Hel"))
            assert await audio_of(model, msg("Hello.")) == speech("Hello.")
        assert len(server.calls) == 2


async def test_a_model_that_is_closed_while_it_connects_leaves_nothing_open() -> None:
    async with DashScopeRealtimeServer() as server:
        model = model_of(server)
        connecting = asyncio.create_task(model.connect())
        await server.until(lambda s: bool(s.calls))
        await model.close()
        with pytest.raises(RuntimeError, match="closed while"):
            await connecting
        await server.until(lambda s: s.calls[0].outcome == "aborted", timeout=60)


async def test_a_key_that_is_quoted_is_struck_out() -> None:
    async with DashScopeRealtimeServer() as server:
        server.script(Fault("error_frame", 401, "invalid_api_key", f"bad key {KEY}"))
        with pytest.raises(AuthenticationFailed, match=r"bad key \*\*\*") as raised:
            await rest(model_of(server), msg("Hello."))
        assert KEY not in repr(raised.value)
