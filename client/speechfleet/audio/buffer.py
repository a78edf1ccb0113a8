"""A growing buffer of PCM audio with stable views and base64 prefixes."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass

BYTES_PER_SAMPLE = 2
"""s16le: two bytes a sample and channel."""


class _Run:
    """Bytes that only ever grow, so what was read of them never changes.

    Pieces stay as they came, uncopied, until somebody asks for a view of more than the last;
    then they go into one block, each byte once (and again whenever the block doubles).
    """

    def __init__(self, data: bytes = b"", encoded: str = "") -> None:
        self._pieces = [data]
        self._block = bytearray()
        self._merged = 0
        self._encoded = encoded
        self.length = len(data)

    def append(self, data: bytes) -> None:
        self._pieces.append(data)
        self.length += len(data)

    def view(self, length: int) -> memoryview:
        if length > self._merged:
            self._merge()
        return memoryview(self._block).toreadonly()[:length]

    def between(self, start: int, end: int) -> bytes | memoryview:
        last = self._pieces[-1] if self._pieces else b""
        if end == self.length and start == end - len(last):
            return last
        return self.view(end)[start:]

    def base64(self, length: int, *, last: bool) -> str:
        if last:
            whole = length // 3 * 3
            return self._encode_to(whole) + b64encode(self.view(length)[whole:]).decode("ascii")
        return self._encode_to(length // 6 * 6)

    def cut(self, length: int) -> _Run:
        """Another run that begins with the first ``length`` bytes of this one."""
        return _Run(bytes(self.view(length)), self._encoded[: length // 3 * 4])

    def _merge(self) -> None:
        if self.length > len(self._block):
            block = bytearray(max(self.length, 2 * len(self._block), 1 << 14))
            block[: self._merged] = memoryview(self._block)[: self._merged]
            self._block = block
        for piece in self._pieces:
            # A slice assignment of equal length does not resize, which live views would forbid.
            self._block[self._merged : self._merged + len(piece)] = piece
            self._merged += len(piece)
        self._pieces.clear()

    def _encode_to(self, end: int) -> str:
        done = len(self._encoded) // 4 * 3
        if end > done:
            self._encoded += b64encode(self.view(end)[done:]).decode("ascii")
        return self._encoded[: end // 3 * 4]


class AudioBuffer:
    """Holds a growing run of bytes, and hands out snapshots which never change.

    Appending and taking a snapshot copy nothing; `view(n)` is a read-only view of the first
    ``n`` bytes. The total cost is linear in the bytes appended. Truncating goes on in a copy,
    so whoever holds a snapshot keeps its bytes.
    """

    def __init__(self) -> None:
        self._run = _Run()

    def __len__(self) -> int:
        return self._run.length

    def append(self, data: bytes | bytearray | memoryview) -> None:
        self._run.append(bytes(data))

    def truncate(self, length: int) -> None:
        """Forget what lies past ``length``; no-op where nothing does."""
        if length < len(self):
            self._run = self._run.cut(length)

    def view(self, length: int | None = None) -> memoryview:
        length = len(self) if length is None else length
        if not 0 <= length <= len(self):
            raise ValueError(f"the buffer holds {len(self)} bytes, not {length}")
        return self._run.view(length)

    def snapshot(self) -> AudioSnapshot:
        """Freeze the audio there is now, whatever becomes of the buffer."""
        return AudioSnapshot(self._run, len(self))


@dataclass(frozen=True, slots=True)
class AudioSnapshot:
    """The audio of one moment. It never changes, and its base64 is prefix-stable."""

    _run: _Run
    length: int

    @property
    def view(self) -> memoryview:
        return self._run.view(self.length)

    def since(self, start: int) -> bytes | memoryview:
        """Return the bytes [start, length), without a copy if they were appended last."""
        return self._run.between(start, self.length)

    def base64(self, *, last: bool) -> str:
        """Return the audio as base64; each byte is encoded once, however many snapshots are asked.

        Unless ``last``, up to five bytes are held back so that the text ends on a whole group
        of 3 bytes and a whole sample of 2, and so is a prefix of every later one.
        """
        return self._run.base64(self.length, last=last)
