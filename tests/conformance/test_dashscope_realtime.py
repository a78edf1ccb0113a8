"""DashScope realtime: the suite that every provider joins, over connected models.

`spoken` enters the model, so these go through `connect`, `synthesize` and `close`; whole texts
without `connect` have their own class.
"""

from __future__ import annotations

from typing import Any

from speechfleet.settings import Timeouts
from speechfleet.tts import TTSModelBase
from speechfleet_worker.providers.dashscope.connection import Mode
from speechfleet_worker.providers.dashscope.realtime import DashScopeRealtimeTTSModel
from speechfleet_worker.testing.conformance import KEY, ProviderConformance
from speechfleet_worker.testing.dashscope_realtime_server import PATH, DashScopeRealtimeServer
from speechfleet_worker.testing.wire import WireServer


class TestDashScopeRealtime(ProviderConformance):
    mode: Mode = "server_commit"

    def server(self, **settings: Any) -> WireServer:
        return DashScopeRealtimeServer(sentences=False, **settings)

    def model(
        self,
        server: WireServer,
        *,
        stream: bool = True,
        timeouts: Timeouts | None = None,
        key: str = KEY,
    ) -> TTSModelBase:
        return DashScopeRealtimeTTSModel(
            key,
            stream=stream,
            mode=self.mode,
            base_url=f"ws://127.0.0.1:{server.port}{PATH}",
            timeouts=timeouts,
        )


class TestDashScopeRealtimeInCommitMode(TestDashScopeRealtime):
    mode = "commit"


class _WholeTexts(DashScopeRealtimeTTSModel):
    """Told apart by what it supports, so that nobody connects it."""

    supports_streaming_input = False


class TestDashScopeRealtimeWholeTexts(TestDashScopeRealtime):
    def model(
        self,
        server: WireServer,
        *,
        stream: bool = True,
        timeouts: Timeouts | None = None,
        key: str = KEY,
    ) -> TTSModelBase:
        url = f"ws://127.0.0.1:{server.port}{PATH}"
        return _WholeTexts(key, stream=stream, base_url=url, timeouts=timeouts)
