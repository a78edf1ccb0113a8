"""A corpus file as numbered lines: decompressed, decoded, one at a time."""

from __future__ import annotations

import gzip
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from speechfleet.corpus.item import BadItem
from speechfleet.errors import InvalidRequest

LINE_BYTES = 32 << 20
"""The longest line; the longest text (SPEECHFLEET_MAX_TEXT) in UTF-8 fits."""
HEAD = 64 << 10
"""Bytes of the beginning by which encoding and format are told."""
_BOMS = {
    b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16",
    b"\x00\x00\xfe\xff": "UTF-32",
}  # fmt: skip
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Source:
    """A corpus that can be read more than once. ``name``: as messages call it."""

    path: Path
    name: str

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Its bytes, unpacked where they are gzip. Raises InvalidRequest, OSError."""
        with self.path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            try:
                yield gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[misc]  # a reader, like the other
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise InvalidRequest(f"{self.name} is damaged gzip: {error}") from None

    def head(self) -> str:
        """Its beginning, for a look. Raises InvalidRequest where it is no text in UTF-8."""
        with self.open() as file:
            head = file.read(HEAD)
        if not head.strip():
            raise InvalidRequest(f"{self.name} is empty")
        wide = next((name for mark, name in _BOMS.items() if head.startswith(mark)), "")
        if wide or b"\x00" in head:
            raise InvalidRequest(
                f"{self.name} is {wide or 'UTF-16 or no text at all'}, not UTF-8: convert it, "
                "e.g. `iconv -f UTF-16 -t UTF-8`"
            )
        return head.decode("utf-8-sig", errors="replace")

    def lines(self) -> Iterator[tuple[int, str] | BadItem]:
        """(number from 1, line without its end); what cannot be decoded is a BadItem."""
        with self.open() as file:
            number = 0
            while raw := file.readline(LINE_BYTES + 1):
                number += 1
                yield self._line(number, raw, file)

    def place(self, number: int) -> str:
        return f"{self.name}:{number}"

    def _line(self, number: int, raw: bytes, file: IO[bytes]) -> tuple[int, str] | BadItem:
        if len(raw) > LINE_BYTES:
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(LINE_BYTES)
            return BadItem(self.place(number), f"the line is longer than {LINE_BYTES >> 20} MB")
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            found = f"byte {error.start + 1} is 0x{raw[error.start]:02X}"
            return BadItem(
                self.place(number), f"{found}, which is not UTF-8 (Latin-1?): convert the file"
            )
        return number, line.rstrip("\r\n")


@contextmanager
def source_of(corpus: str | Path) -> Iterator[Source]:
    """A file, or stdin for ``-``, which is spooled to a temporary file first.

    Raises InvalidRequest where it is a folder or not there, OSError where it cannot be read.
    """
    if str(corpus) == "-":
        with tempfile.NamedTemporaryFile(prefix="speechfleet-") as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.flush()
            yield Source(Path(spool.name), "stdin")
        return
    path = Path(corpus)
    if path.is_dir():
        raise InvalidRequest(f"{path} is a folder: name a file in it")
    if not path.exists():
        raise InvalidRequest(f"{path} is not there")
    yield Source(path, str(corpus))
