"""Cutting text into what one provider call speaks. Pure: no I/O, no clock, no state outside.

    text        "Dr. Smith came. He saw…\\n* * *\\nAnd left."
    segments     └─── 0 ──────┘ └─ 1 ──┘        └─ 2 ────┘

Segments stand in the order of the text and never overlap. What lies between two of them is
white space, or a stretch with nothing to speak in it: without a letter or a digit ("* * *",
"---", a lone emoji). Such a stretch stays with the sentence before it where it only prolongs
its full stop ("Well. ..."), else with the one that follows it in its paragraph ("- one"), and
is dropped where none follows: providers answer it with an error or with no audio. A text of
nothing else has no segments.

A cut depends on the text near it and on nothing else: up to `HOLD_BACK` characters behind a full
stop, a few lines around a line break. So the same text gives the same segments, however it
arrives (their hashes are cache keys), and an edit moves the cuts of its own sentence only; or of
its own paragraph, where those are packed.

    cut              segments of a whole text             text_segment   what a segment is
    sentence_stream  segments of a text that still grows  line_breaks    wrapped lines
    sentence_ends    rules for full stops                 abbreviations  their tables, see data/
    language         the language of a text               graphemes      cuts at a limit
"""

from speechfleet_worker.segmentation.cut import cut
from speechfleet_worker.segmentation.language import guess_language
from speechfleet_worker.segmentation.sentence_ends import HOLD_BACK
from speechfleet_worker.segmentation.sentence_stream import SentenceStream
from speechfleet_worker.segmentation.text_segment import CutReason, TextSegment

__all__ = ["HOLD_BACK", "CutReason", "SentenceStream", "TextSegment", "cut", "guess_language"]
