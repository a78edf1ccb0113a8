"""Plays audio on this machine's loudspeaker while it is made."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.errors import MissingExtra, SpeechFleetError

BUFFER_MS = 100


class NoDevice(SpeechFleetError):
    """This machine has no device that plays audio."""

    code = "no_device"


class Player:
    """Play s16le mono PCM as it is written. Making one opens the device, or raises NoDevice.

    Audio that comes too slowly is played with silence between; nothing is dropped.
    """

    def __init__(self, sample_rate: int) -> None:
        miniaudio = require_player()
        self._audio = bytearray()
        self._lock = threading.Lock()
        self._ended = False
        self._played = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        try:
            with _silenced():
                self._device = miniaudio.PlaybackDevice(
                    output_format=miniaudio.SampleFormat.SIGNED16,
                    nchannels=1,
                    sample_rate=sample_rate,
                    buffersize_msec=BUFFER_MS,
                    app_name="speechfleet",
                )
                frames = self._frames()
                next(frames)
                self._device.start(frames)
        except miniaudio.MiniaudioError:
            raise NoDevice("this machine has no audio device") from None

    def write(self, pcm: bytes) -> None:
        with self._lock:
            self._audio += pcm

    async def drain(self) -> None:
        """Wait until all audio has been played."""
        self._ended = True
        await self._played.wait()
        # What was handed over last lies in the device's own buffer still.
        await asyncio.sleep(2 * BUFFER_MS / 1000)

    def close(self) -> None:
        """Stop playing at once. Idempotent."""
        self._device.close()

    def _frames(self) -> Generator[bytes, int, None]:
        """Yield exactly as many frames as the device's thread asks for each time."""
        count = yield b""
        while True:
            size = count * BYTES_PER_SAMPLE
            with self._lock:
                data = bytes(self._audio[:size])
                del self._audio[:size]
            if self._ended and not data:
                self._loop.call_soon_threadsafe(self._played.set)
            count = yield data.ljust(size, b"\0")


def require_player() -> Any:
    """Return the library that plays audio. Raises MissingExtra."""
    try:
        return import_module("miniaudio")
    except ImportError:
        raise MissingExtra("playing audio", "play") from None


@contextmanager
def _silenced() -> Iterator[None]:
    """Hide what the sound system's C library writes to stderr about a missing device."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
