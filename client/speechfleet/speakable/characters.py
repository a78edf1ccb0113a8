"""Characters that are written and not spoken: pictures, decoration, invisible ones, ligatures."""

from __future__ import annotations

import re

PICTURES = (
    "\u2300-\u2317\u2319-\u23ff"  # clocks, keys; not the command key
    "\u2500-\u25ff"  # boxes, blocks, shapes
    "\u2600-\u2668\u267a-\u27bf"  # weather, chess, ticks, stars; not the signs of music
    "\u2934\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001faff"
)
"""Ranges of emoji and of signs that only decorate, for a character class (Unicode 16)."""
PICTURE = re.compile(rf"[{PICTURES}][{PICTURES}\ufe0e\ufe0f\u200d\u20e3\U000e0020-\U000e007f]*+")
INVISIBLE = "\u00ad\u200b\u2060\ufeff\ufe0e\ufe0f\u20e3"
"""Soft hyphen, spaces of no width, and selectors. Joiners stay: Persian and Hindi spell with
them."""
LIGATURES = {
    "\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl",
    "\ufb05": "st", "\ufb06": "st",
}  # fmt: skip
COMBINING = "\u0300-\u036f\u3099\u309a"
"""Marks that compose with the letter before them, for a character class."""
DECORATIVE = "-=*_~#•·—–+<>/\\|^"
DECORATION = re.compile(r"([-=*_~#•·—–+<>/\\|^])\1{3,}+")
"""A decorative character four times or more."""
