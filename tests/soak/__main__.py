"""Runs the soak and prints what it did: ``python -m tests.soak --minutes 2 --seed 1``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.soak.disk import MARK, with_own_mounts
from tests.soak.faults import inject
from tests.soak.invariants import violations
from tests.soak.load import Load
from tests.soak.process_watch import ProcessWatch
from tests.soak.report import Report
from tests.soak.run_folder import make_folder, release
from tests.soak.stage import LOADING_S, OneServer, staged
from tests.soak.workers_clock import WorkersClock

_log = logging.getLogger(__name__)

CLOCK_FROM_MINUTES = 1.0
"""Below that a clock that is wrong, and then right again, would take most of the time."""


@dataclass(frozen=True)
class Leg:
    """A fleet that is put under load: its store, and its Redis."""

    name: str
    about: str
    s3: bool = False
    sentinel: bool = False


LEGS = {
    leg.name: leg
    for leg in (
        Leg("folder", "a folder as the store, one Redis server"),
        Leg("s3", "S3 as the store, one Redis server", s3=True),
        Leg("sentinel", "a folder as the store, three Redis servers with Sentinel", sentinel=True),
    )
}


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def soak(folder: Path, minutes: float, seed: int, leg: Leg) -> Report:
    """Run one leg."""
    began = time.monotonic()
    faults = Counter[str]()
    clock = WorkersClock.find(folder / "clock") if minutes >= CLOCK_FROM_MINUTES else None
    async with staged(folder, s3=leg.s3, sentinel=leg.sentinel, clock=clock) as stage:
        load, over = Load(stage, seed), asyncio.Event()
        watch = ProcessWatch(stage.processes, stage.ended, load.violations)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch.run())
            loading = group.create_task(load.run(over))
            injecting = group.create_task(
                inject(stage, random.Random(seed), over, faults, load.violations)
            )
            await asyncio.sleep(minutes * 60)
            over.set()
            await injecting
            started = await asyncio.gather(*stage.starting, return_exceptions=True)
            load.violations += [f"no worker: {e}" for e in started if isinstance(e, Exception)]
            if isinstance(stage, OneServer) and not stage.valkey.running:
                await asyncio.to_thread(stage.valkey.start, LOADING_S)
            await loading
            found = await violations(load)
            watching.cancel()
        watch.look()
        found += [line for line in load.violations if line not in found]
    notes = []
    if watch.excused:
        notes.append(f"{watch.excused} workers were crashed by libfaketime before they took jobs")
    if clock is not None and stage.clock is None:
        notes.append("the workers had the system's clock: libfaketime crashed each of them")
    return Report(
        leg.name, leg.about, seed, faults, load.counts, found, minutes * 60,
        time.monotonic() - began, notes,
    )  # fmt: skip


def run(leg: Leg, minutes: float, seed: int, data: Path | None) -> Report:
    """Run one leg in a folder of its own, which stays where it is asked for or needed."""
    folder = make_folder(leg.name, data)
    log = logging.FileHandler(folder / "soak.log")
    log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[log], force=True)
    for chatty in ("httpx", "botocore", "boto3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        report = asyncio.run(soak(folder, minutes, seed, leg))
    except Exception as error:  # noqa: BLE001 # told, and the other legs are run
        _log.exception("the leg broke off")
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        found = [f"the leg broke off: {type(cause).__name__}: {cause}"]
        report = Report(leg.name, leg.about, seed, Counter(), {}, found, minutes * 60, 0.0)
    if MARK not in os.environ:
        report.notes.append("without full disks: this user may not mount a file system")
    keep = data is not None or bool(report.violations)
    if keep:
        report.notes.append(f"logs and what was written: {folder}")
    log.close()
    release(folder, keep=keep)
    return report


def main() -> int:
    with_own_mounts()
    parser = argparse.ArgumentParser("python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="of faults, for each leg")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--leg", choices=[*LEGS, "all"], default="all")
    parser.add_argument("--data", type=Path, help="keep what it leaves in this folder")
    arguments = parser.parse_args()
    wrong = 0
    for leg in LEGS.values() if arguments.leg == "all" else [LEGS[arguments.leg]]:
        report = run(leg, arguments.minutes, arguments.seed, arguments.data)
        for line in report.lines():
            say(line)
        wrong += len(report.violations)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
