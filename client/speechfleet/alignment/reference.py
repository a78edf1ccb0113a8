"""The same text spoken by espeak-ng, which tells when each word begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from speechfleet import espeak_library
from speechfleet.alignment.tokens import Token
from speechfleet.errors import UnknownVoice
from speechfleet.espeak_library import Words

RATE = 175
"""Words a minute: the pace at which espeak-ng's own voices were made."""


@dataclass(frozen=True)
class Reference:
    """Spoken text: s16le mono audio at ``rate``, and the words as the library told them."""

    pcm: bytes
    rate: int
    events: Words
    """(start, end) in code points of the text, and the millisecond at which it begins."""


def speak_reference(text: str, language: str) -> Reference | None:
    """Speak a text with espeak-ng; None where it has no voice for the language.

    Blocks: call it in a thread. Raises MissingExtra, ProviderUnavailable.
    """
    return espeak_library.run(_speak, text, language).result()


def _speak(text: str, language: str) -> Reference | None:
    library = espeak_library.library()
    parts: list[bytes] = []
    events: list[tuple[int, int, int]] = []

    def take(audio: bytes, words: Words) -> bool:
        parts.append(audio)
        events.extend(words)
        return True

    parameters = {"rate": RATE, "pitch": 50, "volume": 100, "gap": 0}
    try:
        library.speak(text, language, parameters, take)
    except UnknownVoice:
        return None
    return Reference(b"".join(parts), library.sample_rate, tuple(events))


def word_starts(found: Sequence[Token], reference: Reference) -> list[float]:
    """Return the second of the reference at which each word of the text begins.

    The first event within a word counts: a number has several, at odd places. Words without
    one are interpolated by their length between those around them.
    """
    total = len(reference.pcm) / 2 / reference.rate
    known = dict(_first_events(found, reference.events))
    return list(_interpolated(found, known, total))


def _first_events(found: Sequence[Token], events: Words) -> Iterator[tuple[int, float]]:
    """Yield (index of the word, seconds), each word once and in order of time."""
    index, latest = 0, -1
    for start, _, milliseconds in events:
        while index < len(found) and found[index].end <= start:
            index += 1
        if index == len(found):
            return
        if found[index].start <= start and index > latest:
            latest = index
            yield index, milliseconds / 1000


def _interpolated(
    found: Sequence[Token], known: dict[int, float], total: float
) -> Iterator[float]:
    before, at = -1, 0.0
    for index in [*sorted(known), len(found)]:
        until = known.get(index, total)
        missing = range(before + 1, index)
        sizes = [found[i].end - found[i].start for i in range(max(before, 0), index)]
        share = (until - at) / max(1, sum(sizes))
        spoken = sizes[0] if before >= 0 else 0
        for i in missing:
            yield at + share * spoken
            spoken += found[i].end - found[i].start
        if index < len(found):
            yield until
        before, at = index, until
