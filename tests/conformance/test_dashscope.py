"""DashScope over HTTP: the suite that every provider joins."""

from __future__ import annotations

from typing import Any

from speechfleet.settings import Timeouts
from speechfleet.tts import TTSModelBase
from speechfleet_worker.providers.dashscope.http import DashScopeTTSModel
from speechfleet_worker.testing.conformance import KEY, ProviderConformance
from speechfleet_worker.testing.dashscope_server import DashScopeServer
from speechfleet_worker.testing.wire import WireServer


class TestDashScope(ProviderConformance):
    def server(self, **settings: Any) -> WireServer:
        return DashScopeServer(**settings)

    def model(
        self,
        server: WireServer,
        *,
        stream: bool = True,
        timeouts: Timeouts | None = None,
        key: str = KEY,
    ) -> TTSModelBase:
        url = f"{server.url}/api/v1"
        return DashScopeTTSModel(key, stream=stream, base_url=url, timeouts=timeouts)
