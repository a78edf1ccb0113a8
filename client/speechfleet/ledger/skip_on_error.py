"""Skip an item of a loop that fails, and continue with the others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import ResponseError

log = logging.getLogger(__name__)


@contextmanager
def skip_on_error(task: str) -> Iterator[None]:
    """Log an error in one loop item and continue.

    Errors that concern all items (Redis away or full) are raised.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, ResponseError):
        log.warning("cannot %s; skipping it, the other items continue", task, exc_info=True)
