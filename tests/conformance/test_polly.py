"""Amazon Polly's adapter."""

from __future__ import annotations

from typing import Any

from speechfleet.settings import Timeouts
from speechfleet_worker.providers.polly import PollyTTSModel
from speechfleet_worker.testing.conformance import KEY, ProviderConformance
from speechfleet_worker.testing.polly_server import PollyServer
from speechfleet_worker.testing.wire import WireServer


class TestPolly(ProviderConformance):
    threads = 40  # of the loop's own pool, which sign requests

    def server(self, **settings: Any) -> WireServer:
        return PollyServer(**settings)

    def model(
        self,
        server: WireServer,
        *,
        stream: bool = True,
        timeouts: Timeouts | None = None,
        key: str = KEY,
    ) -> PollyTTSModel:
        return PollyTTSModel(
            stream=stream,
            base_url=server.url,
            region="eu-west-1",
            access_key=key,
            secret_key=f"secret-{key}",
            timeouts=timeouts,
        )
