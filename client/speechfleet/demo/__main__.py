"""``python -m speechfleet.demo`` shows what a fleet on this machine can do. Needs no key.

Exit status 0 where every claim held, 1 where one did not, 2 where the fleet did not start.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from pathlib import Path

from speechfleet.client import AsyncClient
from speechfleet.demo import live_scene, short_scenes
from speechfleet.demo.batch_scene import resume_batch
from speechfleet.demo.corpus import articles
from speechfleet.demo.corpus_scene import speak_corpus
from speechfleet.demo.inventory import Bill, show_inventory
from speechfleet.demo.live_scene import follow_live
from speechfleet.demo.short_scenes import cancel_one, submit_twice
from speechfleet.demo.stage import Stage, console
from speechfleet.embedded import EmbeddedFleet
from speechfleet.errors import SpeechFleetError

INTERRUPTED = 130


def main() -> int:
    parser = argparse.ArgumentParser("python -m speechfleet.demo", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("demo-data"), help="kept; used again")
    parser.add_argument("--workers", type=int, default=2, help="at least 2: one is killed")
    arguments = parser.parse_args()
    if arguments.workers < 2:
        parser.error("--workers: one of them is killed, so 2 at least")
    # The demo itself shows that a killed worker is started again: no log line is needed.
    logging.getLogger("speechfleet.embedded").setLevel(logging.ERROR)
    try:
        return run(arguments.data, arguments.workers)
    except SpeechFleetError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


def run(data: Path, workers: int) -> int:
    began = time.monotonic()
    screen = console()
    screen.print(f"Bringing up Valkey and {workers} workers on {data} ...")
    with EmbeddedFleet(data, workers=workers) as fleet:
        broken = asyncio.run(_perform(fleet))
        screen.print("Stopping the fleet ...")
    screen.print(f"Done in {time.monotonic() - began:.0f} s; the fleet has ended.")
    for claim in broken:
        sys.stderr.write(f"demo: this did not hold: {claim}\n")
    return 1 if broken else 0


async def _perform(fleet: EmbeddedFleet) -> list[str]:
    async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
        stage = Stage(fleet, client, console())
        scenes = (live_scene.ID, short_scenes.CANCELLED_ID, short_scenes.TWICE_ID)
        bill = Bill(stage, [*(text.id for text in articles()), *scenes])
        await bill.open()
        await speak_corpus(stage)
        await resume_batch(stage)
        await follow_live(stage)
        await cancel_one(stage)
        await submit_twice(stage)
        stage.title("The cost, and where everything is stored")
        await bill.close()
        await show_inventory(stage)
        return stage.broken


if __name__ == "__main__":
    sys.exit(main())
