"""What a worker takes next: limits by provider and by lane, kept by not consuming a queue.

A queue whose limit is reached is no longer consumed, so that one stalled provider, or a large
batch, cannot fill the worker while others wait. What was fetched in the meantime goes back to
the head of its line; nobody who waits holds a slot.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

from speechfleet import keys
from speechfleet.jobs import Lane
from speechfleet.settings import Settings

log = logging.getLogger(__name__)

BATCH_SHARE = 0.75
"""Of the slots, where lanes are mixed."""
FREED = 8
"""A part of a limit, one in so many, that is free before a full queue is consumed again: pausing
and resuming it around every job would cost more than the job's own message."""


class Intake:
    """Admits jobs by queue, and pauses the queues that are at their limit.

    ``full`` are the queues at their limit. ``changed`` is set once the consumer is there, and is
    called whenever it should look at ``full``.
    """

    def __init__(
        self, settings: Settings, lanes: Sequence[Lane], providers: Sequence[str]
    ) -> None:
        self._groups: list[tuple[frozenset[str], int]] = []
        self.full: frozenset[str] = frozenset()
        self.changed: Callable[[], object] = lambda: None
        if Lane.SESSION in lanes:
            queues = frozenset(keys.queue(Lane.SESSION, provider) for provider in providers)
            self._groups.append((queues, settings.sessions))
        for provider in providers:
            endpoint = settings.endpoints.get(provider)
            declared = endpoint.limits.get("slots", settings.slots) if endpoint else settings.slots
            limit = settings.provider_slots.get(provider, declared)
            if limit < settings.slots:
                queues = frozenset(keys.queue(lane, provider) for lane in lanes)
                self._groups.append((queues, limit))
        if Lane.BATCH in lanes and len(lanes) > 1:
            queues = frozenset(keys.queue(Lane.BATCH, provider) for provider in providers)
            self._groups.append((queues, max(1, int(settings.slots * BATCH_SHARE))))

    def admits(self, queue: str, running: Counter[str]) -> bool:
        return not any(
            queue in queues and sum(running[q] for q in queues) >= limit
            for queues, limit in self._groups
        )

    def adjust(self, running: Counter[str]) -> None:
        """Note which queues are full with what runs now."""
        full = frozenset().union(
            *(
                queues
                for queues, limit in self._groups
                if sum(running[q] for q in queues)
                >= limit - (max(0, limit // FREED - 1) if queues <= self.full else 0)
            )
        )
        if full != self.full:
            self.full = full
            self.changed()
