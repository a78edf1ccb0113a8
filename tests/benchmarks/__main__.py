"""Run benchmarks one after the other, and print one table of all rows that have a floor.

.venv/bin/python -m tests.benchmarks              all
.venv/bin/python -m tests.benchmarks speed        those of the work that a job costs
.venv/bin/python -m tests.benchmarks bench_slots  one, or several
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks.floors import Row

SPEED = (
    "bench_stored_jobs", "bench_throughput", "bench_corpus", "bench_slots", "bench_latency",
    "bench_long_text", "bench_submit", "bench_idle", "bench_start", "bench_processes",
)  # fmt: skip


def chosen(names: Sequence[str]) -> Sequence[str]:
    """Return the benchmarks that were named; all where none was."""
    if not names:
        return sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
    return SPEED if list(names) == ["speed"] else names


def run(name: str) -> Iterator[Row]:
    """Run a benchmark, show what it prints, and yield its rows that have a floor."""
    command = [sys.executable, "-u", "-m", f"tests.benchmarks.{name}"]
    failed = True
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        for line in started.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if (row := Row.parse(line)) is not None:
                failed = failed and row.is_kept
                yield row
    if started.returncode and failed:
        yield Row(f"{name} ended with status {started.returncode}", "", "", is_kept=False)


def main(names: Sequence[str]) -> int:
    rows: list[Row] = []
    for name in chosen(names):
        print(f"== {name}", flush=True)
        rows += run(name)
    print("\n== all rows with a floor")
    for row in rows:
        print(row)
    return int(not all(row.is_kept for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
