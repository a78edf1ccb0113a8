"""A table of what was measured, each row beside the floor that it must keep to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

import redis.asyncio

ROOT = str(Path(__file__).parents[2])
"""For the PYTHONPATH of workers: the models of the benchmarks are classes of one's own."""


KEPT, BROKEN = "ok", "FAIL"


@dataclass(frozen=True)
class Row:
    """A row that has a floor, as `Floors` prints it."""

    name: str
    measured: str
    floor: str
    is_kept: bool

    def __str__(self) -> str:
        return _line(self.name, self.measured, self.floor, KEPT if self.is_kept else BROKEN)

    @classmethod
    def parse(cls, line: str) -> Row | None:
        """Read a printed row; None for anything else, and for a row without a floor."""
        found = _ROW.fullmatch(line.rstrip())
        if found is None:
            return None
        return cls(found["name"], found["measured"], found["floor"], found["verdict"] == KEPT)


_ROW = re.compile(
    r"(?P<name>.+?)  +(?P<measured>\S.*?)  +(?P<floor>[<>]= \S.*?)  +"
    rf"(?P<verdict>{KEPT}|{BROKEN})"
)


def _line(name: str, measured: str, floor: str, verdict: str) -> str:
    return f"{name:60}  {measured:>16}  {floor:>18}  {verdict}"


class Floors:
    """Rows are printed as they come; `status` is 1 as soon as one of them fails."""

    def __init__(self) -> None:
        self.status = 0
        self._row("", "measured", "floor", "")

    def at_most(self, name: str, measured: float, floor: float, unit: str) -> None:
        self._judge(name, measured, f"<= {floor:,g}", unit, kept=measured <= floor)

    def at_least(self, name: str, measured: float, floor: float, unit: str) -> None:
        self._judge(name, measured, f">= {floor:,g}", unit, kept=measured >= floor)

    def tell(self, name: str, measured: float, unit: str) -> None:
        """What has no floor, but explains a row that has one."""
        self._row(name, _shown(measured, unit), "", "")

    def _judge(self, name: str, measured: float, floor: str, unit: str, *, kept: bool) -> None:
        self._row(name, _shown(measured, unit), f"{floor} {unit}", KEPT if kept else BROKEN)
        if not kept:
            self.status = 1

    def _row(self, name: str, measured: str, floor: str, verdict: str) -> None:
        print(_line(name, measured, floor, verdict), flush=True)


def _shown(value: float, unit: str) -> str:
    digits = 0 if value >= 1000 else 1 if value >= 100 else 2
    return f"{value:,.{digits}f} {unit}"


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """(p50, p99)."""
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]


def main(measure: Coroutine[Any, Any, Floors]) -> int:
    """Run a benchmark to its exit status."""
    return asyncio.run(measure).status


def resident(pid: int) -> int:
    """Bytes of memory that a process holds now."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"^VmRSS:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


async def stream_keys(client: redis.asyncio.Redis) -> list[bytes]:
    """Every stream that lies in the server now."""
    return [key async for key in client.scan_iter(match="*", count=1000, _type="STREAM")]
