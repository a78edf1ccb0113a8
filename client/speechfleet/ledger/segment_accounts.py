"""Count or drop the segments of a job that its record does not name, on behalf of its lease."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Mapping

from speechfleet.ledger import keys
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.pipeline import Argument
from speechfleet.ledger.scripts import Scripts


class LeaseLost(Exception):
    """The job no longer belongs to this execution: cancelled, taken over, or gone."""


def flat_pairs(usage: Mapping[str, int]) -> list[Argument]:
    """List names and amounts as a script takes them, without those that are zero."""
    return [item for pair in usage.items() if pair[1] for item in pair]


class SegmentAccounts:
    """The part of a `Lease` that concerns segments beside the record."""

    job: JobKeys
    token: str
    _scripts: Scripts

    async def begin(self, hash: str) -> None:
        """Remember a segment that is about to be stored, so that a deletion finds it.

        Raises LeaseLost.
        """
        arguments = (self.job.name, self.token, hash)
        if await self._scripts.run("begin", (self.job.record,), *arguments) < 0:
            raise LeaseLost

    async def count_call(
        self,
        epoch: int,
        account: str,
        usage: Mapping[str, int],
        *,
        index: int,
        complete: str = "",
        stored: bool = False,
    ) -> None:
        """Count a provider call of this job whose audio is not recorded.

        ``index``: of its segment. Nothing is counted where this run has recorded that after all,
        and did not learn of it.
        ``complete``: hash of the segment whose call came to its end: another worker may have
        found its audio and counted the call, which is not counted again then. ``stored``: a later
        attempt finds that audio in the segment store. If another worker has the job by now, only
        the sums of the day are raised.
        """
        # The same where the reply is lost and the command sent again.
        count = f"{self.token} {complete}" if complete else uuid.uuid4().hex
        await self._scripts.run(
            "count_call",
            (self.job.record,),
            *(self.job.name, self.token, epoch, account, count, index),
            complete if stored else "",
            *flat_pairs(usage),
        )

    async def inherit_call(self, hash: str) -> bool:
        """Tell whether this run counts the call by which a lost owner had a stored segment spoken.

        False where there was no such call, or where it was counted by its owner.
        """
        arguments = (self.job.name, self.token, hash)
        return bool(await self._scripts.run("inherit_call", (self.job.record,), *arguments))

    async def unused(self, hashes: Iterable[str]) -> list[str]:
        """Return those of the segments that no record names."""
        hashes = list(hashes)
        found = await asyncio.gather(
            *(self._scripts.call("EXISTS", keys.uses(self.job.namespace, hash)) for hash in hashes)
        )
        return [hash for hash, exists in zip(hashes, found, strict=True) if not exists]

    async def release(self, hashes: Iterable[str]) -> None:
        """Release segments that this execution claimed and did not store: others may do it."""
        if hashes := tuple(hashes):
            await self._scripts.run(
                "release", (self.job.record,), self.job.name, self.token, *hashes
            )
