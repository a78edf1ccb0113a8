"""HTML tags: which end a paragraph, which hide what stands between them, what an image says."""

from __future__ import annotations

import html
import re

_NAME = re.compile(r"</?([A-Za-z][A-Za-z0-9]*)")
_ALT = re.compile(r"\salt\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_BLOCKS = frozenset(
    "address article aside blockquote body dd details div dl dt fieldset figcaption figure footer "
    "form h1 h2 h3 h4 h5 h6 header hr li main nav ol option p section summary table tr ul".split()
)
_SPACES = frozenset("br td th".split())
_HIDING = frozenset(
    "audio head iframe math noscript object pre script style svg template textarea video".split()
)
_COMMENT_END = re.compile(r"-->")
LONGEST_END = 32
"""Code points of the longest end of what is hidden."""


def name(tag: str) -> str:
    """Return the name of a tag, in lower case; "" for a declaration."""
    found = _NAME.match(tag)
    return found[1].lower() if found else ""


def hidden_until(tag: str) -> re.Pattern[str] | None:
    """Return the pattern of the end of what a tag hides; None where it hides nothing."""
    if tag == "<!--":
        return _COMMENT_END
    hidden = name(tag)
    if hidden not in _HIDING or tag.startswith("</") or tag.endswith("/>"):
        return None
    return re.compile(rf"</{hidden}[ \t\n]{{0,16}}>", re.IGNORECASE)


def ends_paragraph(tag: str) -> bool:
    """Tell whether a tag, opening or closing, separates paragraphs."""
    return name(tag) in _BLOCKS


def is_heading(tag: str) -> bool:
    """Tell whether a heading begins."""
    return name(tag) in ("h1", "h2", "h3", "h4", "h5", "h6") and not tag.startswith("</")


def spoken(tag: str) -> str:
    """Return what is spoken for a tag that is within a paragraph."""
    if name(tag) == "img" and (alt := _ALT.search(tag)):
        return html.unescape(alt[1] or alt[2] or "")
    return " " if name(tag) in _SPACES else ""
