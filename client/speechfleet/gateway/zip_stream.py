"""A ZIP archive that is sent while it is made, so that its size costs no memory."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from zipfile import ZIP_STORED, ZipFile, ZipInfo

MEDIA_TYPE = "application/zip"
EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The first moment that a ZIP archive can tell."""


class _Sink:
    """A file that is only written to: what was written is taken out piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: what was written is there."""

    def take(self) -> bytes:
        """Return what was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


async def zipped(
    files: AsyncIterator[tuple[str, AsyncIterator[bytes]]],
) -> AsyncGenerator[bytes, None]:
    """Yield an archive of these (name, content), which are stored as they are: audio is dense."""
    sink = _Sink()
    moment = max(EARLIEST, time.gmtime()[:6])
    with ZipFile(sink, "w", ZIP_STORED) as archive:  # type: ignore[call-overload]  # it writes only
        async for name, content in files:
            with archive.open(ZipInfo(name, moment), "w", force_zip64=True) as member:
                async for piece in content:
                    member.write(piece)
                    if data := sink.take():
                        yield data
    yield sink.take()
