"""Connecting to Redis: one server, or the primary that Sentinel names."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelManagedConnection
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry as BlockingRetry
from redis.sentinel import Sentinel as BlockingSentinel

from speechfleet.errors import MisconfiguredError
from speechfleet.ledger.pipeline import CommandPipeline
from speechfleet.ledger.scripts import Scripts
from speechfleet.ledger.sentinel_address import SentinelAddress, is_sentinel
from speechfleet.ledger.server_errors import address_of, errors
from speechfleet.ledger.tls import TlsConnection, tls_advice, tls_options, uses_tls
from speechfleet.settings import Settings

T = TypeVar("T")

OLDEST_VERSION = (6, 2)
CLIENT_PATIENCE_S = 2.0
"""Seconds that a client's command is tried again while Redis is away: its user wants to know."""
SENTINEL_TIMEOUT_S = 2.0
"""Seconds after which the next Sentinel is asked."""
HEARTBEAT_TIMEOUT_S = 2.0
PAUSE_S = 0.5
"""The longest pause between two attempts."""


@dataclass(frozen=True)
class Server:
    """The server's description of itself. ``run_id`` changes with every start."""

    version: tuple[int, ...]
    product: str
    run_id: str
    cluster: bool
    append_only: bool
    eviction: str
    memory_used: int
    memory_limit: int


class RedisRetry(Retry):
    """Try again while a server is away, but not after it refused the password.

    redis-py takes a refused password for a broken connection.
    """

    async def call_with_retry(
        self, do: Callable[[], Awaitable[T]], fail: Callable[..., Any], *more: Any, **named: Any
    ) -> T:
        """Call ``do`` until it succeeds; the further arguments differ between versions."""

        async def attempt() -> T:
            try:
                return await do()
            except exceptions.AuthenticationError as error:
                raise _Refused(error) from None

        try:
            return await super().call_with_retry(attempt, fail, *more, **named)
        except _Refused as refused:
            raise refused.error from None


class _Refused(Exception):
    """Carry a refused password past redis-py, which would try again."""

    def __init__(self, error: exceptions.AuthenticationError) -> None:
        super().__init__()
        self.error = error


class OrderlySentinel(Sentinel):
    """Asks the Sentinels for one connection at a time.

    redis-py puts the Sentinel that answered first. Done by two at once, one of the Sentinels
    would stand twice in its list and another would be lost, with its connections.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]  # redis-py
        self._turn = asyncio.Lock()

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        async with self._turn:
            found: tuple[str, int] = await super().discover_master(service_name)
            return found


class PrimaryConnection(SentinelManagedConnection):
    """A connection that asks Sentinel for the primary each time it is opened.

    redis-py asks only for connections that its pool opens: one that breaks while it is in use
    would go back to the old address for ever.
    """

    async def connect_check_health(
        self, check_health: bool = True, retry_socket_connect: bool = True
    ) -> None:
        if self.is_connected:
            return
        self.host, self.port = await self.connection_pool.get_master_address()
        await super().connect_check_health(check_health, retry_socket_connect)

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        await self.send_command("ROLE", check_health=False)
        try:
            role = (await self.read_response())[0]
        except exceptions.ResponseError:
            return  # the user may not ask; a replica will refuse the first write
        if role not in (b"master", "master"):
            await self.disconnect()
            raise exceptions.ConnectionError(f"{self.host}:{self.port} is a replica")


class TlsPrimaryConnection(PrimaryConnection, TlsConnection):
    """An encrypted connection to the primary."""


class Connection:
    """The way to Redis of one process, or of one event loop in it.

    ``patience_s``: how long a command is tried again while Redis is away. ``name``: what the
    connections are called in the server's client list.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        patience_s: float = CLIENT_PATIENCE_S,
        name: str = "client",
    ) -> None:
        self.settings = settings
        self._url = required_url(settings)
        self._patience_s = patience_s
        self._name = name
        self._sentinel = _sentinel(settings, self._url) if is_sentinel(self._url) else None
        self.redis = self.client()
        self.scripts = Scripts(self._pipe(), settings, self.errors)
        self._opened = False

    def _pipe(self) -> CommandPipeline:
        return CommandPipeline(
            self.redis,
            patience_s=self._patience_s,
            timeout_s=self.settings.redis_timeout,
            connect_timeout_s=self.settings.redis_connect_timeout,
            waits_for_room=self._patience_s > CLIENT_PATIENCE_S,
        )

    def errors(self) -> AbstractContextManager[None]:
        """Raise Redis' errors as ours, with this server's address."""
        return errors(address_of(self._url), tls_advice(self.settings, self._url))

    def client(self, purpose: str = "commands") -> redis.asyncio.Redis:
        """Make a client with connections of its own."""
        retries = 4 + int(self._patience_s / PAUSE_S)
        options: dict[str, Any] = {
            **_socket_options(self._url, self.settings.redis_connect_timeout),
            **tls_options(self.settings, self._url),
            "socket_timeout": self.settings.redis_timeout,
            "protocol": 2,
            "client_name": _client_name(self._name, purpose),
            "retry": RedisRetry(ExponentialBackoff(cap=PAUSE_S, base=0.02), retries),
        }
        if self._sentinel is not None:
            return _primary_client(self._sentinel, self._url, options)
        try:
            client = redis.asyncio.Redis.from_url(self._url, **options)
        except ValueError as error:
            raise MisconfiguredError(f"SPEECHFLEET_REDIS_URL: {error}") from None
        if uses_tls(self._url):
            client.connection_pool.connection_class = TlsConnection
        return client

    async def open(self) -> None:
        """Check the server once, and load the scripts. Idempotent."""
        if self._opened:
            return
        with self.errors():
            server = await self.server()
        if server.cluster:
            raise MisconfiguredError(
                "this is a Redis Cluster, which Celery's transport cannot use: point "
                "SPEECHFLEET_REDIS_URL at a single primary, or at Sentinel"
            )
        if server.version < OLDEST_VERSION:
            raise MisconfiguredError(
                f"Redis {'.'.join(map(str, server.version))} is too old: 6.2 or Valkey is needed"
            )
        self.scripts.may_pass_memory_limit = server.version >= (7,)
        self._opened = True

    async def server(self) -> Server:
        """Ask the server about itself."""
        info: dict[str, Any] = await self.redis.info()
        return Server(
            version=tuple(int(part) for part in str(info["redis_version"]).split(".")[:3]),
            product=_product(info),
            run_id=str(info["run_id"]),
            cluster=bool(info.get("cluster_enabled", 0)),
            append_only=bool(info.get("aof_enabled", 0)),
            eviction=str(info.get("maxmemory_policy", "")),
            memory_used=int(info.get("used_memory", 0)),
            memory_limit=int(info.get("maxmemory", 0)),
        )

    async def clock_skew(self) -> float:
        """Measure by how many seconds the server's clock is ahead of this machine's."""
        before = time.time()
        return await self.scripts.time() - (before + time.time()) / 2

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        if await self.scripts.close():
            await self.redis.aclose()
            if self._sentinel is not None:
                await self._sentinel.aclose()


def required_url(settings: Settings) -> str:
    """Return the URL with its password; MisconfiguredError where none is set."""
    if settings.redis_url is None:
        raise MisconfiguredError(
            "no fleet runs on this machine, and SPEECHFLEET_REDIS_URL is not set: start one "
            "with `speechfleet up` in another terminal, or from Python with Client.local()"
        )
    return settings.redis_url.get_secret_value()


def heartbeat_client(settings: Settings, name: str) -> redis.Redis:
    """Make a client for a thread that gives up at once: the next heartbeat is another try."""
    url = required_url(settings)
    options: dict[str, Any] = {
        **_socket_options(url, HEARTBEAT_TIMEOUT_S),
        **tls_options(settings, url),
        "socket_timeout": HEARTBEAT_TIMEOUT_S,
        "client_name": _client_name(name, "heartbeat"),
        "retry": BlockingRetry(NoBackoff(), 0),
    }
    if not is_sentinel(url):
        return redis.Redis.from_url(url, **options)
    address = SentinelAddress.parse(url)
    sentinel = BlockingSentinel(  # type: ignore[no-untyped-call]  # redis-py
        list(address.hosts), sentinel_kwargs=sentinel_options(settings)
    )
    client: redis.Redis = sentinel.master_for(  # type: ignore[no-untyped-call]  # redis-py
        address.service, db=address.database, ssl=uses_tls(url), **address.login, **options
    )
    return client


def keep_alive_options() -> dict[int, int]:
    """Return TCP options that end a connection whose peer is gone after some 20 s."""
    wanted = {"TCP_KEEPIDLE": 10, "TCP_KEEPALIVE": 10, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 3}
    return {
        getattr(socket, option): value
        for option, value in wanted.items()
        if hasattr(socket, option)
    }


def sentinel_options(settings: Settings) -> dict[str, Any]:
    """Return the options of blocking connections to the Sentinels: the next one is asked soon."""
    tls = tls_options(settings, required_url(settings))
    return {
        **({"ssl": True, **tls} if tls else {}),
        "retry": BlockingRetry(NoBackoff(), 0),
        "socket_timeout": SENTINEL_TIMEOUT_S,
        "socket_connect_timeout": SENTINEL_TIMEOUT_S,
        "socket_keepalive": True,
        "client_name": "speechfleet:sentinel",
    }


def _socket_options(url: str, connect_timeout_s: float) -> dict[str, Any]:
    options: dict[str, Any] = {"socket_connect_timeout": connect_timeout_s}
    if not url.startswith("unix://"):
        options["socket_keepalive"] = True
        options["socket_keepalive_options"] = keep_alive_options()
    return options


def _client_name(name: str, purpose: str) -> str:
    return f"speechfleet:{name}:{purpose}"


def _product(info: Mapping[str, Any]) -> str:
    """Name the server and its version; Valkey also tells the version of Redis it is like."""
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}"


def _sentinel(settings: Settings, url: str) -> Sentinel:
    try:
        address = SentinelAddress.parse(url)
    except ValueError as error:
        raise MisconfiguredError(f"SPEECHFLEET_REDIS_URL: {error}") from None
    options = {**sentinel_options(settings), "retry": Retry(NoBackoff(), 0)}
    sentinel = OrderlySentinel(list(address.hosts), sentinel_kwargs=options)
    if uses_tls(url):
        for each in sentinel.sentinels:
            each.connection_pool.connection_class = TlsConnection
    return sentinel


def _primary_client(sentinel: Sentinel, url: str, options: dict[str, Any]) -> redis.asyncio.Redis:
    address = SentinelAddress.parse(url)
    client: redis.asyncio.Redis = sentinel.master_for(
        address.service,
        db=address.database,
        connection_class=TlsPrimaryConnection if uses_tls(url) else PrimaryConnection,
        **{**address.login, **options},
    )
    return client


def answers(url: str) -> bool:
    """Return whether a server answers at this URL and has loaded its data; ask once."""
    once = BlockingRetry(NoBackoff(), 0)
    try:
        with redis.Redis.from_url(url, socket_timeout=5.0, retry=once) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
