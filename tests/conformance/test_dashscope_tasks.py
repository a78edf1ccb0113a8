"""CosyVoice and Qwen-Audio-TTS by DashScope's task protocol, over whole texts and pushed ones."""

from __future__ import annotations

from typing import Any

from speechfleet.settings import Timeouts
from speechfleet.tts import TTSModelBase
from speechfleet_worker.providers.dashscope.cosyvoice import (
    DashScopeCosyVoiceRealtimeTTSModel,
    DashScopeCosyVoiceTTSModel,
)
from speechfleet_worker.testing.conformance import KEY, ProviderConformance
from speechfleet_worker.testing.dashscope_task_server import PATH, DashScopeTaskServer
from speechfleet_worker.testing.wire import WireServer


class TestDashScopeTasks(ProviderConformance):
    def server(self, **settings: Any) -> WireServer:
        return DashScopeTaskServer(**settings)

    def model(
        self,
        server: WireServer,
        *,
        stream: bool = True,
        timeouts: Timeouts | None = None,
        key: str = KEY,
    ) -> TTSModelBase:
        return DashScopeCosyVoiceTTSModel(
            key, stream=stream, base_url=f"ws://127.0.0.1:{server.port}{PATH}", timeouts=timeouts
        )


class TestDashScopeTasksOfPushedTexts(TestDashScopeTasks):
    def model(
        self,
        server: WireServer,
        *,
        stream: bool = True,
        timeouts: Timeouts | None = None,
        key: str = KEY,
    ) -> TTSModelBase:
        return DashScopeCosyVoiceRealtimeTTSModel(
            key, stream=stream, base_url=f"ws://127.0.0.1:{server.port}{PATH}", timeouts=timeouts
        )
