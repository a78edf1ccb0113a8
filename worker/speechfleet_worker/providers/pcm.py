"""What a server sends where PCM was asked for: PCM, or a WAV around it, at a rate it tells."""

from __future__ import annotations

import struct

from speechfleet.errors import IncompleteAudio, RequestRejected
from speechfleet_worker.providers.base import Audio, media_type_of

LONGEST_HEADER = 64 << 10
UNKNOWN_SIZE = 0x7FFF_0000
"""From here on, and 0, a streamed WAV means that it does not know its size."""
OTHER_FORMATS = {b"OggS": "Ogg", b"fLaC": "FLAC", b"ID3": "MP3"}


class PcmReader:
    """Raw s16le PCM out of one body, without I/O.

    The rate is, in this order, that of a RIFF header, of the media type, the one declared.
    """

    def __init__(self, media_type: str, sample_rate: int) -> None:
        self._rate, self._channels = media_type_of(media_type.lower(), sample_rate)
        self._head: bytes | None = b""
        self._left: int | None = None

    def feed(self, data: bytes) -> Audio | None:
        """The audio in the next bytes, None where there is none yet.

        Raises RequestRejected where the bytes are no PCM at all.
        """
        if self._head is not None:
            self._head += data
            found = self._audio_after_header(self._head)
            if found is None:
                return None
            data, self._head = found, None
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return Audio(data, self._rate, self._channels) if data else None

    def finish(self) -> Audio | None:
        """Bytes held back so far. Raises IncompleteAudio where a WAV ended before its size."""
        if self._left:
            raise IncompleteAudio(f"the WAV ended {self._left} bytes before its size")
        held, self._head = self._head, None
        if held and held.startswith(b"RIFF"):
            raise IncompleteAudio("the WAV ended within its header")
        return Audio(held, self._rate, self._channels) if held else None

    def _audio_after_header(self, head: bytes) -> bytes | None:
        """What follows the header, None where more is needed to tell."""
        if len(head) < 12:
            return None
        for magic, name in OTHER_FORMATS.items():
            if head.startswith(magic):
                raise RequestRejected(f"the server sent {name} where PCM was asked for")
        if not (head.startswith(b"RIFF") and head[8:12] == b"WAVE"):
            return head
        at = 12
        while len(head) >= at + 8:
            name, size = struct.unpack_from("<4sI", head, at)
            at += 8
            if name == b"data":
                self._left = None if size == 0 or size >= UNKNOWN_SIZE else size
                return head[at:]
            if name == b"fmt " and len(head) >= at + 16:
                self._read_format(head, at)
            at += size + size % 2
        if len(head) > LONGEST_HEADER:
            raise IncompleteAudio("a WAV without audio")
        return None

    def _read_format(self, head: bytes, at: int) -> None:
        code, self._channels, self._rate, _, _, bits = struct.unpack_from("<HHIIHH", head, at)
        # 0xFFFE is WAVE_FORMAT_EXTENSIBLE, which wraps plain PCM as a rule.
        if code not in (1, 0xFFFE) or bits != 16:
            raise RequestRejected(f"the server sent a WAV of format {code} with {bits} bits")
