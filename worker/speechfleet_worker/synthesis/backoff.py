"""Decide when a job is tried again."""

from __future__ import annotations

import random

from speechfleet.settings import Settings


def delay_before(attempt: int, settings: Settings, retry_after: float | None) -> float:
    """Compute the seconds until the attempt after the ``attempt``-th failure.

    The ceiling doubles with each failure, from ``backoff`` to ``backoff_max``. The delay is
    random, uniform between 50 % and 100 % of the ceiling, so that jobs that failed together do
    not come back together. It is at least ``retry_after``, of which up to ``retry_after_max``
    counts.
    """
    ceiling = min(settings.backoff_max, settings.backoff * 2.0 ** (attempt - 1))
    delay = ceiling * random.uniform(0.5, 1.0)
    return max(delay, min(retry_after or 0.0, settings.retry_after_max))


def delay_in_session(failures: int, settings: Settings, retry_after: float | None) -> float:
    """Compute the seconds that a session waits after so many failures in a row.

    A listener waits for it: the first retry follows at once, unless the provider named a time.
    """
    if failures > 1 or retry_after:
        return delay_before(max(1, failures - 1), settings, retry_after)
    return 0.0
