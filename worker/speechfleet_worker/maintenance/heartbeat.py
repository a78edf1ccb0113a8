"""Send the heartbeat of a worker process from a thread when its event loop is late.

The event loop itself sends it as a duty of the `Sweeper`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import redis

from speechfleet.ledger import keys

log = logging.getLogger(__name__)

HEARTBEAT_INTERVAL_S = 0.5
"""Between heartbeats of the loop, and between looks of the thread whether the loop is late."""
MISSED_AFTER_S = 0.75
"""Without a heartbeat of the loop for so long, the thread sends one."""


class Heartbeat(threading.Thread):
    """Sends heartbeats from a thread when the event loop does not: a busy loop is not dead.

    ``sent_at``: when the loop last sent one, by `time.monotonic`. ``works`` tells whether the
    worker can still write to Redis by its own connections. While it cannot, no heartbeat is
    sent, so that other workers take its jobs over.
    """

    def __init__(
        self,
        client: redis.Redis,
        boot: str,
        script: str,
        *,
        sent_at: Callable[[], float],
        works: Callable[[], bool],
    ) -> None:
        """``script``: ``heartbeat.lua`` as the server takes it."""
        super().__init__(name="heartbeat", daemon=True)
        self._client = client
        self._script = script
        self._boot = boot
        self._sent_at = sent_at
        self._works = works
        self._withheld = False
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(HEARTBEAT_INTERVAL_S):
            if time.monotonic() - self._sent_at() > MISSED_AFTER_S and self._may_send():
                try:
                    self._client.eval(self._script, 1, keys.HEARTBEATS, self._boot)
                except redis.RedisError as error:
                    log.debug("no heartbeat: %s", type(error).__name__)

    def _may_send(self) -> bool:
        works = self._works()
        if not works and not self._withheld:
            log.warning(
                "this worker's commands to Redis go unanswered: it sends no heartbeat, so that "
                "others take its jobs over"
            )
        self._withheld = not works
        return works

    def stop(self) -> None:
        """Send no more, and wait for the thread's end."""
        self._stopped.set()
        self.join()
