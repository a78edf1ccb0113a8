"""Text made speakable, with a map to the text as it is written. Pure: no I/O, no clock.

speakable    a whole text            stream      a text that still grows
source_map   spoken to written       writer      the spoken text while it is made
lines        beginnings of lines     inline      what stands within a line
tables       rows of tables          tags        HTML
numerals     roman numerals          pauses      ``[pause 1.5s]``
characters   what is not spoken
"""

from speechfleet.speakable.pauses import MAX_PAUSE_S, Pause, check_pauses
from speechfleet.speakable.source_map import SourceMap
from speechfleet.speakable.speakable import Speakable, SpeakableMode, make_speakable, mode_of
from speechfleet.speakable.stream import SpeakableStream

__all__ = [
    "MAX_PAUSE_S",
    "Pause",
    "SourceMap",
    "Speakable",
    "SpeakableMode",
    "SpeakableStream",
    "check_pauses",
    "make_speakable",
    "mode_of",
]
