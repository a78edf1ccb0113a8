"""When a job is tried again."""

from __future__ import annotations

import random

from speechfleet.settings import Settings


def delay_before(attempt: int, settings: Settings, retry_after: float | None) -> float:
    """Seconds until the attempt after the ``attempt``-th failure.

    Doubles from ``backoff`` to ``backoff_max``, with full jitter above a half, so that jobs
    which failed together do not come back together. A provider's own word is a floor.
    """
    ceiling = min(settings.backoff_max, settings.backoff * 2.0 ** (attempt - 1))
    delay = ceiling * random.uniform(0.5, 1.0)
    return max(delay, retry_after or 0.0)
