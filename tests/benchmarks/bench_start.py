"""How long a command waits for its imports: CPU time of a fresh process.

.venv/bin/python -m tests.benchmarks.bench_start
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from tests.benchmarks.floors import Floors, main

COMMAND = str(Path(sys.executable).with_name("speechfleet"))
CASES = {
    "speechfleet --version": ([COMMAND, "--version"], 120),
    "speechfleet --help": ([COMMAND, "--help"], 200),
    "import speechfleet": ([sys.executable, "-c", "import speechfleet"], 150),
}
ROUNDS = 7


def milliseconds(command: list[str]) -> float:
    """Return the CPU time of a command: on a busy machine the clock tells nothing."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    spent = after.children_user + after.children_system
    return 1000 * (spent - before.children_user - before.children_system)


async def measure() -> Floors:
    floors = Floors()
    for name, (command, floor) in CASES.items():
        took = [milliseconds(command) for _ in range(ROUNDS)]
        floors.at_most(name, median(took[1:]), floor, "ms")
    return floors


if __name__ == "__main__":
    sys.exit(main(measure()))
