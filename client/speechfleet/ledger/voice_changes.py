"""Let fallback voices speak a job, on behalf of its lease."""

from __future__ import annotations

from collections.abc import Sequence

from speechfleet.fallback import Turn, encode_turns
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.scripts import Scripts
from speechfleet.ledger.segment_accounts import LeaseLost


class VoiceChanges:
    """The part of a `Lease` that changes who speaks."""

    job: JobKeys
    token: str
    _scripts: Scripts

    async def fall_back(
        self, turns: Sequence[Turn], speaker: str, reason: str, queue: str, *, leaves: bool
    ) -> int:
        """Let another voice speak from the next segment on; return the number of that segment.

        ``turns``: all of the job's, the new one last; where it names another segment, nothing is
        done. ``speaker``: the model before it. ``queue``: of the new voice's provider, whose job
        it is from now on; where it ``leaves`` this worker, it waits there, at the head. Raises
        LeaseLost.
        """
        reply = await self._scripts.run(
            "fall_back",
            (self.job.record,),
            *(self.job.name, self.token, turns[-1].first, encode_turns(turns)),
            *(speaker, reason, queue, "1" if leaves else "0"),
        )
        if reply < 0:
            raise LeaseLost
        return int(reply)
