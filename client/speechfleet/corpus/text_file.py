"""A corpus file as numbered lines: decompressed, decoded, one at a time."""

from __future__ import annotations

import codecs
import gzip
import io
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, BinaryIO

from speechfleet.corpus.item import BadItem
from speechfleet.errors import InvalidRequest

LINE_BYTES = 32 << 20
"""The longest line; the longest text (SPEECHFLEET_MAX_TEXT) in UTF-8 fits."""
HEAD_BYTES = 64 << 10
"""Bytes of the beginning by which encoding and format are recognized."""
PIECE_BYTES = 256 << 10
_BOMS = {
    b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16",
    b"\x00\x00\xfe\xff": "UTF-32",
}  # fmt: skip
_NO_TEXT = {
    b"PK\x03\x04": "a ZIP archive (Excel, Word and EPUB files are): save it as CSV or text",
    b"%PDF": "a PDF: extract its text, e.g. with `pdftotext`",
    b"PAR1": "a Parquet file: convert it to JSONL or CSV",
    b"RIFF": "audio, not a text",
    b"ID3\x03": "audio, not a text",
    b"ID3\x04": "audio, not a text",
    b"{\\rtf": "a rich text document: save it as plain text",
    b"\xd0\xcf\x11\xe0": "an old Office document: save it as CSV or text",
    b"BZh9": "compressed with bzip2: unpack it (gzip is read as it is)",
    b"\xfd7zXZ\x00": "compressed with xz: unpack it (gzip is read as it is)",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: unpack it (gzip is read as it is)",
}
_PLAIN_MARKS = {b"%PDF", b"{\\rtf"}
"""Documents whose beginning may be plain characters; the others hold zero bytes."""
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class TextFile:
    """Read a corpus file, as often as needed. ``name``: as messages call it."""

    path: Path
    name: str

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Yield its bytes, unpacked where they are gzip. Raises InvalidRequest, OSError."""
        with self.path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            try:
                yield gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[misc]  # a reader, like the other
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise InvalidRequest(f"{self.name} is damaged gzip: {error}") from None

    @cached_property
    def head(self) -> str:
        """Return its beginning. Raises InvalidRequest where it is no text in UTF-8."""
        with self.open() as file:
            head = file.read(HEAD_BYTES)
        if not head.strip():
            raise InvalidRequest(f"{self.name} is empty")
        for mark, kind in _NO_TEXT.items():
            if head.startswith(mark) and (b"\x00" in head or mark in _PLAIN_MARKS):
                raise InvalidRequest(f"{self.name} is {kind}")
        wide = next((name for mark, name in _BOMS.items() if head.startswith(mark)), "")
        if wide or b"\x00" in head:
            raise InvalidRequest(
                f"{self.name} is {wide or 'UTF-16 or no text at all'}, not UTF-8: convert it, "
                "e.g. `iconv -f UTF-16 -t UTF-8`"
            )
        return head.decode("utf-8-sig", errors="replace")

    @property
    def head_lines(self) -> list[str]:
        """Return the lines of its beginning that are neither empty nor cut off."""
        lines = self.head.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if len(self.head.encode()) >= HEAD_BYTES - 3 and len(lines) > 1:
            lines.pop()
        return [line for line in lines if line.strip()]

    def lines(self) -> Iterator[tuple[int, str] | BadItem]:
        """Yield (number from 1, line without its end); a BadItem where it is not UTF-8."""
        with self.open() as file:
            if "\r" in self.head and "\n" not in self.head:  # as old Macs and some Excels write
                yield from self._lines(io.BufferedReader(_CarriageReturns(file)))
            else:
                yield from self._lines(file)

    def text(self) -> Iterator[str]:
        """Yield all of its text in pieces. Raises InvalidRequest where it is not UTF-8."""
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        with self.open() as file:
            try:
                while piece := file.read(PIECE_BYTES):
                    yield decoder.decode(piece)
                yield decoder.decode(b"", final=True)
            except UnicodeDecodeError as error:
                raise InvalidRequest(f"{self.name} is not UTF-8: {error.reason}") from None

    def place(self, number: int) -> str:
        return f"{self.name}:{number}"

    def _lines(self, file: IO[bytes]) -> Iterator[tuple[int, str] | BadItem]:
        number = 0
        while raw := file.readline(LINE_BYTES + 1):
            number += 1
            yield self._line(number, raw, file)

    def _line(self, number: int, raw: bytes, file: IO[bytes]) -> tuple[int, str] | BadItem:
        if len(raw) > LINE_BYTES:
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(LINE_BYTES)
            return BadItem(self.place(number), f"the line is longer than {LINE_BYTES >> 20} MB")
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            wrong = f"byte {error.start + 1} is 0x{raw[error.start]:02X}"
            return BadItem(
                self.place(number), f"{wrong}, which is not UTF-8 (Latin-1?): convert the file"
            )
        return number, line.rstrip("\r\n")


class _CarriageReturns(io.RawIOBase):
    """Read a file whose lines end in CR alone as if they ended in LF."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # of BufferedReader
        piece = self._file.read(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(piece)] = piece
        return len(piece)


@contextmanager
def source_of(corpus: str | Path) -> Iterator[TextFile]:
    """Yield a file. Stdin (``-``) and pipes are copied to a temporary file first.

    Raises InvalidRequest where it is not there, OSError where it cannot be read.
    """
    if str(corpus) == "-":
        with _spooled(sys.stdin.buffer, "stdin") as source:
            yield source
        return
    path = Path(corpus)
    if not path.exists():
        raise InvalidRequest(f"{path} is not there")
    if path.is_fifo():  # as of `batch <(command)`, which can be read once only
        with path.open("rb") as pipe, _spooled(pipe, str(corpus)) as source:
            yield source
        return
    yield TextFile(path, str(corpus))


@contextmanager
def _spooled(stream: BinaryIO, name: str) -> Iterator[TextFile]:
    with tempfile.NamedTemporaryFile(prefix="speechfleet-") as spool:
        shutil.copyfileobj(stream, spool)
        spool.flush()
        yield TextFile(Path(spool.name), name)
