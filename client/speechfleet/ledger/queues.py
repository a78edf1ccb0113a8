"""Queues of job messages: lost messages, delayed jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from speechfleet.ledger import keys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.message import JobMessage
from speechfleet.ledger.skip_on_error import skip_on_error

MESSAGE_PAGE = 100
"""Messages that are read at once in the search for a readable one."""
MAX_POPPED = 1000
"""Popped messages of a list that one look reports."""


class Queues:
    """Job messages that wait, and those that have to be sent again.

    A message only says that there is work in its queue. The record of each queued job names the
    message that is out for it; a script that claims another job exchanges the two.
    """

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    # --- lost messages ----------------------------------------------------------------------

    async def popped(self) -> set[JobMessage]:
        """Find the queued jobs whose message is in no list.

        In each list the sequence grows from the oldest message on, so a pending message with a
        lower one was popped. That holds however long the list is: a backlog is never touched.
        Most popped messages are in a worker's hands; one that stays so was lost.
        """
        popped: set[JobMessage] = set()
        for item in await self._scripts.call("SMEMBERS", keys.LISTS):
            name = item.decode()
            with skip_on_error(f"look for lost messages of {name}"):
                popped |= await self._popped_from(name)
        return popped

    async def _popped_from(self, list: str) -> set[JobMessage]:
        oldest = await self._oldest(list)
        below = f"({oldest.sequence}" if oldest else "+inf"
        found = await self._scripts.call(
            "ZRANGEBYSCORE",
            keys.pending(list),
            "-inf",
            below,
            "WITHSCORES",
            "LIMIT",
            0,
            MAX_POPPED,
        )
        return {JobMessage(job.decode(), str(int(score))) for job, score in _scored(found)}

    async def _oldest(self, list: str) -> JobMessage | None:
        """Find the oldest message of a list that can be read; None where there is none."""
        end = -1
        while messages := await self._scripts.call("LRANGE", list, end - MESSAGE_PAGE + 1, end):
            for raw in reversed(messages):
                if (message := JobMessage.decode(raw)) and message.sequence.isdecimal():
                    return message
            end -= MESSAGE_PAGE
        return None

    # --- sending again ----------------------------------------------------------------------

    async def resend(self, message: JobMessage) -> bool:
        """Send a message again, if its job still waits for this very one."""
        job = JobKeys.parse(message.name)
        return bool(await self._scripts.run("resend", (job.record,), job.name, message.sequence))

    async def resend_all(self, messages: Iterable[JobMessage]) -> list[JobMessage]:
        """Send each message again, and return those that were sent."""
        messages = list(messages)
        sent = await asyncio.gather(*map(self._try_to_resend, messages))
        return [message for message, done in zip(messages, sent, strict=True) if done]

    async def _try_to_resend(self, message: JobMessage) -> bool:
        with skip_on_error(f"resend job {message.name}"):
            return await self.resend(message)
        return False

    async def give_back(self, message: JobMessage, queue: str) -> bool:
        """Put a message back to the head of its queue, for a worker that cannot take a job now."""
        job = JobKeys.parse(message.name)
        arguments = (job.name, queue, message.sequence)
        return bool(await self._scripts.run("give_back", (job.record,), *arguments))

    async def deserve_slot(self, queues: Sequence[str], job: JobKeys) -> bool:
        """Tell whether a job that waits in these queues should have the slot of a running one."""
        return bool(await self._scripts.run("give_way", (job.record,), job.name, *queues))

    # --- delayed jobs -----------------------------------------------------------------------

    async def delayed(self) -> int:
        """Count the jobs that wait for a time, or to be resumed."""
        return int(await self._scripts.call("ZCARD", keys.DELAYED))

    async def send_due(self, count: int = 200) -> int:
        """Send the messages of delayed jobs whose time has come; return their number."""
        names = await self._scripts.run("due", (keys.DELAYED, keys.EXPIRING, keys.CLOCK), count)
        return len(await self.resend_all(JobMessage(name.decode(), "0") for name in names))


def _scored(found: Any) -> list[tuple[bytes, float]]:
    if found and not isinstance(found[0], tuple):
        return list(zip(found[::2], map(float, found[1::2]), strict=True))
    return list(found)
