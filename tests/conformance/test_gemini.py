"""Gemini's adapter, on its real SDK."""

from __future__ import annotations

from typing import Any

from speechfleet.settings import Timeouts
from speechfleet_worker.providers.gemini import GeminiTTSModel
from speechfleet_worker.testing.conformance import KEY, ProviderConformance
from speechfleet_worker.testing.gemini_server import GeminiServer
from speechfleet_worker.testing.wire import WireServer


class TestGemini(ProviderConformance):
    def server(self, **settings: Any) -> WireServer:
        return GeminiServer(**settings)

    def model(
        self,
        server: WireServer,
        *,
        stream: bool = True,
        timeouts: Timeouts | None = None,
        key: str = KEY,
    ) -> GeminiTTSModel:
        return GeminiTTSModel(key, stream=stream, base_url=server.url, timeouts=timeouts)
