"""Making connections: names, time-outs and keep-alive of each, and what a Sentinel URL says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from speechfleet.errors import MisconfiguredError
from speechfleet.ledger.connection import Connection, OrderlySentinel, heartbeat_client
from speechfleet.ledger.sentinel_address import SentinelAddress
from speechfleet.settings import Settings

URLS = ["redis://:pw@db:6379/3", "sentinel://:pw@a:1,b:2/fleet/3", "unix:///run/redis.sock?db=3"]
OF_SCHEME = ["server", "sentinel", "socket"]


def options_of(url: str, **settings: Any) -> dict[str, Any]:
    connection = Connection(Settings.load(redis_url=url, **settings), name="test")
    return connection.client("streams").connection_pool.connection_kwargs


@pytest.mark.parametrize("url", URLS, ids=OF_SCHEME)
def test_every_connection_has_a_name_and_time_outs(url: str) -> None:
    options = options_of(url, redis_timeout=7.0, redis_connect_timeout=3.0)
    assert options["client_name"] == "speechfleet:test:streams"
    assert options["socket_timeout"] == 7.0
    assert options["socket_connect_timeout"] == 3.0
    assert options["db"] == 3


@pytest.mark.parametrize("url", URLS[:2], ids=OF_SCHEME[:2])
def test_every_tcp_connection_is_kept_alive(url: str) -> None:
    options = options_of(url)
    assert options["socket_keepalive"]
    assert set(options["socket_keepalive_options"].values()) == {3, 10}


@pytest.mark.parametrize("url", URLS, ids=OF_SCHEME)
def test_a_heartbeat_gives_up_soon(url: str) -> None:
    options = heartbeat_client(Settings.load(redis_url=url), "w").connection_pool.connection_kwargs
    assert options["client_name"] == "speechfleet:w:heartbeat"
    assert options["socket_timeout"] == 2.0


def test_a_sentinel_url_is_taken_apart() -> None:
    address = SentinelAddress.parse("sentinel://me:p%40ss@a,b:2/fleet/3")
    assert address.hosts == (("a", 26379), ("b", 2))
    assert (address.service, address.database) == ("fleet", 3)
    assert address.login == {"username": "me", "password": "p@ss"}


@pytest.mark.parametrize("url", ["sentinel://a:1", "sentinel:///fleet"])
def test_an_incomplete_sentinel_url_says_what_one_looks_like(url: str) -> None:
    with pytest.raises(MisconfiguredError, match="sentinel://host:port"):
        Connection(Settings.load(redis_url=url))


def test_without_a_url_the_error_says_what_to_do() -> None:
    with pytest.raises(MisconfiguredError, match="SPEECHFLEET_REDIS_URL"):
        Connection(Settings.load())


async def test_no_sentinel_is_lost_when_many_connections_ask_at_once() -> None:
    class Answering:
        """A Sentinel that is silent, or names the primary after a moment."""

        def __init__(self, *, silent: bool = False) -> None:
            self._silent = silent

        async def sentinel_masters(self) -> dict[str, Any]:
            await asyncio.sleep(0)
            if self._silent:
                raise redis.exceptions.ConnectionError("silent")
            flags = dict.fromkeys(("is_sdown", "is_odown"), False)
            return {
                "fleet": {"is_master": True, **flags, "num-other-sentinels": 2,
                          "ip": "a", "port": 1}
            }  # fmt: skip

    sentinel = OrderlySentinel([])
    known: Any = [Answering(silent=True), Answering(), Answering()]
    sentinel.sentinels = list(known)
    asked = await asyncio.gather(*(sentinel.discover_master("fleet") for _ in range(5)))
    assert asked == [("a", 1)] * 5
    assert {id(each) for each in sentinel.sentinels} == {id(each) for each in known}
