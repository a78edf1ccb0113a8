"""Text made speakable: CPU a kilobyte of markdown and of plain text, whole and as it grows.

.venv/bin/python -m tests.benchmarks.bench_speakable
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from speechfleet.lexicon import LexiconEntry, Replacement
from speechfleet.speakable import SpeakableStream, make_speakable
from tests.benchmarks.floors import Floors

ROOT = Path(__file__).parents[2]
FLOOR_MS = 1.0
ROUNDS = 5
DELTA = 4
"""Code points that a language model adds at a time."""


def milliseconds_a_kilobyte(text: str, work: Callable[[str], object]) -> float:
    """The best of several rounds: other programs share the machine."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        work(text)
        best = min(best, time.process_time() - began)
    return best * 1000 / (len(text.encode()) / 1024)


def growing(text: str) -> None:
    stream = SpeakableStream("markdown")
    for start in range(0, len(text), DELTA):
        stream.feed(text[start : start + DELTA])
    stream.flush()


def measure() -> Floors:
    floors = Floors()
    guides = sorted((ROOT / "docs" / "guides").glob("*.md"))
    markdown = "\n\n".join(path.read_text("utf-8") for path in guides)
    plain = make_speakable(markdown, mode="markdown").text
    cases: dict[str, tuple[str, Callable[[str], object]]] = {
        "markdown (the guides of this documentation)": (
            markdown, lambda text: make_speakable(text, mode="markdown"),
        ),
        "plain text": (plain, lambda text: make_speakable(text, mode="plain")),
    }  # fmt: skip
    for name, (text, work) in cases.items():
        floors.at_most(f"{name}, a KB", milliseconds_a_kilobyte(text, work), FLOOR_MS, "ms")
    deltas = 1024 / DELTA
    taken = milliseconds_a_kilobyte(markdown, growing)
    floors.at_most("markdown that grows, each 4 characters", 1000 * taken / deltas, 20, "us")
    words = Replacement(
        [LexiconEntry(f"word{n}", "spoken") for n in range(1000)], language="", voice=""
    )
    taken = milliseconds_a_kilobyte(plain, words.apply)
    floors.at_most("a lexicon of 1,000 entries, a KB", taken, FLOOR_MS, "ms")
    return floors


if __name__ == "__main__":
    sys.exit(measure().status)
