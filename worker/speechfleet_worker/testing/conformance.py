"""The suites that every model joins, built in or one's own.

    ModelConformance            what any model must do, a voice on this machine included
    └── ProviderConformance     and what one that calls a server must

A model joins with a class of a few lines; pytest and pytest-asyncio do the rest:

    class TestMine(ProviderConformance):
        def server(self, **settings):
            return MyWireServer(**settings)              # NoServer() for a local voice

        def model(self, server, *, stream=True, timeouts=None, key=KEY):
            return MyModel(api_key=key, base_url=server.url, stream=stream, timeouts=timeouts)

Each fault that the server knows is one test. What a provider maps differently it says by
overriding `expected`.
"""

from __future__ import annotations

import asyncio
import threading
from abc import abstractmethod
from base64 import b64decode
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import pairwise
from typing import Any, ClassVar

import pytest

from speechfleet.audio.media_type import shape_of
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
from speechfleet.tts import Msg, TTSModelBase, TTSResponse
from speechfleet_worker.providers.base import capabilities_of
from speechfleet_worker.testing.wire import DeafServer, Fault, WireServer, speech

KEY = "sk-conformance-5f3a"

FAULTS = (
    Fault("status", 400, "invalid_parameter"),
    Fault("status", 401, "invalid_api_key"),
    Fault("status", 403, "forbidden"),
    Fault("status", 404, "model_not_found"),
    Fault("status", 429, "rate_limit", retry_after="7"),
    Fault("status", 500, "internal"),
    Fault("status", 503, "unavailable"),
    Fault("drop_before"),
    Fault("drop_middle"),
    Fault("early_end"),
    Fault("malformed_frame"),
    Fault("error_frame"),
    Fault("json_error_200"),
    Fault("empty_body"),
    Fault("odd_bytes"),
)
STATUSES: dict[int, type[ProviderError]] = {
    400: RequestRejected,
    401: AuthenticationFailed,
    403: AuthenticationFailed,
    404: RequestRejected,
    429: RateLimited,
    500: ProviderUnavailable,
    503: ProviderUnavailable,
}
HARMLESS = (Fault("giant_frame"), Fault("wrong_rate", rate=16_000))
SLOW = 60.0
"""A pace at which no speech ends while a test runs: a minute for each of its seconds."""
PATIENT = Timeouts(connect=240.0, first_audio=240.0, silence=240.0)
"""Of calls that are many at once, on a machine that does more than that."""


class ModelConformance:
    """Tests that any model must pass. See the module's docstring for how to join."""

    pytestmark = pytest.mark.asyncio

    text: ClassVar[str] = "Hello, world. This is a sentence, and here is another one."
    threads: ClassVar[int] = 0
    """Threads that the adapter may add at most, for any number of calls."""
    concurrent: ClassVar[int] = 50

    @abstractmethod
    def server(self, **settings: Any) -> WireServer:
        """Make a server that is not running yet; ``settings`` are those of WireServer."""

    @abstractmethod
    def model(
        self,
        server: WireServer,
        *,
        stream: bool = True,
        timeouts: Timeouts | None = None,
        key: str = KEY,
    ) -> TTSModelBase:
        """Make a model that calls ``server``."""

    async def test_responses_accumulate_and_the_last_is_flagged(self) -> None:
        async with self.server() as server:
            responses = await spoken(self.model(server), self.text)
        assert [r.is_last for r in responses] == [False] * (len(responses) - 1) + [True]
        audio = [bytes(r.audio_from(0)) for r in responses]
        assert all(b.startswith(a) for a, b in pairwise(audio))
        assert audio[-1]
        assert len(audio[-1]) % 2 == 0
        assert all(r["is_last"] is r.is_last for r in responses)

    async def test_base64_is_prefix_stable_and_decodes_to_the_audio(self) -> None:
        async with self.server() as server:
            responses = await spoken(self.model(server), self.text)
        data = [r.content["source"]["data"] for r in responses if r.content]
        assert all(b.startswith(a) for a, b in pairwise(data))
        assert b64decode(data[-1]) == bytes(responses[-1].audio_from(0))

    async def test_whole_equals_streamed(self) -> None:
        async with self.server() as server:
            streamed = (await spoken(self.model(server), self.text))[-1]
            whole = await spoken(self.model(server, stream=False), self.text)
        assert [response.is_last for response in whole] == [True]
        assert bytes(whole[0].audio_from(0)) == bytes(streamed.audio_from(0))
        assert whole[0].media_type == streamed.media_type

    @pytest.mark.parametrize("content", ["", None, "  \n"], ids=["empty", "none", "white"])
    async def test_no_text_is_no_call_and_no_audio(self, content: str | None) -> None:
        async with self.server() as server:
            streamed = await spoken(self.model(server), content)
            whole = await spoken(self.model(server, stream=False), content)
            assert not server.characters
        for responses in (streamed, whole):
            assert [(r.content, r.is_last) for r in responses] == [(None, True)]

    async def test_limits_are_declared(self) -> None:
        async with self.server() as server:
            declared = capabilities_of(self.model(server))
        assert declared.input_limit > 0
        assert declared.sample_rate >= 8000
        assert declared.unit in ("characters", "bytes", "tokens")
        assert 0 < declared.count("word") <= declared.count("word word")
        assert declared.count("") == 0

    async def test_many_calls_run_at_once_without_more_threads(self) -> None:
        texts = [f"This is text number {number}." for number in range(self.concurrent)]
        async with self.server() as server:
            await spoken(self.model(server), self.text)
            before = threading.active_count()
            server.may_speak.clear()  # the first call waits for the last
            models = [self.model(server, timeouts=PATIENT) for _ in texts]
            calls = [
                asyncio.ensure_future(spoken(model, text))
                for model, text in zip(models, texts, strict=True)
            ]
            await self.all_at_once(server)
            server.may_speak.set()
            answers = await asyncio.gather(*calls)
            assert threading.active_count() - before <= self.threads
            for text, answer in zip(texts, answers, strict=True):
                self.check_audio(server, text, answer[-1])

    async def all_at_once(self, server: WireServer) -> None:
        """Wait until all calls of the test run; nothing shows that without a server."""

    def check_audio(self, server: WireServer, text: str, response: TTSResponse) -> None:
        """Check that ``response`` speaks ``text``; without a server, any audio does."""
        assert response.content is not None


class ProviderConformance(ModelConformance):
    """Tests of a model that calls a server: truth, errors, time-outs, leaving."""

    def expected(self, fault: Fault) -> tuple[type[ProviderError], ...]:
        """Return the errors that ``fault`` may lead to; they say if they are retryable."""
        if fault.kind == "status":
            return (STATUSES[fault.status],)
        return (ProviderUnavailable, IncompleteAudio)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        for name, faults in (("fault", FAULTS), ("harmless", HARMLESS)):
            if name in metafunc.fixturenames:
                known = [fault for fault in faults if fault.kind in self.server().faults]
                metafunc.parametrize(name, known, ids=lambda f: f"{f.kind}-{f.status}")

    async def all_at_once(self, server: WireServer) -> None:
        await server.until(
            lambda s: sum(call.outcome == "open" for call in s.calls) == self.concurrent,
            timeout=240.0,
        )

    def check_audio(self, server: WireServer, text: str, response: TTSResponse) -> None:
        assert bytes(response.audio_from(0)) == speech(text, server.sample_rate)
        assert shape_of(response.media_type) == (server.sample_rate, 1)

    async def test_the_audio_is_what_was_sent(self) -> None:
        async with self.server() as server:
            self.check_audio(server, self.text, (await spoken(self.model(server), self.text))[-1])
            assert [call.text for call in server.calls] == [self.text]
            assert server.characters == server.count(self.text)

    async def test_odd_but_legal_answers_are_spoken(self, harmless: Fault) -> None:
        text = "word " * 40
        async with self.server() as server:
            server.script(harmless)
            last = (await spoken(self.model(server), text))[-1]
            rate = harmless.rate if harmless.kind == "wrong_rate" else server.sample_rate
            assert bytes(last.audio_from(0)) == speech(text, rate)
            assert shape_of(last.media_type) == (rate, 1)

    async def test_faults_become_errors_and_the_model_lives_on(self, fault: Fault) -> None:
        async with self.server() as server:
            server.script(fault)
            expected = self.expected(fault)
            model = self.model(server)
            with pytest.raises(expected) as raised:
                await spoken(model, self.text)
            if fault.retry_after:
                assert raised.value.retry_after == float(fault.retry_after)
            assert raised.value.retryable is type(raised.value).retryable
            assert len(server.calls) == 1, "the adapter must not retry by itself"
            self.check_audio(server, self.text, (await spoken(model, self.text))[-1])

    async def test_no_secret_in_an_error_or_a_representation(self) -> None:
        async with self.server() as server:
            server.script(Fault("status", 401, "invalid_api_key", f"Incorrect API key: {KEY}"))
            model = self.model(server, key=KEY)
            with pytest.raises(AuthenticationFailed) as raised:
                await spoken(model, self.text)
            assert server.calls[0].key == KEY, "the key has to reach the server"
        for text in (str(raised.value), repr(raised.value), repr(model)):
            assert KEY not in text
        assert raised.value.__cause__ is None
        assert raised.value.__suppress_context__

    async def test_timeout_before_the_first_audio(self) -> None:
        fault = Fault("slow_first_byte")
        await self._times_out(Timeouts(first_audio=2.0), fault, "first audio")

    async def test_timeout_in_the_middle(self) -> None:
        await self._times_out(Timeouts(silence=0.3), Fault("stall"), "silence")

    async def test_timeout_of_the_whole_call(self) -> None:
        await self._times_out(Timeouts(call=2.0), None, "whole call", pace=SLOW)

    async def test_timeout_of_connecting(self) -> None:
        async with DeafServer() as server:
            model = self.model(server, timeouts=Timeouts(connect=0.3))
            with pytest.raises(ProviderTimeout, match="connect"):
                await spoken(model, self.text)

    async def _times_out(
        self, timeouts: Timeouts, fault: Fault | None, which: str, **settings: Any
    ) -> None:
        async with self.server(**settings) as server:
            # The import of an SDK and the making of its client are no part of the time-out.
            pace, server.pace = server.pace, 0.0
            await spoken(self.model(server), "Hi")
            server.pace = pace
            while len(server.calls) < 2:  # on a busy machine a call ends before it is seen
                server.script(fault)
                with pytest.raises(ProviderTimeout, match=which):
                    await spoken(self.model(server, timeouts=timeouts), self.text)
            await server.until(lambda s: s.calls[1].outcome == "aborted")

    async def test_cancelling_in_mid_stream_closes_the_connection_at_once(self) -> None:
        async with self.server(pace=SLOW) as server, self.model(server) as model:
            responses = await started(model, self.text)
            assert (await anext(responses)).content is not None
            await responses.aclose()
            await server.until(lambda s: s.calls[0].outcome == "aborted")
            sent = server.calls[0].bytes_sent
            assert sent < len(speech(self.text, server.sample_rate)) / 2

    async def test_a_cancelled_task_closes_the_connection_at_once(self) -> None:
        async with self.server() as server:
            server.script(Fault("stall"))
            task = asyncio.ensure_future(spoken(self.model(server), self.text))
            await server.until(lambda s: bool(s.calls) and s.calls[0].bytes_sent > 0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.until(lambda s: s.calls[0].outcome == "aborted")


async def started(model: TTSModelBase, text: str | None) -> AsyncGenerator[TTSResponse, None]:
    """Start a call of a model built with ``stream=True``; return its responses."""
    responses = await model.synthesize(Msg("assistant", text))
    assert isinstance(responses, AsyncGenerator), "stream=True must give an async generator"
    return responses


async def spoken(model: TTSModelBase, text: str | None) -> list[TTSResponse]:
    """Collect every response to one message, from connecting to closing."""
    async with model:
        if not model.stream:
            response = await model.synthesize(Msg("assistant", text))
            assert isinstance(response, TTSResponse), "stream=False must give one response"
            return [response]
        async with aclosing(await started(model, text)) as responses:
            return [response async for response in responses]
