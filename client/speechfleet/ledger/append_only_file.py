"""Has a server write its append-only file anew from memory."""

from __future__ import annotations

from dataclasses import dataclass

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from speechfleet.errors import FleetUnavailable

_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Rewrite:
    """The state of the rewrite. ``succeeded``: the latest one that has ended."""

    under_way: bool
    succeeded: bool


def rewrite_state(url: str) -> Rewrite:
    """Ask how the rewrite goes. Raises FleetUnavailable."""
    with _connection(url) as client:
        try:
            info = client.info("persistence")
        except redis.RedisError as error:
            raise FleetUnavailable(f"the server does not answer: {error}") from error
    under_way = bool(info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"])
    return Rewrite(under_way, info["aof_last_bgrewrite_status"] == "ok")


def begin_rewrite(url: str) -> None:
    """Have the server write the file anew, beside its work. Raises FleetUnavailable."""
    with _connection(url) as client:
        try:
            client.bgrewriteaof()
        except redis.RedisError as error:
            raise FleetUnavailable(f"the server does not rewrite its file: {error}") from error


def _connection(url: str) -> redis.Redis:
    once = Retry(NoBackoff(), 0)
    return redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S, retry=once)
