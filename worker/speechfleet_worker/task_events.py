"""Send the task events that Flower shows together, ten times a second."""

from __future__ import annotations

import time
from typing import Any

from celery.worker.consumer import Consumer

INTERVAL_S = 0.1
"""Between two sends, unless Celery's buffer is full before that."""


class JobConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """Sends task events together, where Celery's own consumer sends them at each turn of its loop.

    In a busy worker that is a send for each event, and each waits for the server's answer.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._sends_at = 0.0

    def on_send_event_buffered(self) -> None:
        """Let the events be sent soon; on Celery's thread, for each event.

        By the time, not by a flag: a lost connection may take the timer away.
        """
        now = time.monotonic()
        if now >= self._sends_at:
            self._sends_at = now + INTERVAL_S
            self.timer.call_after(INTERVAL_S, self._flush_events)
