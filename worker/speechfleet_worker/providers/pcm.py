"""Read PCM out of what a server sends: raw, or a WAV around it, at the rate that it tells."""

from __future__ import annotations

from speechfleet.audio import wav
from speechfleet.audio.media_type import shape_of
from speechfleet.errors import IncompleteAudio, ProviderError, RequestRejected
from speechfleet_worker.providers.base import Audio

LONGEST_HEADER_BYTES = 64 << 10
MAGIC_BYTES = 12
"""Bytes that tell one format from another."""
OTHER_FORMATS = {b"OggS": "Ogg", b"fLaC": "FLAC", b"ID3": "MP3"}


def unsupported_audio(error: ValueError) -> ProviderError:
    """Make the error for audio whose rate, channels or sample format the fleet does not take."""
    return RequestRejected(f"the server sent {error}", code="unsupported_audio")


class PcmReader:
    """Read the raw s16le PCM of one body, without I/O.

    The rate is that of a RIFF header, else of the media type, else the one declared. Raises
    RequestRejected for a media type whose rate is no speech.
    """

    def __init__(self, media_type: str, sample_rate: int) -> None:
        try:
            self._rate, self._channels = shape_of(media_type, sample_rate)
        except ValueError as error:
            raise unsupported_audio(error) from None
        self._head: bytes | None = b""
        self._left: int | None = None

    def feed(self, data: bytes) -> Audio | None:
        """Return the audio in the next bytes, None where there is none yet.

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
        """Return the bytes held back so far.

        Raises IncompleteAudio where a WAV ended before its size.
        """
        if self._left:
            raise IncompleteAudio(f"the WAV ended {self._left} bytes before its size")
        held, self._head = self._head, None
        if held and held.startswith(b"RIFF"):
            raise IncompleteAudio("the WAV ended within its header")
        return Audio(held, self._rate, self._channels) if held else None

    def _audio_after_header(self, head: bytes) -> bytes | None:
        """Return what follows the header, None where more is needed to tell."""
        if len(head) < MAGIC_BYTES:
            return None
        for magic, name in OTHER_FORMATS.items():
            if head.startswith(magic):
                raise RequestRejected(f"the server sent {name} where PCM was asked for")
        if not wav.is_wav(head):
            return head
        try:
            header = wav.stream_header(head)
        except ValueError as error:
            raise unsupported_audio(error) from None
        if header is None:
            if len(head) > LONGEST_HEADER_BYTES:
                raise IncompleteAudio("a WAV without audio")
            return None
        self._rate, self._channels, self._left = header.sample_rate, header.channels, header.size
        return head[header.start :]
