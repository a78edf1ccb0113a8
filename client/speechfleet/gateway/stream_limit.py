"""The number of streams that each API key may have open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from speechfleet.gateway.errors import TooManyStreams


class StreamLimit:
    """Count the open streams of each key, and refuse more than the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """The open streams of all keys."""
        return self._open.total()

    @contextmanager
    def stream(self, key: str) -> Iterator[None]:
        """Hold one stream of a key. Raises TooManyStreams."""
        if self._open[key] >= self._limit:
            raise TooManyStreams(
                f"{self._limit} streams are open already (SPEECHFLEET_GATEWAY_STREAMS): "
                "wait for one to end"
            )
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            self._open += Counter()  # drops the keys that have none
