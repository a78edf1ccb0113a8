"""The broker's connections: kombu's Redis transports, made to outlast the server's bad moments."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain, groupby
from typing import Any
from urllib.parse import urlsplit

import redis
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import Channel, SentinelChannel, SentinelTransport, Transport
from kombu.utils.scheduling import round_robin_cycle
from redis.connection import AbstractConnection
from redis.exceptions import NoScriptError, RedisError, ResponseError

from speechfleet.ledger import keys
from speechfleet.ledger.connection import keep_alive_options, sentinel_options
from speechfleet.ledger.sentinel_address import SentinelAddress, is_sentinel
from speechfleet.ledger.server_errors import Remedy, refusal
from speechfleet.ledger.tls import tls_options
from speechfleet.request import Lane
from speechfleet.settings import Settings

log = logging.getLogger(__name__)

BRPOP_S = 1.0
"""Seconds for which one BRPOP waits."""
TOGETHER = 4
"""Messages that are taken together: jobs that begin together wait for each other at every step."""
BACKLOG_S = 0.05
"""A BRPOP that ends before has found a queue with messages, of which there may be more."""
HEALTH_CHECK_S = 3.0
"""A BRPOP whose reply is overdue by this is given up; looked at as often."""
REPLY_TIMEOUT_S = 10.0
RETRY_PAUSE_S, LONGEST_RETRY_PAUSE_S = 0.5, 2.0
"""Between attempts to connect; kombu's own go up to half a minute."""
UNBLOCK_ATTEMPTS = 3
TAKE = """
local taken, first = {}, 1
for group = 2, #ARGV do
  local last, more = first + ARGV[group] - 1, true
  while more do
    more = false
    for number = first, last do
      local message = #taken < 2 * ARGV[1] and redis.call('RPOP', KEYS[number])
      if message then
        taken[#taken + 1], taken[#taken + 2] = KEYS[number], message
        more = true
      end
    end
  end
  first = last + 1
end
return taken
"""
"""Takes so many messages; returns each behind its key. Behind their number come the sizes of
groups of keys: of the first that has messages, one of each key in turn."""
TAKE_DIGEST = hashlib.sha1(TAKE.encode(), usedforsecurity=False).hexdigest()


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


Room = Callable[[str], int]
"""Tells how many more jobs of a queue may run."""


class _OpenQueues(round_robin_cycle):
    """kombu's order of queues, without those that have no room at the time of a BRPOP.

    Those of batches come last: live jobs go first.
    """

    items: list[str]

    def __init__(self, room: Room) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # kombu
        self._room = room
        self._asked: list[str] = []

    def consume(self, n: int) -> list[str]:
        """Return the queues that a BRPOP asks now."""
        self._asked = self.open()
        return self._asked

    def open(self) -> list[str]:
        """Return the queues that have room, in the order of their turns."""
        return sorted((queue for queue in self.items if self._room(queue)), key=_is_of_batches)

    def skipped(self) -> list[str]:
        """Return the queues that have room and that the last BRPOP did not ask."""
        asked = set(self._asked)
        return [queue for queue in self.open() if queue not in asked]

    def room_of_all(self, queues: Sequence[str]) -> int:
        """Return how many jobs of these queues may run together, whosesoever they are."""
        return min(map(self._room, queues), default=0)


@cache
def _is_of_batches(queue: str) -> bool:
    return keys.lane_of(queue)[0] == Lane.BATCH


class _LastingChannel:
    """The common part of both channels."""

    def __init__(self, connection: Any, **options: Any) -> None:
        super().__init__(connection, **options)  # type: ignore[call-arg]  # of the channel
        # Connections that only send come from a pool of kombu's own.
        room = getattr(connection.client, "room", BrokerConnection.room)
        self._queue_cycle = _OpenQueues(room)
        self._sender: redis.Redis | None = None

    do_restore = False
    """Messages only point to jobs: one that is lost with a connection is found to be missing and
    sent again. kombu would write them back itself, or, failing that, into a file in /tmp."""

    _in_poll: Any
    pool: Any
    _queue_cycle: Any
    _brpop_sent_at: Any
    _q_for_pri: Callable[[str, int], str]
    client: Any
    conn_or_acquire: Any
    connection: Any
    priority_steps: list[int]

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

    def _brpop_read(self, **options: Any) -> Any:
        """Deliver the message that a BRPOP brought, and more where there may be more."""
        waited_s = time.monotonic() - self._brpop_sent_at
        delivered = super()._brpop_read(**options)  # type: ignore[misc]  # of the channel
        if waited_s < BACKLOG_S:
            self._take_more(self.client, self._queue_cycle.open())
        return delivered

    def _take_more(self, client: redis.Redis, queues: Sequence[str]) -> None:
        """Deliver messages of these queues, as many as have room: one by one each takes longer."""
        count = min(TOGETHER, self._queue_cycle.room_of_all(queues))
        if not count:
            return
        groups = [
            [self._q_for_pri(queue, step) for queue in of_lane]
            for step in self.priority_steps
            for _, of_lane in groupby(queues, _is_of_batches)
        ]
        names = list(chain.from_iterable(groups))
        arguments = (len(names), *names, count, *map(len, groups))
        try:
            taken = client.evalsha(TAKE_DIGEST, *arguments)
        except NoScriptError:
            taken = client.eval(TAKE, *arguments)
        for name, message in zip(taken[::2], taken[1::2], strict=True):
            queue = name.decode().partition(Channel.sep)[0]
            self._queue_cycle.rotate(queue)
            self.connection._deliver(json.loads(message), queue)  # noqa: SLF001 # as kombu does

    def end_waiting(self) -> None:
        """Take messages of queues that a waiting BRPOP did not ask, where these have room by now.

        Where they have few, the BRPOP ends: the next one asks them, too.
        """
        waiting, cycle = self._in_poll, self._queue_cycle
        if not waiting or waiting.server_side_id is None or not (queues := cycle.skipped()):
            return
        try:
            with self.conn_or_acquire() as client:
                self._take_more(client, queues)
                if not cycle.skipped():
                    return
                for _ in range(UNBLOCK_ATTEMPTS):  # the server may not have begun to wait
                    if client.client_unblock(waiting.server_side_id):
                        return
        except (RedisError, OSError) as error:
            log.debug("a queue is resumed a moment later: %r", error)


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

    ``room`` tells how many more jobs of a queue may run.
    """

    @staticmethod
    def room(queue: str) -> int:
        """Tell that every queue has room for one, where nobody knows better."""
        return 1

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


def connections_for(room: Room) -> type[AMQP]:
    """Make Celery's maker of connections. Their options must be JSON: Celery shows them."""
    connection = type("BrokerConnection", (BrokerConnection,), {"room": staticmethod(room)})
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
        "priority_steps": [0, 3],  # the head of the queue, and what is behind it
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
