"""Copy an object of the store to a file."""

from __future__ import annotations

import asyncio
import secrets
import stat
from pathlib import Path

from speechfleet.store.base import Store

PART_BYTES = 8 << 20
"""Bytes that are read at a time, so that memory does not grow with the object."""


async def download(store: Store, key: str, size: int, path: Path) -> None:
    """Write an object of ``size`` bytes to a file, whole or not at all.

    A device or a named pipe is written to as it is. Raises StoreError, OSError.
    """
    if await asyncio.to_thread(is_special, path):
        await _copy(store, key, size, path)
        return
    unfinished = path.with_name(f".speechfleet-{secrets.token_hex(8)}")
    try:
        await _copy(store, key, size, unfinished)
        await asyncio.to_thread(unfinished.replace, path)
    finally:
        await asyncio.to_thread(unfinished.unlink, missing_ok=True)


def is_special(path: Path) -> bool:
    """Tell whether a path is something else than a regular file, such as a device or a pipe."""
    return path.exists() and not stat.S_ISREG(path.stat().st_mode)


async def _copy(store: Store, key: str, size: int, path: Path) -> None:
    with await asyncio.to_thread(path.open, "wb") as file:
        for start in range(0, size, PART_BYTES):
            data = await store.get(key, start, min(start + PART_BYTES, size))
            await asyncio.to_thread(file.write, data)
