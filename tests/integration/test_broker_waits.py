"""A consumer that waits for messages of some queues is told when others have room."""

from __future__ import annotations

import redis
from kombu.transport.redis import Channel

from speechfleet.ledger.message import TASK
from speechfleet.settings import Settings
from speechfleet_worker.broker import RedisChannel
from speechfleet_worker.celery_app import make_app

OPEN, CLOSED = "open", "closed"


def test_a_wait_ends_when_another_queue_has_room(redis_url: str) -> None:
    rooms = {OPEN}
    app = make_app(Settings.load(redis_url=redis_url), [OPEN, CLOSED], is_open=rooms.__contains__)
    with app.connection_for_read() as connection, app.amqp.TaskConsumer(connection) as consumer:
        channel: Channel = consumer.channel
        assert isinstance(channel, RedisChannel)
        assert begin_to_wait(channel) == [OPEN]
        channel.resume()
        assert channel._in_poll, "nothing else has room"
        rooms.add(CLOSED)
        channel.resume()
        assert channel.client.parse_response(channel._in_poll, "BRPOP") is None, "it was ended"
        channel._in_poll = None
        assert set(begin_to_wait(channel)) == {OPEN, CLOSED}


def test_messages_of_a_queue_with_room_are_taken_beside_a_wait(redis_url: str) -> None:
    taken: list[str] = []
    app = make_app(
        Settings.load(redis_url=redis_url),
        [OPEN, CLOSED],
        is_open=lambda queue: queue == OPEN or len(taken) < 2,
    )
    with app.connection_for_read() as connection, app.amqp.TaskConsumer(connection) as consumer:
        channel: Channel = consumer.channel
        assert isinstance(channel, RedisChannel)
        consumer.on_message = lambda message: taken.append(message.delivery_info["routing_key"])
        taken += ["none has room", "at first"]
        assert begin_to_wait(channel) == [OPEN]
        for number in range(3):
            app.send_task(TASK, args=("ns/job", number), queue=CLOSED)
        taken.clear()
        before = unblocks(channel)
        channel.resume()
        assert taken == [CLOSED, CLOSED], "as many as have room"
        assert unblocks(channel) == before, "it waits as before"


def test_commands_share_a_client_until_the_connections_are_dropped(redis_url: str) -> None:
    app = make_app(Settings.load(redis_url=redis_url), [OPEN])
    with app.connection_for_write() as connection, connection.channel() as channel:
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
        channel._disconnect_pools()
        with channel.conn_or_acquire() as renewed:
            assert renewed is not first
            assert renewed.ping()


def unblocks(channel: Channel) -> int:
    """Return how often a command that waited was ended."""
    with redis.Redis(connection_pool=channel.pool) as client:
        counts = client.info("commandstats").get("cmdstat_client|unblock", {})
    return int(counts.get("calls", 0))


def begin_to_wait(channel: Channel) -> list[str]:
    """Send the BRPOP that Celery's loop sends, and return the queues that it asks."""
    channel.connection.cycle._register_BRPOP(channel)
    with redis.Redis(connection_pool=channel.pool) as client:
        while not (waiting := [each for each in client.client_list() if each["cmd"] == "brpop"]):
            pass  # each look is a round trip to the server
    assert len(waiting) == 1
    asked: list[str] = channel._queue_cycle.consume(2)
    return asked
