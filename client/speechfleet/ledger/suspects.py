"""Note in records, and count for the metrics, which segments probably lack text."""

from __future__ import annotations

from collections.abc import Sequence

from speechfleet.ledger import keys
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.overview import MOST_COUNTS
from speechfleet.ledger.scripts import Scripts
from speechfleet.observability.metrics import SUSPECT, Tally, other_field


async def note_suspects(
    scripts: Scripts, job: JobKeys, epoch: int, model: str, indices: Sequence[int]
) -> None:
    """Write the suspect segments of one epoch into the record; count those that are new."""
    listed = " ".join(map(str, indices))
    new = int(await scripts.run("suspect", (job.record,), job.name, epoch, listed))
    if not new:
        return
    tally = Tally()
    tally.add(SUSPECT, model, by=new)
    for field, number in tally.take().items():
        await scripts.run("count", (keys.COUNTS,), MOST_COUNTS, field, other_field(field), number)
