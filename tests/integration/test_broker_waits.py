"""A consumer asks the queues that have room, takes as many messages, and learns of new room."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from kombu.transport.redis import Channel

from speechfleet.ledger import keys
from speechfleet.ledger.message import BEHIND
from speechfleet.request import Lane
from speechfleet.settings import Settings
from speechfleet_worker import broker
from speechfleet_worker.broker import TOGETHER, RedisChannel
from speechfleet_worker.celery_app import make_app

OPEN, CLOSED = "open", "closed"
LIVE, BATCH, OTHER = (
    keys.queue(lane, provider)
    for lane, provider in ((Lane.LIVE, "one"), (Lane.BATCH, "one"), (Lane.BATCH, "two"))
)


class Stage:
    """A consumer of some queues, how much room each has, and what was delivered."""

    def __init__(self, channel: Channel, rooms: dict[str, int]) -> None:
        assert isinstance(channel, RedisChannel)
        self.channel = channel
        self.rooms = rooms
        self.delivered: list[str] = []
        self.server = redis.Redis(connection_pool=channel.pool)
        channel.connection._deliver = self._deliver

    def _deliver(self, message: dict[str, str], queue: str) -> None:
        self.delivered.append(message["name"])
        self.rooms.update({each: room - 1 for each, room in self.rooms.items()})

    def send(self, queue: str, count: int, *, head: bool = False) -> None:
        key = queue if head else f"{queue}{BEHIND}"
        for number in range(count):
            self.server.lpush(key, json.dumps({"name": f"{queue} {number}"}))

    def begin_to_wait(self) -> list[str]:
        """Send the BRPOP that Celery's loop sends, and return the queues that it asks."""
        self.channel.connection.cycle._register_BRPOP(self.channel)
        return list(self.channel._queue_cycle._asked)

    def wait_at_server(self) -> None:
        while not [each for each in self.server.client_list() if each["cmd"] == "brpop"]:
            pass  # each look is a round trip to the server


@contextmanager
def stage(redis_url: str, rooms: dict[str, int]) -> Iterator[Stage]:
    settings = Settings.load(redis_url=redis_url)
    app = make_app(settings, list(rooms), room=lambda queue: max(0, rooms[queue]))
    with app.connection_for_read() as connection, app.amqp.TaskConsumer(connection) as consumer:
        yield Stage(consumer.channel, rooms)


def test_a_wait_ends_when_another_queue_has_room(redis_url: str) -> None:
    with stage(redis_url, {OPEN: 1, CLOSED: 0}) as it:
        channel = it.channel
        assert it.begin_to_wait() == [OPEN]
        it.wait_at_server()
        channel.end_waiting()
        assert channel._in_poll, "nothing else has room"
        it.rooms[CLOSED] = 1
        channel.end_waiting()
        assert channel.client.parse_response(channel._in_poll, "BRPOP") is None, "it was ended"
        channel._in_poll = None
        assert set(it.begin_to_wait()) == {OPEN, CLOSED}


def test_a_queue_that_has_room_again_gives_its_messages_at_once(redis_url: str) -> None:
    with stage(redis_url, {OPEN: 9, CLOSED: 0}) as it:
        it.begin_to_wait()
        it.wait_at_server()
        it.send(CLOSED, 3)
        it.rooms[CLOSED] = 2
        it.channel.end_waiting()
        assert it.delivered == [f"{CLOSED} 0", f"{CLOSED} 1"]
        assert it.channel._in_poll, "the wait for the others goes on"


@pytest.fixture(autouse=True)
def _any_message_may_be_one_of_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a busy machine takes to read the first."""
    monkeypatch.setattr(broker, "BACKLOG_S", 600.0)


def test_a_backlog_is_taken_together_and_no_further_than_there_is_room(redis_url: str) -> None:
    with stage(redis_url, {OPEN: 7}) as it:
        it.send(OPEN, 9)
        it.begin_to_wait()
        it.channel._brpop_read()
        assert it.delivered == [f"{OPEN} {number}" for number in range(1 + TOGETHER)]
        it.begin_to_wait()
        it.channel._brpop_read()
        assert len(it.delivered) == 7


def test_a_message_that_was_waited_for_comes_alone(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "BACKLOG_S", -1.0)
    with stage(redis_url, {OPEN: 5}) as it:
        it.send(OPEN, 2)
        it.begin_to_wait()
        it.channel._brpop_read()
        assert it.delivered == [f"{OPEN} 0"]


def test_heads_go_first_then_live_jobs_and_queues_of_one_lane_take_turns(redis_url: str) -> None:
    with stage(redis_url, {BATCH: 12, OTHER: 12, LIVE: 12}) as it:
        for queue in (BATCH, OTHER, LIVE):
            it.send(queue, 3)
        it.send(OTHER, 1, head=True)
        while len(it.delivered) < 10:
            it.begin_to_wait()
            it.channel._brpop_read()
        assert it.delivered[0] == f"{OTHER} 0"
        lanes = [name.rpartition(" ")[0] for name in it.delivered[1:]]
        assert lanes[:3] == [LIVE] * 3
        pairs = [Counter(lanes[at : at + 2]) for at in (3, 5, 7)]
        assert pairs == [Counter({BATCH: 1, OTHER: 1})] * 3


def test_commands_share_a_client_until_the_connections_are_dropped(redis_url: str) -> None:
    app = make_app(Settings.load(redis_url=redis_url), [OPEN])
    with app.connection_for_write() as connection, connection.channel() as channel:
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
        channel._disconnect_pools()
        with channel.conn_or_acquire() as renewed:
            assert renewed is not first
            assert renewed.ping()
