"""Words that are spoken otherwise than they are written.

lexicon      the entries, and which of them a text uses
replacement  the entries of one voice and language, put into a text
read         files of them: tab-separated lines, or PLS
"""

from speechfleet.lexicon.lexicon import Lexicon, LexiconEntry, LexiconSource
from speechfleet.lexicon.read import read_lexicon
from speechfleet.lexicon.replacement import Replacement

__all__ = ["Lexicon", "LexiconEntry", "LexiconSource", "Replacement", "read_lexicon"]
