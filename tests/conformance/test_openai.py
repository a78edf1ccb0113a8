"""OpenAI's adapter, on its real SDK, over raw PCM and over server-sent events."""

from __future__ import annotations

from typing import Any, ClassVar

from speechfleet.settings import Timeouts
from speechfleet_worker.providers.openai import OpenAIOptions, OpenAITTSModel
from speechfleet_worker.testing.conformance import KEY, ProviderConformance
from speechfleet_worker.testing.openai_server import OpenAIServer
from speechfleet_worker.testing.wire import WireServer


class TestOpenAI(ProviderConformance):
    options: ClassVar[dict[str, Any]] = {}

    def server(self, **settings: Any) -> WireServer:
        return OpenAIServer(**settings)

    def model(
        self,
        server: WireServer,
        *,
        stream: bool = True,
        timeouts: Timeouts | None = None,
        key: str = KEY,
    ) -> OpenAITTSModel:
        return OpenAITTSModel(
            key,
            stream=stream,
            base_url=f"{server.url}/v1",
            timeouts=timeouts,
            options=OpenAIOptions(**self.options),
        )


class TestOpenAIEvents(TestOpenAI):
    options: ClassVar[dict[str, Any]] = {"stream_format": "sse"}


class TestOpenAIWav(TestOpenAI):
    options: ClassVar[dict[str, Any]] = {"response_format": "wav"}
