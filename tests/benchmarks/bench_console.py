"""From a click on "Speak" to the first sample that the browser's audio thread plays.

    .venv/bin/python -m tests.benchmarks.bench_console

A real Chromium before an idle fleet that speaks with espeak-ng. Every text is new, and every
other page has just been opened: its loudspeaker is not warm.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Page

from speechfleet.embedded import EmbeddedFleet
from speechfleet.embedded.gateway_process import gateway_beside
from tests.benchmarks.floors import Floors, main, percentiles
from tests.support.browser import CHROMIUM, browsing

PAGES, CLICKS = 5, 4
FIRST_SOUND = 300.0


async def click(page: Page, text: str) -> float:
    """Milliseconds to the first sound."""
    await page.locator("#text").fill(text)
    await page.get_by_role("button", name="Speak").click()
    deck = page.locator(".deck[data-first-sound]")
    await deck.wait_for()
    return float(await deck.get_attribute("data-first-sound") or 0)


async def underruns_to_the_end(page: Page) -> int:
    """Wait for the end of the speech; return how often it had to wait for audio."""
    deck = page.locator(".deck[data-state=ended]")
    await deck.wait_for()
    return int(await deck.get_attribute("data-underruns") or 0)


async def measure() -> Floors:
    floors = Floors()
    if CHROMIUM is None:
        print("nothing measured: no Chromium on PATH (Debian, Ubuntu: apt install chromium)")
        return floors
    cold: list[float] = []
    warm: list[float] = []
    underruns = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedFleet() as fleet,
        gateway_beside({**os.environ, **fleet.environ}, 0, log=Path(folder) / "log") as url,
    ):
        for number in range(PAGES):
            async with browsing(url) as page:
                await page.locator("#model option").first.wait_for(state="attached")
                cold.append(await click(page, f"This is the first text of page {number}."))
                for further in range(1, CLICKS):
                    text = f"This is text {further} of page {number}."
                    warm.append(await click(page, text))
                    await asyncio.sleep(0.2)
                underruns += await underruns_to_the_end(page)
    for name, values in {"a page just opened": cold, "further clicks": warm}.items():
        p50, _ = percentiles(values)
        floors.at_most(f"click to first sound, {name}, p50", p50, FIRST_SOUND, "ms")
        floors.tell(f"click to first sound, {name}, worst", max(values), "ms")
    floors.at_most("pauses within speech", underruns, 0, "")
    return floors


if __name__ == "__main__":
    sys.exit(main(measure()))
