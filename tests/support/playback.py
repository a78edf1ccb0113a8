"""A listener who hears audio in real time, as fast as it comes and no faster."""

from __future__ import annotations

import time


class Playback:
    """Notes what was heard. ``longest_pause``: seconds of silence within it, of the longest."""

    def __init__(self) -> None:
        self.pcm = bytearray()
        self.longest_pause = 0.0
        self.began_at = 0.0
        """When the first piece came, by `time.monotonic`."""
        self._free_at = 0.0

    def play(self, audio: bytes, seconds: float) -> None:
        """Play a piece behind what is playing."""
        now = time.monotonic()
        if not self.pcm:
            self.began_at = now
        elif self._free_at:
            self.longest_pause = max(self.longest_pause, now - self._free_at)
        self.pcm += audio
        self._free_at = max(now, self._free_at) + seconds

    def end(self) -> None:
        """Begin a new speech: the silence before it is no pause."""
        self._free_at = 0.0

    @property
    def seconds_left(self) -> float:
        """Seconds that are still to be heard of what came."""
        return max(0.0, self._free_at - time.monotonic())
