"""One record, message or description that cannot be read stops no loop over many."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from kombu.utils.json import dumps

from speechfleet.ledger import Lease, keys
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.ledger import Ledger
from speechfleet.ledger.message import BEHIND, JobMessage
from speechfleet.ledger.workers import WorkerInfo
from speechfleet.lifecycle import State
from speechfleet.request import Request
from speechfleet.settings import Settings

OTHER, VOICE = "speechfleet.1.live.other", "speechfleet.1.live.voice"


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(Settings.load(redis_url=redis_url))
    await ledger.open()
    yield ledger
    await ledger.close()


async def submit(ledger: Ledger, id: str, provider: str = "voice") -> None:
    await ledger.jobs.submit("default", id, Request("Text.", f"{provider}/v"))


async def claim(ledger: Ledger, id: str, boot: str) -> Lease:
    lease = Lease(ledger.connection.scripts, JobKeys("default", id), f"{boot}:{id}", boot)
    assert (await lease.claim()).outcome == "granted"
    return lease


async def given_back(ledger: Ledger, queue: str) -> bytes:
    """The only message of a queue, as kombu writes it when it gives it back."""
    (raw,) = await ledger.connection.redis.lrange(queue + BEHIND, 0, -1)
    message = json.loads(raw)
    message["body"] = message["body"].encode()
    return str(dumps(message)).encode()  # type: ignore[no-untyped-call]  # kombu


async def test_a_message_that_was_given_back_does_not_hide_a_lost_one(ledger: Ledger) -> None:
    redis: Any = ledger.connection.redis
    await submit(ledger, "back", "other")
    restored = await given_back(ledger, OTHER)
    assert JobMessage.decode(restored) == JobMessage("default/back", "1")
    await redis.delete(OTHER + BEHIND)
    await redis.lpush(OTHER + BEHIND, restored)
    await submit(ledger, "lost")
    await redis.rpop(VOICE + BEHIND)
    assert await ledger.queues.popped() == {JobMessage("default/lost", "2")}


@pytest.mark.parametrize(
    "message",
    [b"", b"\xff", b"[]", b"{}", b'{"headers": {"task": "speechfleet.speak"}, "body": 1}'],
    ids=["empty", "not UTF-8", "a list", "without headers", "a number as its body"],
)
async def test_an_unreadable_message_does_not_hide_a_lost_one(
    ledger: Ledger, message: bytes
) -> None:
    redis: Any = ledger.connection.redis
    await submit(ledger, "lost")
    await submit(ledger, "waits")
    await redis.rpop(VOICE + BEHIND)
    await redis.rpush(VOICE + BEHIND, *[message] * 120)
    assert await ledger.queues.popped() == {JobMessage("default/lost", "1")}


async def test_a_list_of_another_type_stops_no_search(ledger: Ledger) -> None:
    redis: Any = ledger.connection.redis
    await redis.sadd(keys.LISTS, "a string")
    await redis.set("a string", "x")
    await submit(ledger, "lost")
    await redis.rpop(VOICE + BEHIND)
    assert await ledger.queues.popped() == {JobMessage("default/lost", "1")}


async def test_an_unreadable_record_is_left_out_of_lists(ledger: Ledger) -> None:
    redis: Any = ledger.connection.redis
    for id in ("good", "bad state", "bad number", "bad text"):
        await submit(ledger, id)
    for id, field, value in (
        ("bad state", "state", "SLEEPING"),
        ("bad number", "created", "yesterday"),
        ("bad text", "voice", b"\xff"),
    ):
        await redis.hset(JobKeys("default", id).record, field, value)
    found = await ledger.jobs.list("default", [State.QUEUED])
    assert [record.id for record in found] == ["good"]


async def test_a_record_of_another_type_stops_no_recovery(ledger: Ledger) -> None:
    redis: Any = ledger.connection.redis
    for id in ("a", "b", "c"):
        await submit(ledger, id)
        await claim(ledger, id, "dead")
    await redis.delete(JobKeys("default", "b").record)
    await redis.set(JobKeys("default", "b").record, "x")
    await ledger.workers.recover_jobs("dead", "it died")
    for id in ("a", "c"):
        assert (await ledger.jobs.load("default", id)).state is State.QUEUED
    assert not await redis.hexists(keys.HEARTBEATS, "dead")


async def test_a_delayed_job_that_cannot_be_sent_holds_up_no_other(ledger: Ledger) -> None:
    redis: Any = ledger.connection.redis
    await submit(ledger, "fails")
    lease = await claim(ledger, "fails", "boot")
    await lease.fail(
        "busy", "busy", retryable=True, max_attempts=3, delay=0.0,
        account="default:m", of_account=False, usage={},
    )  # fmt: skip
    await redis.set(JobKeys("default", "bad").record, "x")
    await redis.zadd(keys.DELAYED, {"default/bad": 0})
    assert await ledger.queues.send_due() == 1


async def test_an_unreadable_worker_hides_no_other(ledger: Ledger) -> None:
    redis: Any = ledger.connection.redis
    await ledger.workers.register(WorkerInfo("good", "host", 1, "1.0", (), 1))
    for boot, description in (("no JSON", "x"), ("a list", "[1]"), ("no host", '{"boot": "b"}')):
        await redis.hset(keys.HEARTBEATS, boot, 1)
        await redis.set(keys.boot(boot), description)
    assert [worker.boot for worker in await ledger.workers.workers()] == ["good"]


async def test_an_unreadable_result_holds_up_no_batch(ledger: Ledger) -> None:
    redis: Any = ledger.connection.redis
    await ledger.batches.open("default", "b", window=10)
    results = "speechfleet.1:results:default:b"
    await redis.xadd(results, {"name": "default/b%2Fbad", "state": "SLEEPING", "epoch": "1"})
    await redis.xadd(results, {"name": "default/b%2Fgood", "state": "SUCCEEDED", "epoch": "1"})
    (found,) = await ledger.batches.results("default", "b", wait=0)
    assert found.item == "good"
    assert await redis.xlen(results) == 1, "it would count as unread for ever"


async def test_an_unreadable_batch_hides_no_other(ledger: Ledger) -> None:
    for id in ("good", "bad"):
        await ledger.batches.open("default", id, window=10)
    await ledger.connection.scripts.call(
        "HSET", "speechfleet.1:batch:default:bad", "state", "asleep"
    )
    assert [status.id for status in await ledger.batches.list("default")] == ["good"]


async def test_unreadable_counts_and_models_hide_no_others(ledger: Ledger) -> None:
    redis: Any = ledger.connection.redis
    await redis.hset(keys.CATALOGUE, mapping={"good": "[]", "bad": "{"})
    await redis.hset(keys.COUNTS, mapping={"good": 1, "bad": "x"})
    assert await ledger.overview.catalogue() == {"good": []}
    assert await ledger.overview.counts() == {"good": 1}
