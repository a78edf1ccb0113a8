"""What an account allows, kept on a real server for workers that are only played here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from speechfleet.ledger import Connection, Jobs, Lease, RateLimiter, Workers, keys
from speechfleet.ledger.keys import JobKeys, RateLimitKeys
from speechfleet.ledger.lease import RecordedSegment
from speechfleet.ledger.queues import Queues
from speechfleet.ledger.rate_limits import Call
from speechfleet.record import StoredSegment
from speechfleet.request import Lane, Request
from speechfleet.settings import Settings

MODEL = "openai/tts-1"


class Account:
    """A budget, and executions that ask for room in it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.budgets, self.jobs = RateLimiter(connection), Jobs(connection)
        self.fleet = Workers(connection)

    async def lease(
        self, id: str, lane: Lane = Lane.LIVE, boot: str = "boot", namespace: str = "default"
    ) -> Lease:
        await self.jobs.submit(namespace, id, Request(f"{id}.", MODEL, lane=lane))
        lease = Lease(self.connection.scripts, JobKeys(namespace, id), f"{boot}:{id}", boot)
        assert (await lease.claim()).outcome == "granted"
        return lease

    async def take(self, lease: Lease, lane: str = "live", **call: object) -> str:
        asked = Call(MODEL, lane, f"hash of {lease.job.id}", 0, units=10, patience=0.0)
        return (await self.budgets.acquire(lease, replace(asked, **call))).outcome  # type: ignore[arg-type]


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
        assert await account.take(await account.lease(f"{n}")) == "granted"


@limited('{"requests": 3}')
async def test_requests_are_spaced(account: Account) -> None:
    """3 a minute: one now, the next in 20 s; patience decides who waits where it is."""
    assert await account.take(await account.lease("a")) == "granted"
    b = await account.lease("b")
    assert await account.take(b) == "no_room"
    taken = await account.budgets.acquire(b, Call(MODEL, "live", "b", 0, 10, patience=30.0))
    assert taken.outcome == "granted"
    assert 5 < taken.wait <= 21


@limited('{"units": 600}')
async def test_units_are_spaced(account: Account) -> None:
    assert await account.take(await account.lease("a"), units=1200) == "granted"
    taken = await account.budgets.acquire(
        await account.lease("b"), Call(MODEL, "live", "b", 0, 1, patience=199.0)
    )
    assert 60 < taken.wait < 125


@limited('{"concurrent": 2}')
async def test_calls_at_once_are_counted_and_die_with_their_worker(account: Account) -> None:
    a = await account.lease("a")
    b = await account.lease("b", boot="another")
    c, d = await account.lease("c"), await account.lease("d")
    assert [await account.take(lease) for lease in (a, b, c)] == ["granted", "granted", "no_room"]
    await account.budgets.done(a, Call(MODEL, "live", "", 0, 0))
    assert [await account.take(lease) for lease in (c, d)] == ["granted", "no_room"]
    await account.fleet.recover_jobs("another", "it died")
    assert await account.take(d) == "granted"


@limited('{"concurrent": 1}')
async def test_a_call_that_ends_wakes_the_next_in_line(account: Account) -> None:
    a, b = await account.lease("a"), await account.lease("b")
    assert [await account.take(lease) for lease in (a, b)] == ["granted", "no_room"]
    await b.suspend("rate_limit", MODEL, "live", 60.0)
    assert await account.budgets.refill() == []
    resumed = await account.budgets.done(a, Call(MODEL, "live", "", 0, 0))
    assert resumed == ["default/b"]
    assert await account.take(await account.lease("c")) == "granted", (
        "the place is not kept for long"
    )


async def test_what_a_provider_says_of_calls_at_once_holds_for_all_workers(
    account: Account,
) -> None:
    others = Account(account.connection)
    a, b, c = [await account.lease(id, boot=id) for id in "abc"]
    assert await account.take(a) == "granted"
    await account.budgets.concurrent.report(MODEL, 1)
    assert [await others.take(lease) for lease in (b, c)] == ["granted", "no_room"]
    [limit] = await account.budgets.all()
    assert limit.concurrent == 1
    await c.suspend("rate_limit", MODEL, "live", 60.0)
    assert await others.budgets.done(b, Call(MODEL, "live", "", 0, 0)) == ["default/c"]


@limited('{"concurrent": 2}')
async def test_the_lower_of_two_limits_of_calls_at_once_counts(account: Account) -> None:
    leases = [await account.lease(id) for id in "abcde"]
    await account.budgets.concurrent.report(MODEL, 5)
    taken = [await account.take(lease) for lease in leases[:3]]
    assert taken == ["granted", "granted", "no_room"]
    assert (await account.budgets.all())[0].concurrent == 2


@limited('{"concurrent": 40}')
async def test_nine_live_jobs_are_woken_for_one_of_a_batch(account: Account) -> None:
    for lane in (Lane.BATCH, Lane.LIVE):
        for n in range(40):
            lease = await account.lease(f"{lane} {n:02}", lane)
            await lease.suspend("rate_limit", MODEL, lane, 60.0)
    resumed = await account.budgets.refill()
    assert len(resumed) == 40
    assert sum("batch" in name for name in resumed) == 4
    assert [name for name in resumed if "live" in name] == [
        f"default/live%20{n:02}" for n in range(36)
    ]


@limited('{"concurrent": 2}')
async def test_namespaces_take_turns_in_the_line_of_a_rate_limit(account: Account) -> None:
    for n in range(20):
        lease = await account.lease(f"{n:02}", namespace="crowd")
        await lease.suspend("rate_limit", MODEL, "live", 60.0)
    assert await account.budgets.refill() == ["crowd/00", "crowd/01"]
    for n in range(2):
        lease = await account.lease(f"{n}", namespace="other")
        await lease.suspend("rate_limit", MODEL, "live", 60.0)
    await account.connection.redis.delete(RateLimitKeys(MODEL).resumed)  # they had their turn
    assert await account.budgets.refill() == ["crowd/02", "other/0"]


@limited('{"concurrent": 1}')
async def test_who_waits_for_the_account_comes_when_its_text_is_stored(account: Account) -> None:
    """Hundreds of items with the same few texts need no call of their own."""
    first, second = await account.lease("first"), await account.lease("second")
    assert await account.take(first, hash="text") == "granted"
    await second.suspend("rate_limit", MODEL, "live", 60.0, "text")
    assert await Queues(account.connection).send_due() == 0
    segment = StoredSegment(0, 0, 10, 0, 5, "text")
    assert await first.segment(RecordedSegment(segment, 8000, 1 << 20, "default:m", {}))
    assert await Queues(account.connection).send_due() == 1


@limited('{"requests": 600}')
async def test_a_place_is_free_again_once_its_job_needs_no_call(account: Account) -> None:
    for n in range(3):
        lease = await account.lease(f"{n}")
        await lease.suspend("rate_limit", MODEL, "live", 60.0)
    places = RateLimitKeys(MODEL).resumed
    names = await account.budgets.refill()
    assert await account.connection.redis.zcard(places) == len(names) > 0
    stored = await account.lease("stored")
    assert await stored.segment(
        RecordedSegment(StoredSegment(0, 0, 9, 0, 5, "text"), 8000, 1 << 20, "d:m", {})
    )
    resumed = Lease(account.connection.scripts, JobKeys.parse(names[0]), "boot:again", "boot")
    assert await account.take(resumed, hash="text") == "stored"
    assert await account.connection.redis.zcard(places) == len(names) - 1


async def test_what_is_cancelled_takes_no_place(account: Account) -> None:
    for n in range(3):
        await (await account.lease(f"{n}")).suspend("rate_limit", MODEL, "live", 60.0)
    await account.jobs.cancel("default", "0", "")
    assert sorted(await account.budgets.refill()) == ["default/1", "default/2"]
    assert await account.connection.redis.smembers(keys.RATE_LIMITS) == set()


async def test_a_refusal_pauses_everybody_and_finds_a_rate(account: Account) -> None:
    await account.budgets.report_refusal(MODEL, retry_after=30.0)
    assert await account.take(await account.lease("a")) == "no_room"
    (budget,) = await account.budgets.all()
    assert (budget.model, budget.found, budget.refused) == (MODEL, True, 1)
    assert budget.rate > 0
    assert 25 < budget.paused <= 30


async def test_an_unknown_account_is_asked_gently(account: Account) -> None:
    """300 a minute to begin with, where the adapter says that there is an account behind it."""
    leases = [await account.lease(f"{n}") for n in range(12)]
    call = Call(MODEL, "live", "", 0, 10, patience=99.0, metered=True)
    taken = [
        await account.budgets.acquire(lease, replace(call, hash=f"{n}"))
        for n, lease in enumerate(leases)
    ]
    begin = [each.begins for each in taken if each.outcome == "granted"]
    assert len(begin) == len(leases)
    assert begin[-1] - begin[0] > 1.0, "some 200 ms apart, but for what was left unused"


async def test_a_text_is_one_job_s_until_its_worker_is_dead(account: Account) -> None:
    a, b = await account.lease("a", boot="first"), await account.lease("b")
    assert await account.take(a, hash="text") == "granted"
    assert await account.take(a, hash="text") == "granted", "asked again after a lost reply"
    assert await account.take(a, hash="text", index=1) == "in_flight", "a text that it repeats"
    assert await account.take(b, hash="text") == "in_flight"
    await account.fleet.recover_jobs("first", "it died")
    assert await account.take(b, hash="text") == "stored", "it may be: look"
    assert await account.take(b, hash="text", missing=True) == "granted"


async def test_who_parks_too_late_looks_again_at_once(account: Account) -> None:
    a, b = await account.lease("a"), await account.lease("b")
    await account.take(a, hash="text")
    assert await account.take(b, hash="text") == "in_flight"
    await a.release(["text"])
    await b.suspend("segment", "text", "live", 60.0)
    assert await Queues(account.connection).send_due() == 1
