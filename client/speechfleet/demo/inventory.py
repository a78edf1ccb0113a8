"""What the demo cost, and what lies where in the end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from speechfleet.demo.stage import Stage
from speechfleet.jobs import Record

EXAMPLE = "udhr-eng-01"


class Bill:
    """Characters that this run pays for: by the fleet's sums, and by the jobs' own records."""

    def __init__(self, stage: Stage, ids: list[str]) -> None:
        self._stage = stage
        self._ids = ids
        self._day = datetime.now(UTC).date()
        self._summed = 0
        self._before: Mapping[str, Record] = {}

    async def open(self) -> None:
        self._summed = await self._sum(self._day)
        self._before = await self._stage.records(self._ids)

    async def close(self) -> None:
        today = datetime.now(UTC).date()
        summed = await self._sum(self._day) - self._summed
        if today != self._day:  # it was midnight meanwhile
            summed += await self._sum(today)
        after = await self._stage.records(self._ids)
        recorded = _billed(after) - _billed(self._before)
        done = sum(record.state.terminal for record in self._before.values())
        self._stage.claim(
            f"this run paid for {summed:,} characters; {done} of {len(after)} jobs were there "
            "before and cost nothing again",
            holds=summed == recorded and (summed == 0 or done < len(after)),
        )

    async def _sum(self, day: date) -> int:
        sums = await self._stage.client.usage(day)
        return sum(int(each.get("billed", 0)) for each in sums.values())


def _billed(records: Mapping[str, Record]) -> int:
    return sum(int(record.usage.get("billed", 0)) for record in records.values())


async def show_inventory(stage: Stage) -> None:
    """A table of what lies where, and a file to play."""
    data = stage.fleet.data
    counts = await stage.client.counts()
    states = ", ".join(f"{count} {state.lower()}" for state, count in counts.items() if count)
    streams = await stage.client.fleet.stream_bytes()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("what", "where", "how much"):
        table.add_column(column, overflow="fold")
    for row in (
        ("job records", "Redis, speechfleet.1:job:*", states),
        ("chunk streams", "Redis, speechfleet.1:stream:*", f"{streams >> 20} MB, for a minute"),
        ("Redis itself", str(data / "valkey"), _size(data / "valkey")),
        ("finished audio", str(data / "store" / "audio"), _size(data / "store" / "audio")),
        ("paid segments", str(data / "store" / "segments"), _size(data / "store" / "segments")),
        ("logs of workers", str(data / "logs"), _size(data / "logs")),
    ):
        table.add_row(*map(Text, row))
    stage.console.print(table)
    speech = await stage.client.job(EXAMPLE).result(timeout=10)
    example = data / "store" / speech.object
    stage.say("")
    stage.claim(f"an example to play: {example}", holds=example.stat().st_size == speech.bytes)
    stage.say(f"To look further: speechfleet up --data {data}")


def _size(folder: Path) -> str:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return f"{len(sizes)} files, {sum(sizes) / 1e6:,.1f} MB"
