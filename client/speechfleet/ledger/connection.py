"""Connecting to Redis, and its errors as ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry as BlockingRetry
from redis.sentinel import Sentinel as BlockingSentinel

from speechfleet.errors import FleetFull, FleetUnavailable, MisconfiguredError
from speechfleet.ledger.scripts import Scripts
from speechfleet.settings import Settings

T = TypeVar("T")

OLDEST = (6, 2)


@dataclass(frozen=True)
class Server:
    """What the server says of itself. ``run_id`` changes with every start."""

    version: tuple[int, ...]
    run_id: str
    cluster: bool
    append_only: bool
    eviction: str
    memory_used: int
    memory_limit: int


class Patience(Retry):
    """Waits for a server that is away; a password that it refuses is not tried again, though
    redis-py takes that for a broken connection.
    """

    async def call_with_retry(
        self,
        do: Callable[[], Awaitable[T]],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        def may_pass(error: Exception) -> bool:
            if isinstance(error, exceptions.AuthenticationError):
                return False
            return is_retryable is None or is_retryable(error)

        return await super().call_with_retry(do, fail, may_pass, with_failure_count)


class Connection:
    """One process's (one event loop's) way to Redis.

    ``patience``: seconds that a command is tried again while Redis is away. A worker waits for
    its return; a client wants to hear of it.
    """

    def __init__(self, settings: Settings, *, patience: float = 2.0) -> None:
        if settings.redis_url is None:
            raise MisconfiguredError(
                "no Redis is set: give SPEECHFLEET_REDIS_URL, or start a fleet of your own "
                "with `speechfleet up`"
            )
        self.settings = settings
        self._url = settings.redis_url.get_secret_value()
        self._patience = patience
        self.redis = self.client()
        self.scripts = Scripts(self.redis, settings, errors)
        self._opened = False

    def client(self, *, blocking: bool = False) -> redis.asyncio.Redis:
        """A client of its own; ``blocking``: for commands that wait in the server."""
        options: dict[str, Any] = {
            "socket_connect_timeout": 5,
            "socket_timeout": None if blocking else 30,
            "protocol": 2,
            "retry": Patience(
                ExponentialBackoff(cap=0.5, base=0.02), 0 if blocking else self._retries()
            ),
        }
        try:
            if self._url.startswith("sentinel://"):
                return _sentinel_client(self._url, options)
            return redis.asyncio.Redis.from_url(self._url, **options)
        except ValueError as error:
            raise MisconfiguredError(f"SPEECHFLEET_REDIS_URL: {error}") from None

    def _retries(self) -> int:
        return 4 + int(self._patience / 0.5)

    async def open(self) -> None:
        """Check the server once, and load the scripts. Idempotent."""
        if self._opened:
            return
        with errors():
            server = await self.server()
        if server.cluster:
            raise MisconfiguredError(
                "this is a Redis Cluster, which Celery's transport cannot use: point "
                "SPEECHFLEET_REDIS_URL at a single primary, or at Sentinel"
            )
        if server.version < OLDEST:
            raise MisconfiguredError(
                f"Redis {'.'.join(map(str, server.version))} is too old: 6.2 or Valkey is needed"
            )
        self.scripts.may_pass_memory_limit = server.version >= (7,)
        self._opened = True

    async def server(self) -> Server:
        info: dict[str, Any] = await self.redis.info()
        return Server(
            version=tuple(int(part) for part in str(info["redis_version"]).split(".")[:3]),
            run_id=str(info["run_id"]),
            cluster=bool(info.get("cluster_enabled", 0)),
            append_only=bool(info.get("aof_enabled", 0)),
            eviction=str(info.get("maxmemory_policy", "")),
            memory_used=int(info.get("used_memory", 0)),
            memory_limit=int(info.get("maxmemory", 0)),
        )

    async def close(self) -> None:
        await self.scripts.close()
        await self.redis.aclose()


@dataclass(frozen=True)
class SentinelAddress:
    """``sentinel://[:password@]host:port[,host:port...]/service[/db]``, taken apart."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    database: int
    password: str | None

    @classmethod
    def parse(cls, url: str) -> SentinelAddress:
        parts = urlsplit(url)
        service, _, database = parts.path.strip("/").partition("/")
        pairs = [host.partition(":") for host in parts.netloc.rpartition("@")[2].split(",")]
        if not service or not all(host for host, _, _ in pairs):
            raise ValueError("a sentinel URL is sentinel://host:port[,host:port]/service[/db]")
        hosts = tuple((host, int(port or 26379)) for host, _, port in pairs)
        return cls(hosts, service, int(database or 0), parts.password)


def _sentinel_client(url: str, options: dict[str, Any]) -> redis.asyncio.Redis:
    address = SentinelAddress.parse(url)
    sentinel = Sentinel(list(address.hosts), socket_connect_timeout=5)  # type: ignore[no-untyped-call]  # redis-py
    client: redis.asyncio.Redis = sentinel.master_for(
        address.service, db=address.database, password=address.password, **options
    )
    return client


def heartbeat_client(settings: Settings) -> redis.Redis:
    """A client for a thread: it gives up at once, the next heartbeat is another try."""
    assert settings.redis_url is not None
    url = settings.redis_url.get_secret_value()
    options: dict[str, Any] = {
        "socket_timeout": 2,
        "socket_connect_timeout": 2,
        "retry": BlockingRetry(NoBackoff(), 0),
    }
    if not url.startswith("sentinel://"):
        return redis.Redis.from_url(url, **options)
    address = SentinelAddress.parse(url)
    sentinel = BlockingSentinel(list(address.hosts), socket_connect_timeout=2)  # type: ignore[no-untyped-call]  # redis-py
    client: redis.Redis = sentinel.master_for(  # type: ignore[no-untyped-call]  # redis-py
        address.service, db=address.database, password=address.password, **options
    )
    return client


@contextmanager
def errors() -> Iterator[None]:
    """Redis' errors as ours: the one boundary."""
    try:
        yield
    except (exceptions.AuthenticationError, exceptions.NoPermissionError):
        raise MisconfiguredError(
            "Redis refuses the password or the user: mend SPEECHFLEET_REDIS_URL "
            "(redis://user:password@host:port/db)"
        ) from None
    except exceptions.OutOfMemoryError as error:
        raise _full(error) from None
    except exceptions.ResponseError as error:
        raise _response_error(error) from None
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
        raise FleetUnavailable(
            f"Redis cannot be reached ({type(error).__name__}): is it running, and is "
            "SPEECHFLEET_REDIS_URL right?"
        ) from error


def _full(error: Exception) -> FleetFull:
    return FleetFull("Redis has no memory left (maxmemory): wait, or give it more")


def _response_error(error: exceptions.ResponseError) -> Exception:
    text = str(error)
    if "OOM" in text:
        return _full(error)
    if "NOAUTH" in text or "WRONGPASS" in text:
        return MisconfiguredError("Redis needs a password: give it in SPEECHFLEET_REDIS_URL")
    if any(sign in text for sign in ("READONLY", "MASTERDOWN", "LOADING", "MISCONF", "BUSY")):
        return FleetUnavailable(f"Redis does not serve now: {text[:120]}")
    return error
