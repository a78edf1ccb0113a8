"""Deleted jobs whose audio and segments have still to be swept from the store.

The worker of a deleted job may be in the middle of a write to the store. So a deletion is not
over when the store was swept once: workers repeat it for a while, less and less often.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from speechfleet.ledger import keys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.keys import JobKeys

SWEPT_FOR_S = 900.0
"""Seconds for which the store is swept again: no write to it takes longer."""
FIRST_SWEEP_S = 1.0
FAILED_SWEEP_S = 10.0
"""Seconds until a sweep is tried again that the store refused."""
LEASE_S = 60.0
"""Seconds for which a sweep belongs to one worker."""


@dataclass(frozen=True)
class Leftovers:
    """Hashes of the segments that a deleted job has used. ``unused``: by no other job."""

    unused: tuple[str, ...] = ()
    used: tuple[str, ...] = ()

    @classmethod
    def decode(cls, reply: Any) -> Leftovers:
        """Read the answer of the scripts `delete` and `remaining`."""
        unused, used = reply
        return cls(tuple(h.decode() for h in unused), tuple(h.decode() for h in used))


@dataclass(frozen=True)
class Deletion:
    """A deleted job whose store has to be swept. ``age``: seconds since it was deleted."""

    namespace: str
    id: str
    age: float


class Deletions:
    """The deletions of all namespaces."""

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    async def take_due(self, count: int = 20) -> list[Deletion]:
        """Take the deletions that are due for a sweep; no other worker gets them meanwhile."""
        reply = await self._scripts.run(
            "deletions_due", (keys.DELETIONS, keys.DELETED_AT), count, int(LEASE_S * 1000)
        )
        jobs = (JobKeys.parse(name.decode()) for name in reply[::2])
        return [
            Deletion(job.namespace, job.id, int(age) / 1000)
            for job, age in zip(jobs, reply[1::2], strict=True)
        ]

    async def leftovers(self, namespace: str, id: str) -> Leftovers:
        """Sort the segments that a deleted job has used, as of now."""
        job = JobKeys(namespace, id)
        return Leftovers.decode(await self._scripts.run("remaining", (job.record,), job.name))

    async def swept(self, deletion: Deletion, *, clean: bool) -> None:
        """Plan the next sweep; there is none once it was clean long enough after the deletion."""
        job = JobKeys(deletion.namespace, deletion.id)
        delay: float | None = max(FIRST_SWEEP_S, deletion.age)
        if not clean:
            delay = FAILED_SWEEP_S
        elif deletion.age >= SWEPT_FOR_S:
            delay = None
        await self._scripts.run(
            "deletion_swept",
            (keys.DELETIONS, keys.DELETED_AT, job.leftovers),
            job.name,
            "" if delay is None else int(delay * 1000),
        )
