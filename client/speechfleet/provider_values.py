"""Bound the texts and numbers that foreign servers send: codes, ids, delays."""

from __future__ import annotations

import math

MAX_RETRY_AFTER_S = 3600.0
"""The longest pause that a provider can ask for; after it the call is tried again."""


def bounded_delay(seconds: float | None) -> float | None:
    """Limit a provider's Retry-After to an hour; None for what is no number."""
    if seconds is None or math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def printable(text: object, limit: int = 64) -> str:
    """Make one line of at most ``limit`` printable characters, for an error or a log line."""
    line = str(text)[: 4 * limit]
    if not line.isprintable():
        line = "".join(c if c.isprintable() else " " for c in line)
    return " ".join(line.split())[:limit]
