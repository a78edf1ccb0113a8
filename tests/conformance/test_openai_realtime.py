"""OpenAI's realtime models as voices, on the real SDK."""

from __future__ import annotations

from typing import Any

from speechfleet.settings import Timeouts
from speechfleet_worker.providers.openai_realtime import OpenAIRealtimeTTSModel
from speechfleet_worker.testing.conformance import KEY, ProviderConformance
from speechfleet_worker.testing.openai_realtime_server import OpenAIRealtimeServer
from speechfleet_worker.testing.wire import WireServer


class TestOpenAIRealtime(ProviderConformance):
    def server(self, **settings: Any) -> WireServer:
        return OpenAIRealtimeServer(**settings)

    def model(
        self,
        server: WireServer,
        *,
        stream: bool = True,
        timeouts: Timeouts | None = None,
        key: str = KEY,
    ) -> OpenAIRealtimeTTSModel:
        return OpenAIRealtimeTTSModel(
            key,
            "gpt-realtime-2.1-mini",
            stream=stream,
            base_url=f"{server.url}/v1",
            timeouts=timeouts,
        )
