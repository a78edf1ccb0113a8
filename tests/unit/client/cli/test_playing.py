"""Playing while audio is made, with a stand-in for the sound card."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest

from speechfleet.cli.playing import NoDevice, Player

FRAMES = 100


class MiniaudioError(Exception):
    pass


class Device:
    """Plays as fast as it is given something to play; keeps what it has played."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.played = b""
        self._closed = threading.Event()
        devices.append(self)

    def start(self, frames: Generator[bytes, int, None]) -> None:
        self._frames = frames
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def _play(self) -> None:
        while not self._closed.is_set():
            data = self._frames.send(FRAMES)
            assert len(data) == 2 * FRAMES
            self.played += data

    def close(self) -> None:
        self._closed.set()
        self._thread.join()


class Missing:
    def __init__(self, **settings: Any) -> None:
        raise MiniaudioError("failed to init device", -401)


devices: list[Device] = []


@pytest.fixture
def sound_card(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    devices.clear()
    stand_in = SimpleNamespace(
        PlaybackDevice=getattr(request, "param", Device),
        SampleFormat=SimpleNamespace(SIGNED16=2),
        MiniaudioError=MiniaudioError,
    )
    monkeypatch.setitem(sys.modules, "miniaudio", stand_in)


@pytest.mark.usefixtures("sound_card")
async def test_all_that_was_written_is_heard_in_order() -> None:
    player = Player(22_050)
    pieces = [bytes([n, 1]) * (37 * n) for n in range(1, 30)]
    try:
        for piece in pieces:
            player.write(piece)
            await asyncio.sleep(0)
        async with asyncio.timeout(60):
            await player.drain()
    finally:
        player.close()
    [device] = devices
    assert device.settings["sample_rate"] == 22_050
    assert device.settings["nchannels"] == 1
    # Where the audio was late there is silence between; here every sample but silence is odd.
    heard = [device.played[at : at + 2] for at in range(0, len(device.played), 2)]
    assert b"".join(sample for sample in heard if sample != b"\0\0") == b"".join(pieces)


@pytest.mark.parametrize("sound_card", [Missing], indirect=True)
async def test_no_device(sound_card: None, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoDevice, match="no audio device"):
        Player(22_050)
    assert capfd.readouterr().err == ""
