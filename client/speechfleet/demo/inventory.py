"""The cost of the demo, and where everything is stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from speechfleet.cli.tables import print_table
from speechfleet.demo.stage import Stage
from speechfleet.record import Record

EXAMPLE = "udhr-en-01"


class Bill:
    """Compare the characters that this run paid for by the daily sums and by the jobs' records."""

    def __init__(self, stage: Stage, ids: list[str]) -> None:
        self._stage = stage
        self._ids = ids
        self._day = datetime.now(UTC).date()
        self._summed = 0
        self._before: Mapping[str, Record] = {}

    async def open(self) -> None:
        """Note the sums before the run."""
        self._summed = await self._sum(self._day)
        self._before = await self._stage.records(self._ids)

    async def close(self) -> None:
        """Claim that both differences agree."""
        today = datetime.now(UTC).date()
        summed = await self._sum(self._day) - self._summed
        if today != self._day:  # midnight has passed
            summed += await self._sum(today)
        after = await self._stage.records(self._ids)
        recorded = _billed(after) - _billed(self._before)
        done = sum(record.state.terminal for record in self._before.values())
        self._stage.claim(
            f"this run paid for {summed:,} characters; {done} of {len(after)} jobs were there "
            "before",
            holds=summed == recorded and (summed == 0 or done < len(after)),
        )

    async def _sum(self, day: date) -> int:
        sums = await self._stage.client.usage(day)
        return sum(int(each.get("billed", 0)) for each in sums.values())


def _billed(records: Mapping[str, Record]) -> int:
    return sum(int(record.usage.get("billed", 0)) for record in records.values())


async def show_inventory(stage: Stage) -> None:
    """Show a table of everything that is stored, and a file to play."""
    data = stage.fleet.data
    counts = await stage.client.counts()
    states = ", ".join(f"{count} {state.lower()}" for state, count in counts.items() if count)
    streams = await stage.client.ledger.stream_budget.bytes()
    stage.say(f"  {data}")
    rows = (
        ("job records", "Redis, speechfleet.1:job:*", states),
        ("chunk streams", "Redis, speechfleet.1:stream:*", f"{streams >> 20} MB, for a minute"),
        ("Redis itself", "valkey", _size(data / "valkey")),
        ("finished audio", "store/audio", _size(data / "store" / "audio")),
        ("paid segments", "store/segments", _size(data / "store" / "segments")),
        ("logs of workers", "logs", _size(data / "logs")),
    )
    print_table(stage.console, ("what", "where", "how much"), rows)
    speech = await stage.client.job(EXAMPLE).result(timeout=10)
    example = data / "store" / speech.object
    stage.say("")
    stage.claim(f"an example to play: {example}", holds=example.stat().st_size == speech.size)
    stage.say(f"To explore it:      speechfleet up --data {data}")
    stage.say(f'In another terminal: eval "$(speechfleet env --data {data})"')
    stage.say(f"                     speechfleet listen {EXAMPLE} --play")


def _size(folder: Path) -> str:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return f"{len(sizes)} files, {sum(sizes) / 1e6:,.1f} MB"
