"""LiveKit tries a whole text again, except where the listener has heard its beginning."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from livekit.agents import APIConnectOptions, APIStatusError

from speechfleet.errors import JobFailed
from speechfleet.integrations.fleet_voice import FleetVoice, Spoken
from speechfleet.integrations.livekit import FleetTTS

OPTIONS = APIConnectOptions(max_retry=2, retry_interval=0.0)


@pytest.mark.parametrize(
    ("audio", "tries"), [(bytes(4800), 1), (b"", 3)], ids=["in mid-sentence", "before audio"]
)
async def test_a_failed_text(audio: bytes, tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    async def speak_text(
        _: FleetVoice, text: str, *, id: str, timeout: float
    ) -> AsyncGenerator[Spoken, None]:
        tried.append(id)
        yield Spoken(audio, 0.0, ())
        raise JobFailed("lost", code="provider_unavailable")

    monkeypatch.setattr(FleetVoice, "speak_text", speak_text)
    with pytest.raises(APIStatusError, match="provider_unavailable"):
        await FleetTTS("p/m").synthesize("Hello.", conn_options=OPTIONS).collect()
    assert len(tried) == tries
