"""What an account allows, kept on a real server for workers that are only played here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from speechfleet import keys
from speechfleet.jobs import Lane, Request
from speechfleet.keys import JobKeys
from speechfleet.ledger import Budgets, Connection, Fleet, Jobs, Lease
from speechfleet.ledger.budgets import Call
from speechfleet.settings import Settings

MODEL = "openai/tts-1"


class Account:
    """A budget, and executions that ask for room in it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.budgets, self.jobs = Budgets(connection), Jobs(connection)
        self.fleet = Fleet(connection)

    async def lease(self, id: str, lane: Lane = Lane.LIVE, boot: str = "boot") -> Lease:
        await self.jobs.submit("default", id, Request(f"{id}.", MODEL, lane=lane))
        lease = Lease(self.connection.scripts, JobKeys("default", id), f"{boot}:{id}", boot)
        assert (await lease.claim()).outcome == "granted"
        return lease

    async def take(self, lease: Lease, lane: str = "live", **call: object) -> str:
        asked = Call(MODEL, lane, f"hash of {lease.job.id}", 0, units=10, patience=0.0)
        return (await self.budgets.take(lease, replace(asked, **call))).outcome  # type: ignore[arg-type]


@pytest.fixture
async def account(redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Account]:
    limits = getattr(request, "param", "{}")
    settings = Settings.model_validate(
        {"redis_url": redis_url, "limits": {"openai": json.loads(limits)}}
    )
    connection = Connection(settings)
    await connection.open()
    yield Account(connection)
    await connection.close()


def limited(limits: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("account", [limits], indirect=True)


async def test_without_any_limit_everything_goes(account: Account) -> None:
    for n in range(50):
        assert await account.take(await account.lease(f"{n}")) == "go"


@limited('{"requests": 60}')
async def test_requests_are_spaced(account: Account) -> None:
    """60 a minute: one now, the next in a second; patience decides who waits where it is."""
    assert await account.take(await account.lease("a")) == "go"
    b = await account.lease("b")
    assert await account.take(b) == "wait"
    taken = await account.budgets.take(b, Call(MODEL, "live", "b", 0, 10, patience=2.0))
    assert taken.outcome == "go"
    assert 0.3 < taken.wait <= 1.05


@limited('{"units": 600}')
async def test_units_are_spaced(account: Account) -> None:
    assert await account.take(await account.lease("a"), units=600) == "go"
    taken = await account.budgets.take(
        await account.lease("b"), Call(MODEL, "live", "b", 0, 1, patience=99.0)
    )
    assert 50 < taken.wait < 65


@limited('{"concurrent": 2}')
async def test_calls_at_once_are_counted_and_die_with_their_worker(account: Account) -> None:
    a = await account.lease("a")
    b = await account.lease("b", boot="another")
    c, d = await account.lease("c"), await account.lease("d")
    assert [await account.take(lease) for lease in (a, b, c)] == ["go", "go", "wait"]
    await account.budgets.done(a, Call(MODEL, "live", "", 0, 0))
    assert [await account.take(lease) for lease in (c, d)] == ["go", "wait"]
    await account.fleet.bury("another", "it died")
    assert await account.take(d) == "go"


@limited('{"concurrent": 1}')
async def test_a_call_that_ends_wakes_the_next_in_line(account: Account) -> None:
    a, b = await account.lease("a"), await account.lease("b")
    assert [await account.take(lease) for lease in (a, b)] == ["go", "wait"]
    await b.park("budget", MODEL, "live", 60.0)
    assert await account.budgets.refill() == []
    woken = await account.budgets.done(a, Call(MODEL, "live", "", 0, 0))
    assert woken == ["default/b"]
    assert await account.take(await account.lease("c")) == "go", "the place is not kept for long"


@limited('{"concurrent": 40}')
async def test_nine_live_jobs_are_woken_for_one_of_a_batch(account: Account) -> None:
    for lane in (Lane.BATCH, Lane.LIVE):
        for n in range(40):
            lease = await account.lease(f"{lane} {n:02}", lane)
            await lease.park("budget", MODEL, lane, 60.0)
    woken = await account.budgets.refill()
    assert len(woken) == 40
    assert sum("batch" in name for name in woken) == 4
    assert [name for name in woken if "live" in name] == [
        f"default/live%20{n:02}" for n in range(36)
    ]


async def test_what_is_cancelled_takes_no_place(account: Account) -> None:
    for n in range(3):
        await (await account.lease(f"{n}")).park("budget", MODEL, "live", 60.0)
    await account.jobs.cancel("default", "0", "")
    assert sorted(await account.budgets.refill()) == ["default/1", "default/2"]
    assert await account.connection.redis.smembers(keys.BUDGETS) == set()


async def test_a_refusal_pauses_everybody_and_finds_a_rate(account: Account) -> None:
    await account.budgets.refused(MODEL, retry_after=30.0)
    assert await account.take(await account.lease("a")) == "wait"
    (budget,) = await account.budgets.all()
    assert (budget.model, budget.found, budget.refused) == (MODEL, True, 1)
    assert budget.rate > 0
    assert 25 < budget.paused <= 30


async def test_an_unknown_account_is_asked_gently(account: Account) -> None:
    """300 a minute to begin with, where the adapter says that there is an account behind it."""
    leases = [await account.lease(f"{n}") for n in range(3)]
    assert await account.take(leases[0], metered=True) == "go"
    assert await account.take(leases[1], metered=True) in ("go", "wait")
    assert await account.take(leases[2], metered=True) == "wait"


async def test_a_text_is_one_job_s_until_its_worker_is_dead(account: Account) -> None:
    a, b = await account.lease("a", boot="first"), await account.lease("b")
    assert await account.take(a, hash="text") == "go"
    assert await account.take(a, hash="text") == "go", "asked again after a lost reply"
    assert await account.take(a, hash="text", index=1) == "spoken", "a text that it repeats"
    assert await account.take(b, hash="text") == "spoken"
    await account.fleet.bury("first", "it died")
    assert await account.take(b, hash="text") == "go"


async def test_who_parks_too_late_looks_again_at_once(account: Account) -> None:
    a, b = await account.lease("a"), await account.lease("b")
    await account.take(a, hash="text")
    assert await account.take(b, hash="text") == "spoken"
    await a.release(["text"])
    await b.park("segment", "text", "live", 60.0)
    assert await account.fleet.due() == 1
