"""Recorded sentences whose word times are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import av

DATA = Path(__file__).parents[1] / "data"
RATE = 24_000


class Sentence(NamedTuple):
    """A recorded sentence; ``words``: [text_start, text_end, start, end], in seconds."""

    text: str
    pcm: bytes
    words: list[list[float]]


def recorded_sentences() -> list[Sentence]:
    """Read them, with their audio."""
    pcm = decoded(DATA / "spoken_words.opus")
    truth = json.loads((DATA / "spoken_words.json").read_text())
    return [
        Sentence(each["text"], cut(pcm, each["start"], each["end"]), each["words"])
        for each in truth["sentences"]
    ]


def decoded(path: Path) -> bytes:
    """Decode a file to PCM at `RATE`."""
    parts: list[bytes] = []
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            resampled = resampler.resample(frame)
            parts += [bytes(part.planes[0])[: 2 * part.samples] for part in resampled]
    return b"".join(parts)


def cut(pcm: bytes, start: float, end: float) -> bytes:
    """Cut a stretch out of PCM; times in seconds."""
    return pcm[2 * round(start * RATE) : 2 * round(end * RATE)]
