"""The broker's connections: kombu's Redis transports, made to outlast the server's bad moments."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import redis
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import Channel, SentinelChannel, SentinelTransport, Transport
from kombu.utils.json import loads
from kombu.utils.scheduling import round_robin_cycle
from redis.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from speechfleet.ledger import keys, message
from speechfleet.ledger.connection import keep_alive_options, sentinel_options
from speechfleet.ledger.sentinel_address import SentinelAddress, is_sentinel
from speechfleet.ledger.server_errors import Remedy, refusal
from speechfleet.ledger.tls import tls_options
from speechfleet.request import Lane
from speechfleet.settings import Settings

log = logging.getLogger(__name__)

BRPOP_S = 1.0
"""Seconds for which one BRPOP waits."""
HEALTH_CHECK_S = 3.0
"""A BRPOP whose reply is overdue by this is given up; looked at as often."""
REPLY_TIMEOUT_S = 10.0
RETRY_PAUSE_S, LONGEST_RETRY_PAUSE_S = 0.5, 2.0
"""Between attempts to connect; kombu's own go up to half a minute."""
UNBLOCK_ATTEMPTS = 3
BEHIND_PRIORITY = 3
"""kombu's priority of all messages but those at the head of their queue, which have 0."""
AT_ONCE_S = 0.001
"""Seconds for which a BRPOP waits that takes only what is there."""


class LastingConnection(AbstractConnection):
    """Treats a temporary refusal of the server as a lost connection, which Celery waits out.

    Every other error reply would make Celery's consumer end the worker.
    """

    server_side_id: int | None = None

    def on_connect_check_health(self, check_health: bool = True) -> None:
        super().on_connect_check_health(check_health)
        self.send_command("CLIENT", "ID")  # type: ignore[no-untyped-call]  # redis-py
        self.server_side_id = int(self.read_response())

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)
        except ResponseError as error:
            found = refusal(error)
            if found is None or found.remedy is Remedy.CONFIGURE:
                raise
            self.disconnect()  # type: ignore[no-untyped-call]  # redis-py
            raise redis.ConnectionError(f"{found.code}: {found.meaning}") from error


def lasting(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """Return the same kind of connection, lasting."""
    return type(kind.__name__, (LastingConnection, kind), {})


class _OpenQueues(round_robin_cycle):
    """kombu's order of queues, without those that have no room at the time of a BRPOP.

    Those of batches come last: live jobs go first.
    """

    items: list[str]

    def __init__(self, is_open: Callable[[str], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # kombu
        self._is_open = is_open
        self._asked: list[str] = []

    def consume(self, n: int) -> list[str]:
        """Return the queues that a BRPOP asks now."""
        found = [queue for queue in self.items[:n] if self._is_open(queue)]
        self._asked = sorted(found, key=_is_of_batches)
        return self._asked

    def opened(self) -> list[str]:
        """Return the queues that have room and that the last BRPOP does not ask."""
        found = [queue for queue in self.items if queue not in self._asked]
        return sorted(filter(self._is_open, found), key=_is_of_batches)


@cache
def _is_of_batches(queue: str) -> bool:
    return keys.lane_of(queue)[0] == Lane.BATCH


class _LastingChannel:
    """The common part of both channels."""

    def __init__(self, connection: Any, **options: Any) -> None:
        super().__init__(connection, **options)  # type: ignore[call-arg]  # of the channel
        # Connections that only send come from a pool of kombu's own.
        is_open = getattr(connection.client, "is_open", BrokerConnection.is_open)
        self._queue_cycle = _OpenQueues(is_open)
        self._sender: redis.Redis | None = None

    do_restore = False
    """Messages only point to jobs: one that is lost with a connection is found to be missing and
    sent again. kombu would write them back itself, or, failing that, into a file in /tmp."""

    _in_poll: Any
    pool: Any
    connection: Any
    sep: str
    priority_steps: list[int]
    _queue_cycle: Any
    connection_errors: tuple[type[Exception], ...]

    def _q_for_pri(self, queue: str, pri: int) -> str:
        """Name the list of a queue and a priority: a BRPOP asks for both lists of each queue."""
        return queue + message.BEHIND if pri >= BEHIND_PRIORITY else queue

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        params: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[misc]  # of the channel
        params["connection_class"] = lasting(params["connection_class"])
        return params

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Return the client that sends, one for each pool: to make one costs more than a command.

        A lost connection gives the channel another pool.
        """
        if asynchronous:
            return super()._create_client(asynchronous)  # type: ignore[misc]  # of the channel
        if self._sender is None or self._sender.connection_pool is not self.pool:
            self._sender = super()._create_client()  # type: ignore[misc]  # of the channel
        return self._sender

    def resume(self) -> None:
        """Take messages of queues that have room by now and that a BRPOP which waits does not ask.

        Where they have none, it is ended: the next one asks them, too. That takes three commands
        where a message takes one.
        """
        waiting = self._in_poll
        if not waiting or waiting.server_side_id is None:
            return
        try:
            with self.conn_or_acquire() as client:  # type: ignore[attr-defined]  # of the channel
                while opened := self._queue_cycle.opened():
                    if not self._take_at_once(client, opened):
                        _unblock(client, waiting)
                        return
        except (RedisError, OSError) as error:
            log.debug("a queue is resumed a moment later: %r", error)

    def _take_at_once(self, client: redis.Redis, queues: list[str]) -> bool:
        """Take a message that is there; False where there is none."""
        lists = [self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues]
        taken: Any = client.brpop(lists, AT_ONCE_S)
        if not taken:
            return False
        queue = taken[0].decode().partition(self.sep)[0]
        self._queue_cycle.rotate(queue)
        content = loads(taken[1])  # type: ignore[no-untyped-call]  # kombu
        self.connection._deliver(content, queue)  # noqa: SLF001 # as kombu itself does
        return True


def _unblock(client: redis.Redis, waiting: Any) -> None:
    for _ in range(UNBLOCK_ATTEMPTS):  # the server may not have begun to wait
        if client.client_unblock(waiting.server_side_id):
            return


class RedisChannel(_LastingChannel, Channel):
    """A channel to one server."""


class PrimaryChannel(_LastingChannel, SentinelChannel):
    """A channel to the primary that Sentinel names."""


class RedisTransport(Transport):
    """kombu's transport, with our channel."""

    Channel = RedisChannel


class PrimaryTransport(SentinelTransport):
    """kombu's Sentinel transport, with our channel."""

    Channel = PrimaryChannel


class BrokerConnection(Connection):
    """Connects again at short intervals, and logs an outage once, not at each attempt.

    ``is_open`` tells which queues have room.
    """

    @staticmethod
    def is_open(queue: str) -> bool:
        """Tell that every queue has room, where nobody knows better."""
        return True

    def ensure_connection(self, errback: object = None, *args: Any, **options: Any) -> Any:
        intervals = {
            "interval_start": RETRY_PAUSE_S,
            "interval_step": RETRY_PAUSE_S,
            "interval_max": LONGEST_RETRY_PAUSE_S,
        }
        outage = _Outage()
        connection = super().ensure_connection(  # type: ignore[no-untyped-call]  # kombu
            outage.goes_on, *args, **{**options, **intervals}
        )
        outage.end()
        return connection


class _Outage:
    """Logs the beginning and the end of an outage of Redis."""

    def __init__(self) -> None:
        self._since: float | None = None

    def goes_on(self, error: Exception, interval: float) -> None:
        """Note a failed attempt to connect."""
        if self._since is None:
            self._since = time.monotonic()
            log.error("Redis is away (%s); this worker connects once it is back", error)

    def end(self) -> None:
        """Note a connection; without a failed attempt before it there was no outage."""
        if self._since is not None:
            away_s = time.monotonic() - self._since
            log.warning("Redis is back after %.0f s; this worker takes jobs again", away_s)


def connections_for(is_open: Callable[[str], bool]) -> type[AMQP]:
    """Make Celery's maker of connections. Their options must be JSON: Celery shows them."""
    connection = type("BrokerConnection", (BrokerConnection,), {"is_open": staticmethod(is_open)})
    return type("BrokerConnections", (AMQP,), {"Connection": connection})


def register_transports() -> None:
    """Make kombu use our transports in this process."""
    TRANSPORT_ALIASES.update(
        redis=f"{__name__}:RedisTransport",
        rediss=f"{__name__}:RedisTransport",
        sentinel=f"{__name__}:PrimaryTransport",
    )


def transport_options(settings: Settings, name: str) -> dict[str, Any]:
    """Return kombu's options for the server of the settings; ``name`` for its client list."""
    assert settings.redis_url is not None
    url = settings.redis_url.get_secret_value()
    options: dict[str, Any] = {
        "ack_emulation": False,
        "priority_steps": [0, BEHIND_PRIORITY],  # the head of the queue, and what is behind it
        "max_connections": 300,
        "polling_interval": BRPOP_S,
        "health_check_interval": HEALTH_CHECK_S,
        "socket_connect_timeout": settings.redis_connect_timeout,
        "socket_timeout": min(settings.redis_timeout, REPLY_TIMEOUT_S),
        "client_name": f"speechfleet:{name}:broker",
    }
    if not url.startswith("unix"):
        options["socket_keepalive"] = True
        options["socket_keepalive_options"] = keep_alive_options()
    if is_sentinel(url):
        options["master_name"] = SentinelAddress.parse(url).service
        options["sentinel_kwargs"] = sentinel_options(settings)
    return options


def tls(settings: Settings) -> dict[str, Any] | None:
    """Return Celery's setting ``broker_use_ssl``; None where the connections are plain."""
    assert settings.redis_url is not None
    return tls_options(settings, settings.redis_url.get_secret_value()) or None


def broker_url(settings: Settings) -> str:
    """Return Celery's own spelling of our URL."""
    assert settings.redis_url is not None
    url = settings.redis_url.get_secret_value()
    if url.startswith("unix://"):
        return url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")
    if is_sentinel(url):
        parts = urlsplit(url)
        auth, at, hosts = parts.netloc.rpartition("@")
        database = parts.path.strip("/").partition("/")[2] or "0"
        return ";".join(f"sentinel://{auth}{at}{host}/{database}" for host in hosts.split(","))
    return url
