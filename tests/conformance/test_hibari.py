"""hibari's adapter, on the real library."""

from __future__ import annotations

from typing import Any, ClassVar

from speechfleet.settings import Timeouts
from speechfleet_worker.providers.hibari.model import HibariTTSModel
from speechfleet_worker.testing.conformance import KEY, PATIENT, ModelConformance
from speechfleet_worker.testing.wire import NoServer, WireServer


class TestHibari(ModelConformance):
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
    ) -> HibariTTSModel:
        return HibariTTSModel(stream=stream, timeouts=timeouts or PATIENT)
