"""Circuit breakers over a real Valkey: the states, and who may call in each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from speechfleet.errors import AuthenticationFailed, ProviderUnavailable
from speechfleet.ledger import Connection, keys
from speechfleet.ledger.circuit_breakers import Breaker, CircuitBreakers
from speechfleet.settings import Settings

DOWN = ProviderUnavailable("down")
LIMIT = 3
PAUSE_S = 60.0
"""Longer than any test here takes."""


@pytest.fixture
async def connection(redis_url: str) -> AsyncIterator[Connection]:
    settings = Settings.load(redis_url=redis_url, breaker_failures=LIMIT, breaker_pause=PAUSE_S)
    connection = Connection(settings)
    await connection.open()
    yield connection
    await connection.close()


@pytest.fixture
def breakers(connection: Connection) -> CircuitBreakers:
    return CircuitBreakers(connection)


async def opened(breakers: CircuitBreakers) -> Breaker:
    for _ in range(LIMIT):
        await breakers.report_failure("p", "run", DOWN)
    return await the_only(breakers)


async def the_only(breakers: CircuitBreakers) -> Breaker:
    [breaker] = await breakers.all()
    return breaker


async def end_pause(connection: Connection) -> None:
    """Let the time of the next probe be over, by the server's clock."""
    await connection.scripts.call("HSET", keys.breaker("p"), "next_at", 1)


async def test_failures_in_a_row_open_it(breakers: CircuitBreakers) -> None:
    assert await breakers.admit("p", "run")
    told = [await breakers.report_failure("p", "run", DOWN) for _ in range(LIMIT)]
    assert told == [False, False, True]
    breaker = await the_only(breakers)
    assert (breaker.state, breaker.failures, breaker.code) == ("open", LIMIT, DOWN.code)
    assert PAUSE_S / 2 < breaker.probe_in <= PAUSE_S
    assert not await breakers.admit("p", "another")
    assert await breakers.admit("another provider", "run")


async def test_a_success_between_them_counts_from_nothing(breakers: CircuitBreakers) -> None:
    for _ in range(LIMIT - 1):
        await breakers.report_failure("p", "run", DOWN)
    assert breakers.is_doubted("p")
    await breakers.report_success("p", 0.1)
    assert not breakers.is_doubted("p")
    assert await breakers.all() == []
    assert not await breakers.report_failure("p", "run", DOWN)


async def test_a_refused_key_opens_it_at_once(breakers: CircuitBreakers) -> None:
    assert await breakers.report_failure("p", "run", AuthenticationFailed("no"))


async def test_one_run_of_the_fleet_is_the_probe(
    breakers: CircuitBreakers, connection: Connection
) -> None:
    await opened(breakers)
    await end_pause(connection)
    others = CircuitBreakers(connection)
    asked = [await each.admit("p", f"run{n}") for n in range(3) for each in (breakers, others)]
    assert asked == [True, True, False, False, False, False], "the probe may ask again"
    assert (await the_only(breakers)).state == "half_open"


async def test_a_probe_that_fails_doubles_the_pause(
    breakers: CircuitBreakers, connection: Connection
) -> None:
    await opened(breakers)
    for pause in (2 * PAUSE_S, 4 * PAUSE_S):
        await end_pause(connection)
        assert await breakers.admit("p", "probe")
        await breakers.report_failure("p", "another run", DOWN)
        assert (await the_only(breakers)).state == "half_open", "it is not the probe's"
        assert await breakers.report_failure("p", "probe", DOWN)
        breaker = await the_only(breakers)
        assert breaker.state == "open"
        assert pause / 2 < breaker.probe_in <= pause


async def test_an_answer_closes_it_for_everybody(
    breakers: CircuitBreakers, connection: Connection
) -> None:
    await opened(breakers)
    await breakers.report_success("p", age=60)
    assert (await the_only(breakers)).state == "open", "that call began before"
    await end_pause(connection)
    assert await breakers.admit("p", "probe")
    assert breakers.is_doubted("p")
    await breakers.report_success("p", age=0)
    assert await breakers.all() == []
    assert await breakers.admit("p", "another")


async def test_a_probe_that_is_lost_is_replaced(
    breakers: CircuitBreakers, connection: Connection
) -> None:
    await opened(breakers)
    await end_pause(connection)
    assert await breakers.admit("p", "probe")
    await end_pause(connection)
    assert await breakers.admit("p", "another")
    assert not await breakers.admit("p", "probe")


async def test_a_clock_that_was_set_back_keeps_nobody_out(
    breakers: CircuitBreakers, connection: Connection
) -> None:
    await opened(breakers)
    far = 4_000_000_000_000
    await connection.scripts.call("HSET", keys.breaker("p"), "opened", far, "next_at", far)
    assert await breakers.admit("p", "run")
