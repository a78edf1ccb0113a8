"""How the rate of an account is found, lost and found again: minutes of it, on a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from speechfleet.ledger import Acquired, Connection, RateLimiter
from speechfleet.settings import Settings
from tests.support.virtual_time import (
    MODEL,
    Bucket,
    Window,
    account,
    call,
    set_clock,
    told_the_time,
)


@pytest.fixture(autouse=True)
def virtual_clock() -> Iterator[None]:
    with told_the_time():
        yield


async def test_a_fixed_window_without_retry_after_is_not_hammered(redis_url: str) -> None:
    """60 calls, then refusals until the next minute begins, and no word of how long."""
    fleet = await account(redis_url, Window(60, offset=20))
    await fleet.run(480)
    assert len(fleet.refused) <= 40
    assert fleet.refused_part(since=180) <= 0.02
    assert fleet.used(since=180, rate=1.0) >= 0.85
    assert 0.8 <= fleet.rates[-1] <= 1.15
    await fleet.connection.close()


async def test_a_limit_that_was_set_too_high_gives_way(redis_url: str) -> None:
    """The settings say 600 a minute, the provider allows 60."""
    fleet = await account(redis_url, Window(60, offset=20), requests=600)
    await fleet.run(360)
    assert len(fleet.refused) <= 40
    assert 0.5 <= fleet.rates[-1] <= 1.2
    assert fleet.used(since=180, rate=1.0) >= 0.75
    await fleet.connection.close()


@pytest.mark.parametrize("tells", [True, False], ids=["retry-after", "no word"])
async def test_a_slow_account_is_found_too(redis_url: str, tells: bool) -> None:
    """One call a second, five at once."""
    fleet = await account(redis_url, Bucket(1.0, 5.0, tells))
    await fleet.run(240)
    assert fleet.refused_part(since=60) <= 0.03
    assert fleet.used(since=60, rate=1.0) >= 0.93
    await fleet.connection.close()


@pytest.mark.timeout(900)
async def test_a_raised_limit_is_found(redis_url: str) -> None:
    """Doubled in mid-run: followed within some 2,000 calls, here 90 seconds."""
    bucket = Bucket(20.0, 5.0)
    fleet = await account(redis_url, bucket)
    await fleet.run(40)
    assert 17 <= fleet.rates[-1] <= 23
    bucket.rate, bucket.burst = 40.0, 10.0
    await fleet.run(130)
    assert fleet.rates[-1] >= 36
    await fleet.run(150)
    assert fleet.used(since=135, rate=40.0) >= 0.93
    assert fleet.refused_part() <= 0.02
    await fleet.connection.close()


class Asked:
    """A budget that is asked at set times, by one process of two."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.budgets = RateLimiter(connection)

    async def take(self, at: float, id: str) -> Acquired:
        await set_clock(self.connection, at)
        return await self.budgets.acquire(*call(self.connection, id))

    async def refused(
        self, at: float, age: float = 0.01, retry_after: float | None = None
    ) -> None:
        await set_clock(self.connection, at)
        await self.budgets.report_refusal(MODEL, retry_after, age)

    async def through(self, at: float, age: float) -> None:
        await set_clock(self.connection, at)
        await self.budgets.report_success(MODEL, age)

    async def of(self, field: str) -> float:
        value = await self.connection.redis.hget(f"speechfleet.1:budget:{MODEL_KEY}", field)
        return float(value or 0)


MODEL_KEY = MODEL.replace("/", "%2F")


@pytest.fixture
async def both(redis_url: str) -> AsyncIterator[tuple[Asked, Asked]]:
    """Two processes over one server."""
    connections = [Connection(Settings.model_validate({"redis_url": redis_url})) for _ in "ab"]
    for connection in connections:
        await connection.open()
    yield Asked(connections[0]), Asked(connections[1])
    for connection in connections:
        await connection.close()


async def test_a_retry_after_told_to_one_process_holds_the_other(
    both: tuple[Asked, Asked],
) -> None:
    """Also what it was granted before and has not begun; nobody before the time is over."""
    one, other = both
    for id in ("a", "with what time was left unused"):
        assert (await one.take(0.0, id)).wait == 0
    booked = await other.take(0.0, "b")
    assert booked.outcome == "granted"
    assert booked.wait > 0
    assert await other.budgets.put_off(MODEL, booked) == 0
    await one.refused(0.1, retry_after=5.0)
    assert await other.budgets.put_off(MODEL, booked) == pytest.approx(5.1 - booked.wait, abs=0.05)
    for at in (0.2, 2.0, 4.0, 4.8):
        assert [(await asked.take(at, f"{at}")).outcome for asked in both] == [
            "no_room",
            "no_room",
        ]
    late = await other.take(5.0, "c")
    assert late.outcome == "granted"
    assert late.wait == pytest.approx(0.1, abs=0.02)
    assert late.doubted


async def test_a_burst_of_refusals_is_one_cut(both: tuple[Asked, Asked]) -> None:
    one, other = both
    for n in range(20):
        await one.take(n * 0.25, f"{n}")
    await one.refused(5.0, age=0.3)
    rate = await one.of("rate")
    for n in range(1, 30):
        await other.refused(5.0 + n * 0.1, age=n * 0.1 + 0.2)
    assert await one.of("rate") == rate
    assert await one.of("refusals") == 30


async def test_pauses_grow_until_a_call_goes_through(both: tuple[Asked, Asked]) -> None:
    """Nobody says how long: 1, 2, 4 .. s, at most 30, and one call at a time to try it."""
    one, other = both
    now, pauses = 0.0, []
    for n in range(9):
        assert (await one.take(now, f"{n}")).outcome == "granted"
        if n >= 2:
            assert (await other.take(now, f"other {n}")).outcome == "no_room", "one tries it alone"
        await one.refused(now + 0.05)
        paused = await one.of("grant_after") / 1000 - 1_800_000_000.0
        pauses.append(paused - now - 0.05)
        now = paused + 0.3
    expected = [1.0, 2.0, 4.0, 8.0, 16.0]
    assert all(
        0.7 * each <= pause <= 1.3 * each
        for each, pause in zip(expected, pauses[1:], strict=False)
    )
    assert max(pauses) <= 30.1
    assert (await one.take(now, "last")).outcome == "granted"
    await one.through(now + 0.2, age=0.2)
    assert (await other.take(now + 1.5, "after")).outcome == "granted"
    assert not (await other.take(now + 60, "later")).doubted


async def test_a_first_call_that_is_refused_is_no_measure(both: tuple[Asked, Asked]) -> None:
    one, _ = both
    await one.take(0.0, "a")
    await one.refused(0.05)
    assert await one.of("rate") >= 150


async def test_who_tried_it_and_died_is_not_waited_for(both: tuple[Asked, Asked]) -> None:
    one, other = both
    await one.take(0.0, "a")
    await one.refused(0.05, retry_after=5.0)
    assert (await one.take(6.0, "b")).outcome == "granted"
    assert (await other.take(7.0, "c")).outcome == "no_room"
    assert (await other.take(17.0, "c")).outcome == "granted"
