"""espeak-ng's adapter, on the real library."""

from __future__ import annotations

from typing import Any

from speechfleet.settings import Timeouts
from speechfleet_worker.providers.espeak.model import EspeakTTSModel
from speechfleet_worker.testing.conformance import KEY, PATIENT, ModelConformance, spoken
from speechfleet_worker.testing.wire import NoServer, WireServer


class TestEspeak(ModelConformance):
    def server(self, **settings: Any) -> WireServer:
        return NoServer(**settings)

    def model(
        self,
        server: WireServer,
        *,
        stream: bool = True,
        timeouts: Timeouts | None = None,
        key: str = KEY,
    ) -> EspeakTTSModel:
        return EspeakTTSModel(stream=stream, timeouts=timeouts or PATIENT)

    async def test_whole_equals_streamed(self) -> None:
        # The library's output varies a little from call to call.
        async with self.server() as server:
            streamed = (await spoken(self.model(server), self.text))[-1]
            whole = await spoken(self.model(server, stream=False), self.text)
        assert [response.is_last for response in whole] == [True]
        assert abs(len(whole[0].audio_from(0)) / len(streamed.audio_from(0)) - 1) < 0.05
        assert whole[0].media_type == streamed.media_type == "audio/pcm;rate=22050"
