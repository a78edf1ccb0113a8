"""The voices of this machine under one name, on the real libraries."""

from __future__ import annotations

from typing import Any, ClassVar

from speechfleet.settings import Timeouts
from speechfleet_worker.providers.local import LocalTTSModel
from speechfleet_worker.testing.conformance import KEY, ModelConformance
from speechfleet_worker.testing.wire import NoServer, WireServer


class TestLocal(ModelConformance):
    concurrent: ClassVar[int] = 20

    def server(self, **settings: Any) -> WireServer:
        return NoServer(**settings)

    def model(
        self,
        server: WireServer,
        *,
        stream: bool = True,
        timeouts: Timeouts | None = None,
        key: str = KEY,
    ) -> LocalTTSModel:
        return LocalTTSModel(stream=stream, timeouts=timeouts)
