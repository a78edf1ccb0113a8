"""Webhooks of namespaces: their receivers, and the queues of events that scripts have filled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from speechfleet.ledger import tenant_keys as keys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.skip_on_error import skip_on_error
from speechfleet.names import encode
from speechfleet.webhook_settings import WebhookSetting
from speechfleet.webhooks import Webhook, WebhookEvent, webhook_of

Outcome = Literal["delivered", "later", "dead", "gone"]
"""The outcome of sending an event; "gone": the receiver wants none any more, and is disabled."""


@dataclass(frozen=True)
class DeadLetter:
    """An event that was given up. ``raw``: as Redis has it; ``at``: when, Unix seconds."""

    event: WebhookEvent
    reason: str
    at: float
    raw: bytes


@dataclass(frozen=True)
class WebhookStatus:
    """A webhook, and how its events fare.

    ``waiting``: jobs and batches whose events wait; ``oldest``: seconds that the first has
    waited; ``dead``: dead letters that are kept; ``sent``, ``failed`` (tries), ``given_up``: sums
    since it was added.
    """

    hook: Webhook
    waiting: int
    oldest: float
    dead: int
    sent: int
    failed: int
    given_up: int


class Webhooks:
    """The webhooks of all namespaces; every change of a queue is one script."""

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    # --- receivers --------------------------------------------------------------------------

    async def put(self, hook: Webhook) -> None:
        """Store a webhook; it gets the events of jobs that end from now on."""
        await self._scripts.call("SADD", keys.WEBHOOK_NAMESPACES, encode(hook.namespace))
        await self._scripts.call("HSET", keys.webhooks(hook.namespace), hook.id, hook.encode())

    async def find(self, namespace: str, id: str) -> Webhook | None:
        """Read a webhook; None where there is none."""
        data = await self._scripts.call("HGET", keys.webhooks(namespace), id)
        return Webhook.decode(namespace, data) if data else None

    async def list(self, namespace: str) -> Sequence[Webhook]:
        """List the webhooks of a namespace."""
        found = []
        for data in await self._scripts.call("HVALS", keys.webhooks(namespace)):
            with skip_on_error("read a webhook"):
                found.append(Webhook.decode(namespace, data))
        return sorted(found, key=lambda hook: hook.id)

    async def remove(self, namespace: str, id: str) -> bool:
        """Forget a webhook with all that waits for it; False where there is none."""
        removed = await self._scripts.call("HDEL", keys.webhooks(namespace), id)
        await self._scripts.run("take_events", (keys.webhooks(namespace),), _name(namespace, id))
        return bool(removed)

    async def follow_setting(self, wanted: Mapping[str, Sequence[WebhookSetting]] | None) -> None:
        """Store the webhooks of the setting, and remove those that an earlier value has stored.

        None: nothing is set, so nothing changes. One that a receiver has disabled stays so.
        """
        if wanted is None:
            return
        hooks = [webhook_of(namespace, each) for namespace in wanted for each in wanted[namespace]]
        named = {(hook.namespace, hook.id) for hook in hooks}
        for encoded in await self._scripts.call("SMEMBERS", keys.WEBHOOK_NAMESPACES):
            namespace = unquote(encoded.decode())
            for held in await self.list(namespace):
                if held.by_setting and (namespace, held.id) not in named:
                    await self.remove(namespace, held.id)
        for hook in hooks:
            held_before = await self.find(hook.namespace, hook.id)
            if held_before is None or (held_before.secrets, held_before.events) != (
                hook.secrets,
                hook.events,
            ):
                await self.put(hook)

    # --- events -----------------------------------------------------------------------------

    async def pending(self) -> Sequence[str]:
        """List the names of webhooks that have events to send, now or later."""
        names = await self._scripts.call("SMEMBERS", keys.WEBHOOKS_PENDING)
        return sorted(name.decode() for name in names)

    async def take(
        self, name: str, count: int, lease_s: float
    ) -> tuple[Webhook, Sequence[WebhookEvent]] | None:
        """Take events that are due; they are due again after the lease, unless settled."""
        namespace = unquote(name.partition("/")[0])
        lease = int(lease_s * 1000)
        reply = await self._scripts.run(
            "take_events", (keys.webhooks(namespace),), name, count, lease
        )
        if not reply:
            return None
        hook, *taken = reply
        events = [
            WebhookEvent.decode(event, int(tries), int(since))
            for _, tries, since, event in zip(*[iter(taken)] * 4, strict=True)
        ]
        return Webhook.decode(namespace, hook), events

    async def settle(
        self, hook: Webhook, event: WebhookEvent, outcome: Outcome, delay_s: float = 0.0,
        reason: str = "",
    ) -> bool:  # fmt: skip
        """Record what came of an event; False where another worker did it before."""
        arguments = (event.subject, event.id, outcome, int(delay_s * 1000), reason)
        name = _name(hook.namespace, hook.id)
        owned = (keys.webhooks(hook.namespace),)
        return bool(await self._scripts.run("settle_event", owned, name, *arguments))

    async def statuses(self, namespace: str | None = None) -> Sequence[WebhookStatus]:
        """Tell how the webhooks of a namespace fare, or those of all."""
        found = await self._scripts.call("SMEMBERS", keys.WEBHOOK_NAMESPACES)
        every = sorted(unquote(name.decode()) for name in found)
        namespaces = every if namespace is None else [namespace]
        held = [hook for name in namespaces for hook in await self.list(name)]
        now = await self._scripts.time()
        return await asyncio.gather(*(self._status(hook, now) for hook in held))

    async def _status(self, hook: Webhook, now: float) -> WebhookStatus:
        call, name = self._scripts.call, _name(hook.namespace, hook.id)
        waiting, first, dead, counts = await asyncio.gather(
            call("ZCARD", keys.webhook_due(name)),
            call("ZRANGE", keys.webhook_since(name), 0, 0, "WITHSCORES"),
            call("LLEN", keys.webhook_dead(name)),
            call("HMGET", keys.webhook_counts(name), "sent", "failed", "dead"),
        )
        oldest = max(0.0, now - float(first[1]) / 1000) if first else 0.0
        return WebhookStatus(hook, int(waiting), oldest, int(dead), *(int(n or 0) for n in counts))

    async def dead_letters(
        self, namespace: str, id: str, count: int = 100
    ) -> Sequence[DeadLetter]:
        """List events that were given up, newest first."""
        key = keys.webhook_dead(_name(namespace, id))
        letters = []
        for raw in await self._scripts.call("LRANGE", key, 0, count - 1):
            with skip_on_error("read a dead letter"):
                values = json.loads(raw)
                event = WebhookEvent.decode(values["event"])
                letters.append(DeadLetter(event, values["reason"], values["at"] / 1000, raw))
        return letters

    async def replay(self, namespace: str, id: str, letters: Sequence[DeadLetter]) -> int:
        """Queue dead letters once more, the oldest first; return their number."""
        replayed, owned = 0, (keys.webhooks(namespace),)
        for letter in reversed(letters):
            name = _name(namespace, id)
            replayed += await self._scripts.run("replay_event", owned, name, letter.raw)
        return replayed


def _name(namespace: str, id: str) -> str:
    return f"{encode(namespace)}/{id}"
