"""Share out the audio of a text among its words, between the silences."""

from __future__ import annotations

from collections.abc import Sequence

from speechfleet.alignment.silences import Stretch, speech_in
from speechfleet.alignment.tokens import Token
from speechfleet.words import Place


def estimated_places(
    found: Sequence[Token], pcm: bytes | memoryview, rate: int
) -> tuple[Place, ...]:
    """Return the words with frames of the audio, in proportion to their length.

    Silence is shared out to nobody. Audio without any speech is shared out as a whole.
    """
    stretches = speech_in(pcm, rate) or [Stretch(0, len(pcm) // 2)]
    spoken = sum(end - start for start, end in stretches)
    weights = [end - start + 1 for start, end in found]
    each = spoken / max(1, sum(weights))
    places: list[Place] = []
    done = 0
    for token, weight in zip(found, weights, strict=True):
        start = _at(stretches, round(done * each), first=True)
        done += weight
        end = max(start, _at(stretches, round(done * each), first=False))
        places.append((token.start, token.end, start, end))
    return tuple(places)


def _at(stretches: Sequence[Stretch], spoken: int, *, first: bool) -> int:
    """Return the frame before which ``spoken`` frames of speech lie.

    At the border of two stretches: the beginning of the later one where ``first``, else the
    end of the earlier one.
    """
    for start, end in stretches:
        size = end - start
        if spoken < size or (spoken == size and not first):
            return start + spoken
        spoken -= size
    return stretches[-1].end
