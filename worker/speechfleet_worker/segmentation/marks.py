"""Characters that matter for cutting text: line ends, sentence terminators, closing quotes."""

from __future__ import annotations

import re
from importlib import resources


def _terminators() -> str:
    table = resources.files("speechfleet_worker.segmentation").joinpath("data/terminators.txt")
    characters: list[str] = []
    for line in table.read_text("utf-8").splitlines():
        for item in line.partition("#")[0].split():
            first, _, last = item.partition("-")
            characters += map(chr, range(int(first, 16), int(last or first, 16) + 1))
    return "".join(characters)


BREAKS = "\n\r\v\f\x85\u2028\u2029"
"""Characters that end a line."""
TERMINATORS = _terminators()
"""Characters that may end a sentence."""
COMMON_TERMINATORS = frozenset(".!?;:…．！？。｡၊")
"""Terminators that do not end a sentence everywhere; any other does, outside of quotes."""
CLOSING = "\"'”’»›)\\]}」』）】》〉〕〗〙〛｝］｣﹂﹄"
"""Quotes and brackets that may follow a terminator immediately, escaped for a character class."""
OPENING = "\"'“‘„‚«»‹›([{「『（【《〈〔¿¡"
"""Quotes, brackets and marks that a sentence may begin with."""

_STOP = re.escape(TERMINATORS)
_BLANK = rf"[^\S{BREAKS}]"

LINE_BREAK = re.compile(rf"\r\n|[{BREAKS}]")
SPACE = re.compile(r"\s+")
LINES = re.compile(rf"[{BREAKS}]\s*")

# Line breaks; or terminators (". . ." is one), the quotes and references that close behind them
# (French sets a blank before "»"), and the blanks up to the next sentence. Each alternative takes
# all that it can, so a scan never reads a character twice.
END = re.compile(
    rf"(?P<lines>[{BREAKS}]\s*)"
    rf"|(?P<stops>[{_STOP}](?:{_BLANK}?[{_STOP}])*+)"
    rf"(?P<closers>(?:[{CLOSING}]|[“‘«‹](?!\w)|\[\d{{1,3}}\]|{_BLANK}[»›](?!\w))*+){_BLANK}*+"
)
STOPPED = re.compile(rf"[{_STOP.replace(';', '')}…][{CLOSING}]*\s*$")
CLAUSE = re.compile(r"[,;:،؛–—](?=\s)|[，、；：،؛]")
SPEAKABLE = re.compile(r"[^\W_]")
