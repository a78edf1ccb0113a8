"""Webhooks from a real server to a real receiver: signed, in order, at least once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from standardwebhooks import WebhookVerificationError

from speechfleet.chunks import Finished
from speechfleet.cli import app
from speechfleet.ledger import Lease, keys
from speechfleet.ledger.batches import item_id
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.ledger import Ledger
from speechfleet.request import Lane, Request
from speechfleet.settings import Settings
from speechfleet.webhook_settings import EVENTS, make_secret
from speechfleet.webhooks import Secret, Webhook, new_webhook
from speechfleet_worker.context import WorkerContext
from speechfleet_worker.maintenance import webhook_sender
from speechfleet_worker.maintenance.webhook_sender import WebhookSender, delay_before
from tests.support.webhook_receiver import Receiver, receiver

NAMESPACE = "a tenant"
REQUEST = Request("Hello.", "espeak/espeak-ng", "en")


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(Settings.load(redis_url=redis_url))
    await ledger.open()
    yield ledger
    await ledger.close()


@pytest.fixture
async def received() -> AsyncIterator[Receiver]:
    async with receiver() as running:
        yield running


def sender_of(ledger: Ledger, *networks: str) -> WebhookSender:
    """The sender of a worker that does nothing else."""
    settings = ledger.connection.settings.model_copy(update={"webhook_networks": networks})
    context = SimpleNamespace(ledger=ledger, settings=settings, draining=False)
    return WebhookSender(cast(WorkerContext, context))


@pytest.fixture
def sender(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> WebhookSender:
    """Make one whose next tries come when a test says so, see `make_due`."""
    monkeypatch.setattr(webhook_sender, "FIRST_DELAY_S", 3600.0)
    return sender_of(ledger, "127.0.0.0/8")


async def send(sender: WebhookSender) -> None:
    """Send all that is due now."""
    await sender.look()
    await sender.drain()


async def hooked(ledger: Ledger, received: Receiver, *events: str) -> Webhook:
    hook = Webhook(NAMESPACE, "wh_1", received.url, (Secret(received.secret),), events or EVENTS)
    await ledger.webhooks.put(hook)
    return hook


async def run(ledger: Ledger, id: str, end: str = "finish", batch: str = "") -> None:
    """Run a job to its end, as a worker does that dies right after it."""
    if await ledger.jobs.find(NAMESPACE, id) is None:
        lane = Lane.BATCH if batch else Lane.LIVE
        request = Request("Hello.", "espeak/espeak-ng", "en", lane=lane, batch=batch)
        await ledger.jobs.submit(NAMESPACE, id, request)
    if end == "cancel":
        await ledger.jobs.cancel(NAMESPACE, id, "not wanted")
        return
    lease = Lease(ledger.connection.scripts, JobKeys(NAMESPACE, id), "boot:1", "boot")
    await lease.claim()
    if end == "finish":
        assert await lease.finish(Finished(0, 500, "audio/x", "audio/wav"), size=140, rate=8000)
    else:
        await lease.fail(
            "rejected", "no", retryable=False, max_attempts=1, delay=0, account="a:m",
            of_account=False, usage={"billed": 6},
        )  # fmt: skip


async def make_due(ledger: Ledger) -> None:
    """Bring forward the next try of everything."""
    redis: Any = ledger.connection.redis
    for key in await redis.keys(f"{keys.PREFIX}:webhook-due:*"):
        await redis.zadd(key, dict.fromkeys(await redis.zrange(key, 0, -1), 0))


async def test_the_end_of_a_job_is_told_and_verified(
    ledger: Ledger, sender: WebhookSender, received: Receiver
) -> None:
    await hooked(ledger, received)
    for id, end in (("one/1", "finish"), ("two", "fail"), ("three", "cancel")):
        await run(ledger, id, end)
    await send(sender)
    events = {m.event["data"]["id"]: m.verified(received.secret) for m in received.messages}
    assert {id: event["type"] for id, event in events.items()} == {
        "one/1": "job.succeeded", "two": "job.failed", "three": "job.cancelled",
    }  # fmt: skip
    done = events["one/1"]["data"]
    assert (done["namespace"], done["state"], done["duration"]) == (NAMESPACE, "SUCCEEDED", 0.5)
    assert (done["model"], done["bytes"], done["epoch"]) == ("espeak/espeak-ng", 140, 1)
    assert (events["two"]["data"]["code"], events["two"]["data"]["usage"]) == (
        "rejected", {"billed": 6},
    )  # fmt: skip
    assert "Hello" not in str(received.messages), "no text leaves the fleet"
    with pytest.raises(WebhookVerificationError):
        received.messages[0].verified(make_secret())
    left = await ledger.connection.redis.keys(f"{keys.PREFIX}:webhook-*:*")
    assert left == [f"{keys.PREFIX}:webhook-counts:a%20tenant/wh_1".encode()]
    assert await ledger.webhooks.pending() == []


async def test_a_try_that_failed_is_repeated_with_the_same_id(
    ledger: Ledger, sender: WebhookSender, received: Receiver
) -> None:
    await hooked(ledger, received)
    received.answers = ["500 No", "302 Found\r\nlocation: http://127.0.0.1:1/", ""]
    await run(ledger, "job")
    for tries in range(1, 4):
        await send(sender)
        assert len(received.messages) == tries, "one that failed is not due at once"
        await make_due(ledger)
    await send(sender)
    assert len({message.id for message in received.messages}) == 1
    assert len({message.body for message in received.messages}) == 1
    assert len(received.messages) == 4
    assert await ledger.webhooks.pending() == []


async def test_events_of_one_job_keep_their_order(
    ledger: Ledger, sender: WebhookSender, received: Receiver
) -> None:
    await hooked(ledger, received)
    received.answers = ["503 Wait"]
    await run(ledger, "first", "fail")
    await send(sender)
    await ledger.jobs.retry(NAMESPACE, "first")
    await run(ledger, "first")
    await run(ledger, "second")
    await send(sender)
    assert received.events()[1:] == [("job.succeeded", "second")], "it waits for no other job"
    await make_due(ledger)
    await send(sender)
    assert received.events()[2:] == [("job.failed", "first"), ("job.succeeded", "first")]


async def test_a_worker_that_dies_while_it_sends_loses_nothing(
    ledger: Ledger, sender: WebhookSender, received: Receiver
) -> None:
    hook = await hooked(ledger, received)
    await run(ledger, "job")
    taken = await ledger.webhooks.take("a%20tenant/wh_1", 9, lease_s=3600)
    assert taken is not None
    [event] = taken[1]
    await send(sender)
    assert received.messages == [], "it is the other worker's, as long as that may live"
    await make_due(ledger)
    await send(sender)
    assert [message.id for message in received.messages] == [event.id]
    assert not await ledger.webhooks.settle(hook, event, "later"), "it comes too late"


async def test_what_fails_for_a_day_is_a_dead_letter_until_it_is_replayed(
    ledger: Ledger,
    sender: WebhookSender,
    received: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hook = await hooked(ledger, received)
    monkeypatch.setattr(webhook_sender, "GIVE_UP_S", 0.0)
    received.answers = ["500 No", "500 No"]
    await run(ledger, "one")
    await run(ledger, "two")
    await send(sender)
    letters = await ledger.webhooks.dead_letters(NAMESPACE, hook.id)
    assert {(letter.event.subject, letter.reason) for letter in letters} == {
        ("a%20tenant/one", "it answered 500"), ("a%20tenant/two", "it answered 500"),
    }  # fmt: skip
    assert await ledger.webhooks.replay(NAMESPACE, hook.id, letters) == 2
    assert await ledger.webhooks.replay(NAMESPACE, hook.id, letters) == 0
    await send(sender)
    ids = [message.id for message in received.messages]
    assert sorted(ids[2:]) == sorted(ids[:2])


async def test_a_receiver_that_is_gone_gets_nothing_any_more(
    ledger: Ledger, sender: WebhookSender, received: Receiver
) -> None:
    hook = await hooked(ledger, received)
    received.answers = ["410 Gone"]
    await run(ledger, "one")
    await send(sender)
    held = await ledger.webhooks.find(NAMESPACE, hook.id)
    assert held is not None
    assert held.disabled == "it answered 410"
    await run(ledger, "two")
    await send(sender)
    assert len(received.messages) == 1
    await ledger.webhooks.put(hook)
    letters = await ledger.webhooks.dead_letters(NAMESPACE, hook.id)
    assert await ledger.webhooks.replay(NAMESPACE, hook.id, letters) == 1
    await send(sender)
    assert received.events() == [("job.succeeded", "one")] * 2


async def test_old_and_new_secret_sign_while_they_change(
    ledger: Ledger, sender: WebhookSender, received: Receiver
) -> None:
    old, over, new = received.secret, make_secret(), make_secret()
    await ledger.webhooks.put(
        Webhook(NAMESPACE, "wh_1", received.url, (Secret(new), Secret(old, 4e9), Secret(over, 1)))
    )
    await run(ledger, "job")
    await send(sender)
    [message] = received.messages
    assert message.verified(new) == message.verified(old)
    with pytest.raises(WebhookVerificationError):
        message.verified(over)


async def test_a_batch_tells_its_end_and_a_hook_hears_what_it_wants(
    ledger: Ledger, sender: WebhookSender, received: Receiver
) -> None:
    await hooked(ledger, received, "batch.ended")
    await ledger.batches.open(NAMESPACE, "corpus", window=9)
    await run(ledger, item_id("corpus", "a"), batch="corpus")
    await ledger.batches.end(NAMESPACE, "corpus")
    await ledger.batches.end(NAMESPACE, "corpus")
    await send(sender)
    assert received.events() == [("batch.ended", "corpus")]
    told = received.messages[0].verified(received.secret)["data"]
    assert (told["state"], told["submitted"], told["succeeded"]) == ("ended", 1, 1)


async def test_a_private_address_is_asked_only_where_a_setting_names_it(
    ledger: Ledger, received: Receiver
) -> None:
    await hooked(ledger, received)
    await run(ledger, "job")
    await send(sender_of(ledger))
    assert received.messages == []
    assert [status.waiting for status in await ledger.webhooks.statuses(NAMESPACE)] == [1]
    await make_due(ledger)
    await send(sender_of(ledger, "127.0.0.1"))
    assert len(received.messages) == 1


async def test_a_webhook_tells_how_its_events_fare(
    ledger: Ledger, sender: WebhookSender, received: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = await hooked(ledger, received)
    received.answers = ["200 OK", "500 No", "500 No"]
    await run(ledger, "fine")
    await send(sender)
    await run(ledger, "late")
    await send(sender)
    redis: Any = ledger.connection.redis
    [since] = await redis.keys(f"{keys.PREFIX}:webhook-since:*")
    await redis.zincrby(since, -60_000, (await redis.zrange(since, 0, 0))[0])
    await run(ledger, "later")
    [status] = await ledger.webhooks.statuses()
    assert (status.hook, status.sent, status.failed, status.waiting) == (hook, 1, 1, 2)
    assert 60 <= status.oldest < 120
    monkeypatch.setattr(webhook_sender, "GIVE_UP_S", 0.0)
    await make_due(ledger)
    await send(sender)
    [status] = await ledger.webhooks.statuses(NAMESPACE)
    assert (status.sent, status.failed, status.waiting, status.oldest) == (2, 2, 0, 0)
    assert (status.dead, status.given_up) == (1, 1)
    await ledger.webhooks.replay(
        NAMESPACE, hook.id, await ledger.webhooks.dead_letters(NAMESPACE, hook.id)
    )
    await send(sender)
    [status] = await ledger.webhooks.statuses(NAMESPACE)
    assert (status.sent, status.dead, status.given_up) == (3, 0, 1)
    await ledger.webhooks.remove(NAMESPACE, hook.id)
    assert await redis.keys(f"{keys.PREFIX}:webhook-*:*") == []


async def test_the_oldest_event_is_the_next_once_the_first_is_sent(
    ledger: Ledger, sender: WebhookSender, received: Receiver
) -> None:
    await hooked(ledger, received)
    received.answers = ["500 No"]
    await run(ledger, "job", "fail")
    await send(sender)
    await ledger.jobs.retry(NAMESPACE, "job")
    await run(ledger, "job")
    redis: Any = ledger.connection.redis
    [since] = await redis.keys(f"{keys.PREFIX}:webhook-since:*")
    first = (await redis.zrange(since, 0, 0, withscores=True))[0][1]
    taken = await ledger.webhooks.take("a%20tenant/wh_1", 9, lease_s=0)
    assert taken is None, "its time has not come"
    await make_due(ledger)
    taken = await ledger.webhooks.take("a%20tenant/wh_1", 9, lease_s=0)
    assert taken is not None
    assert await ledger.webhooks.settle(taken[0], taken[1][0], "delivered")
    assert (await redis.zrange(since, 0, 0, withscores=True))[0][1] > first


async def test_a_namespace_without_webhooks_leaves_no_key(ledger: Ledger) -> None:
    await ledger.webhooks.put(new_webhook("another", "https://example.org/"))
    await run(ledger, "job")
    assert await ledger.webhooks.pending() == []


async def test_a_removed_webhook_takes_its_events_with_it(
    ledger: Ledger, sender: WebhookSender, received: Receiver
) -> None:
    await hooked(ledger, received)
    await run(ledger, "job")
    assert await ledger.webhooks.remove(NAMESPACE, "wh_1")
    await send(sender)
    assert received.messages == []
    assert await ledger.webhooks.pending() == []


async def test_a_setting_takes_back_what_it_no_longer_names(
    ledger: Ledger, received: Receiver
) -> None:
    await ledger.webhooks.put(new_webhook(NAMESPACE, "https://example.org/"))
    await ledger.webhooks.follow_setting({NAMESPACE: [received.setting]})
    await ledger.webhooks.follow_setting(None)
    assert len(await ledger.webhooks.list(NAMESPACE)) == 2
    await ledger.webhooks.follow_setting({})
    assert [hook.url for hook in await ledger.webhooks.list(NAMESPACE)] == ["https://example.org/"]


def test_tries_come_further_and_further_apart() -> None:
    delays = [delay_before(tries) for tries in range(12)]
    assert 4 <= delays[0] <= 6
    assert 11_520 <= delays[-1] <= 17_280
    assert sum(delays) < 86_400
    assert 480 <= delay_before(0, retry_after=600) <= 720


def test_the_command_adds_rotates_replays_and_removes(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", redis_url)

    def command(*words: str) -> Any:
        status = app.run(["webhooks", *words, "--json"])
        return status, json.loads(capsys.readouterr().out)

    made = command("add", "https://example.org/x", "--event", "batch.ended")[1]
    assert made["secret"].startswith("whsec_")
    assert command("add", "ftp://example.org")[0] == 2
    assert command("add", "https://user:pass@example.org")[0] == 2
    assert command("add", "https://example.org", "--event", "job.begun")[0] == 2
    turned = command("rotate", made["id"])[1]
    assert turned["secret"] != made["secret"]
    [listed] = command("list")[1]["webhooks"]
    assert (listed["events"], listed["waiting"]) == (["batch.ended"], 0)
    assert (listed["sent"], listed["failed"], listed["dead"], listed["oldest"]) == (0, 0, 0, 0)
    assert "secret" not in listed
    assert command("dead", made["id"]) == (0, {"dead": []})
    assert command("replay", made["id"]) == (0, {"replayed": 0})
    assert command("enable", made["id"])[0] == 0
    assert command("remove", made["id"]) == (0, {"removed": made["id"]})
    assert command("remove", made["id"])[0] == 2
