"""Alignment of words: seconds of recorded speech a second of CPU, on one core.

.venv/bin/python -m tests.benchmarks.bench_alignment
"""

from __future__ import annotations

import sys
import time

from speechfleet.alignment.aligner import find_words
from tests.benchmarks.floors import Floors
from tests.support.recorded_speech import RATE, recorded_sentences

FLOOR = 150.0
ROUNDS = 3


def measure() -> Floors:
    floors = Floors()
    sentences = recorded_sentences()
    find_words(sentences[0].text, "en-us", sentences[0].pcm, RATE)  # imports, and loads
    spoken = sum(len(sentence.pcm) for sentence in sentences) / 2 / RATE
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for sentence in sentences:
            find_words(sentence.text, "en-us", sentence.pcm, RATE)
        best = min(best, time.process_time() - began)
    floors.at_least("recorded speech that is aligned, a second", spoken / best, FLOOR, "s")
    return floors


if __name__ == "__main__":
    sys.exit(measure().status)
