"""Send the events of webhooks: at least once, and those of one job in their order."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial

from speechfleet.errors import SpeechFleetError
from speechfleet.ledger.webhooks import Outcome
from speechfleet.webhooks import Webhook, WebhookEvent, signature
from speechfleet_worker.context import WorkerContext
from speechfleet_worker.maintenance.webhook_request import (
    TIMEOUT_S,
    Answer,
    ReceiverUnreachable,
    networks_of,
    post,
)

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Requests of one worker to one receiver at once."""
LEASE_S = 2 * TIMEOUT_S
"""Seconds after which an event is taken again: whoever took it has died."""
FIRST_DELAY_S, FACTOR, LONGEST_DELAY_S = 5.0, 3.0, 4 * 3600.0
JITTER = 0.2
GIVE_UP_S = 86_400.0
"""Seconds for which a message is tried; then it is a dead letter."""
GONE = 410

Post = Callable[..., Awaitable[Answer]]


def delay_before(tries: int, retry_after: float | None = None) -> float:
    """Return the seconds before the next try, after so many that failed."""
    delay = min(FIRST_DELAY_S * FACTOR**tries, LONGEST_DELAY_S)
    wanted = max(delay, min(retry_after or 0.0, LONGEST_DELAY_S))
    return wanted * random.uniform(1 - JITTER, 1 + JITTER)  # no secret


class WebhookSender:
    """The webhooks that one worker process sends to now; each has a task of its own."""

    def __init__(self, context: WorkerContext, post: Post = post) -> None:
        self._context = context
        self._webhooks = context.ledger.webhooks
        self._networks = networks_of(context.settings.webhook_networks)
        self._post = post
        self._running: dict[str, asyncio.Task[None]] = {}

    async def look(self) -> None:
        """Begin to send where events are due, and nothing is sent by this worker yet."""
        for name in await self._webhooks.pending():
            if name not in self._running and not self._context.draining:
                self._running[name] = task = asyncio.create_task(self._send_due(name))
                task.add_done_callback(partial(self._forget, name))

    def _forget(self, name: str, _: asyncio.Task[None]) -> None:
        del self._running[name]

    async def drain(self) -> None:
        """Let the requests under way end."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _send_due(self, name: str) -> None:
        """Send until nothing is due."""
        try:
            while not self._context.draining:
                taken = await self._webhooks.take(name, AT_ONCE, LEASE_S)
                if taken is None:
                    return
                hook, events = taken
                await asyncio.gather(*(self._send(hook, event) for event in events))
        except SpeechFleetError as error:
            log.warning("webhooks wait: %s", error)
        except Exception:
            log.exception("sending to webhook %s broke", name)

    async def _send(self, hook: Webhook, event: WebhookEvent) -> None:
        outcome, delay, reason = await self._try(hook, event)
        if outcome != "delivered":
            log.warning(
                "webhook %s (%s) did not take %s of %s: %s (%s)",
                *(hook.id, hook.host, event.type, event.subject, reason, outcome),
            )
        await self._webhooks.settle(hook, event, outcome, delay, reason)

    async def _try(self, hook: Webhook, event: WebhookEvent) -> tuple[Outcome, float, str]:
        body, timestamp = event.body(), int(time.time())
        headers = {
            "webhook-id": event.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(hook.secrets, event.id, timestamp, body),
        }
        retry_after = None
        try:
            answer = await self._post(hook.url, body, headers, networks=self._networks)
        except ReceiverUnreachable as error:
            reason = str(error)
        else:
            if 200 <= answer.status < 300:
                return "delivered", 0.0, ""
            reason, retry_after = f"it answered {answer.status}", answer.retry_after
            if answer.status == GONE:
                return "gone", 0.0, reason
        if time.time() - event.since / 1000 >= GIVE_UP_S:
            return "dead", 0.0, reason
        return "later", delay_before(event.tries, retry_after), reason
