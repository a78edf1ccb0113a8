"""The audio of an utterance as messages: where sentences begin and end in it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.audio.codecs import EncoderTask
from speechfleet.chunks import Chunk
from speechfleet.gateway.sockets.json_socket import FRAME_BYTES, JsonSocket
from speechfleet.gateway.sockets.text_config import TextConfig
from speechfleet.words import Mark


class SentenceEvents:
    """Send ``audio.start``, audio and ``audio.done`` for each sentence, or once for all.

    ``about``: fields of every message; ``text``: what the utterance says so far; ``skip``: bytes
    of PCM that the client has already.
    """

    def __init__(
        self,
        socket: JsonSocket,
        config: TextConfig,
        about: Mapping[str, Any],
        text: Callable[[], str],
        *,
        skip: int = 0,
        tenant: str = "",
    ) -> None:
        self._socket = socket
        self._config = config
        self._about = about
        self._text = text
        self._skip = skip
        self._tenant = tenant
        self._mark: Mark | None = None
        self._encoder: EncoderTask | None = None
        self._encoded = b""
        self._rate = 0
        self._start = self._end = 0
        self._bytes = 0
        self._chunks = 0
        self._latest: Chunk | None = None
        self._is_open = False
        self.sentences = 0
        """Sentences that have begun."""

    @property
    def is_within_sentence(self) -> bool:
        """Tell whether a sentence has begun and not ended."""
        return self._is_open

    async def take(self, chunk: Chunk) -> None:
        """Send what a chunk brings. Raises SocketLeft."""
        self._rate = chunk.sample_rate or self._rate
        self._latest = chunk
        at, data = chunk.offset, chunk.delta
        for mark in sorted(chunk.marks, key=lambda mark: mark.index):
            if self._mark is not None and mark.index <= self._mark.index:
                continue  # its audio was taken back, and comes again
            if self._config.by_sentence or self._mark is None:
                cut = min(max(0, mark.offset - at), len(data))
                await self._audio(data[:cut], at)
                at, data = at + cut, data[cut:]
                await self.end()
            self._mark = mark
        await self._audio(data, at)

    async def end(self, *, failed: bool = False) -> None:
        """End the sentence that has begun, if one has. Raises SocketLeft."""
        if not self._is_open:
            return
        self._is_open = False
        if self._encoder is not None:
            encoder, self._encoder = self._encoder, None
            try:
                tail, patches = await encoder.finish()
            finally:
                encoder.close()
            whole = bytearray(self._encoded + tail)
            for place, patch in patches:
                whole[place : place + len(patch)] = patch
            self._bytes = len(whole)
            if not failed:
                await self._socket.send_file(bytes(whole))
        if self._config.word_timestamps and not failed:
            await self._chunk(b"", self._timestamps())
        done = {"total_bytes": self._bytes, "error": failed}
        await self._socket.send({"type": "audio.done", **self._place, **done})
        self.sentences += 1

    def close(self) -> None:
        """Release the encoder. Idempotent."""
        if self._encoder is not None:
            self._encoder.close()

    @property
    def _place(self) -> dict[str, Any]:
        return {**self._about, "sentence_index": self.sentences}

    async def _audio(self, data: bytes, at: int) -> None:
        known = min(len(data), max(0, self._skip - at))
        data, at = data[known:], at + known
        if not data:
            return
        if not self._is_open:
            await self._begin(at)
        self._end = at + len(data)
        if self._encoder is not None:
            self._encoded += await self._encoder.feed(data)
            return
        if not self._config.word_timestamps:
            self._bytes += len(data)
            await self._socket.send_audio(data)
            return
        for first in range(0, len(data), FRAME_BYTES):
            part = data[first : first + FRAME_BYTES]
            self._bytes += len(part)
            await self._chunk(part, None)

    async def _begin(self, at: int) -> None:
        self._is_open = True
        self._start, self._bytes, self._chunks = at, 0, 0
        config = self._config
        if not config.is_pcm_stream:
            self._encoder = EncoderTask(config.response_format, self._rate, tenant=self._tenant)
            self._encoded = b""
        text = self._text()
        if config.by_sentence and self._mark is not None:
            text = text[self._mark.text_start : self._mark.text_end]
        form = {"format": config.response_format, "sample_rate": self._rate, "channels": 1}
        await self._socket.send(
            {"type": "audio.start", **self._place, "sentence_text": text, **form, "offset": at}
        )

    async def _chunk(self, data: bytes, timestamps: list[dict[str, Any]] | None) -> None:
        chunk = {
            "chunk_id": self._chunks,
            "chunk_end_ms": self._ms(self._bytes),
            "sample_rate": self._rate,
            "channels": 1,
            "audio_b64": b64encode(data).decode("ascii"),
            "timestamps": timestamps,
        }
        self._chunks += 1
        await self._socket.send({"type": "audio.chunk", **self._place, **chunk})

    def _timestamps(self) -> list[dict[str, Any]]:
        """Return the words of the sentence, with times from its beginning."""
        text = self._text()
        return [
            {
                "word": text[word.text_start : word.text_end],
                "start_ms": self._ms(word.start - self._start),
                "end_ms": self._ms(word.end - self._start),
            }
            for word in (self._latest.words if self._latest is not None else ())
            if self._start <= word.start < self._end
        ]

    def _ms(self, size: int) -> int:
        return round(1000 * size / BYTES_PER_SAMPLE / self._rate) if self._rate else 0
