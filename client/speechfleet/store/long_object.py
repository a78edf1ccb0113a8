"""Long objects of the store to and from open files, a piece at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import BinaryIO

from speechfleet.errors import ObjectExists
from speechfleet.in_thread import in_thread
from speechfleet.store.base import Store

PIECE_BYTES = 1 << 20


async def put_file(store: Store, key: str, file: BinaryIO, *, media_type: str) -> None:
    """Write a file from its beginning as one object; one that is there already stays.

    Raises StoreError.
    """
    writing = store.upload(key, media_type=media_type)
    try:
        await in_thread(file.seek, 0)
        while piece := await in_thread(file.read, PIECE_BYTES):
            await writing.write(piece)
        with suppress(ObjectExists):
            await writing.commit()
    finally:
        await writing.abort()


async def pieces_of(
    store: Store, key: str, start: int, end: int, size: int = PIECE_BYTES
) -> AsyncGenerator[bytes, None]:
    """Yield the bytes [start, end) of an object. Raises StoreError."""
    for at in range(start, end, size):
        yield await store.get(key, at, min(at + size, end))
