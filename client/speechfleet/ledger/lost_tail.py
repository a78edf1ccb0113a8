"""Streams that lost their tail: a replica was promoted that did not have their newest entries.

The new primary numbers further entries by its own clock. Where that is behind, a reader that
waits behind an entry that is gone would never be given another one.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from redis.exceptions import ResponseError

from speechfleet.ledger.scripts import Scripts

ENTRIES_AT_ONCE = 64
MAX_SEARCHED = 4096
"""Entries of a stream among which the reader's last one is looked for."""
BEGINNING = "0"


async def surviving_entry(
    scripts: Scripts, key: str, after: str, delivered: Container[str]
) -> str | None:
    """Find the newest entry of the stream that a reader was given: it goes on behind that.

    ``after``: the entry behind which it waits; ``delivered``: the last ones it was given.
    Returns None where the stream has not lost ``after``, and `BEGINNING` where nothing of what
    was delivered is found: a reader knows entries that come again by their offsets.
    """
    try:
        raw = await scripts.call("XINFO", "STREAM", key)
    except ResponseError:  # there is no such stream (any more)
        return BEGINNING if after != BEGINNING else None
    newest = _fields(raw)[b"last-generated-id"].decode()
    if entry_order(newest) >= entry_order(after):
        return None
    end = "+"
    for _ in range(0, MAX_SEARCHED, ENTRIES_AT_ONCE):
        found = await scripts.call("XREVRANGE", key, end, "-", "COUNT", ENTRIES_AT_ONCE)
        for entry, _ in found:
            if entry.decode() in delivered:
                return str(entry.decode())
        if len(found) < ENTRIES_AT_ONCE:
            break
        end = f"({found[-1][0].decode()}"
    return BEGINNING


def entry_order(id: str) -> tuple[int, int]:
    """Return the id of an entry as its order in the stream."""
    milliseconds, _, sequence = id.partition("-")
    return int(milliseconds), int(sequence or 0)


def _fields(raw: Any) -> dict[bytes, Any]:
    return dict(zip(raw[::2], raw[1::2], strict=True))
