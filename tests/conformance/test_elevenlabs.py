"""ElevenLabs' adapter."""

from __future__ import annotations

from typing import Any

from speechfleet.settings import Timeouts
from speechfleet_worker.providers.elevenlabs import ElevenLabsTTSModel
from speechfleet_worker.testing.conformance import KEY, ProviderConformance
from speechfleet_worker.testing.elevenlabs_server import ElevenLabsServer
from speechfleet_worker.testing.wire import WireServer


class TestElevenLabs(ProviderConformance):
    def server(self, **settings: Any) -> WireServer:
        return ElevenLabsServer(**settings)

    def model(
        self,
        server: WireServer,
        *,
        stream: bool = True,
        timeouts: Timeouts | None = None,
        key: str = KEY,
    ) -> ElevenLabsTTSModel:
        return ElevenLabsTTSModel(key, stream=stream, base_url=server.url, timeouts=timeouts)
