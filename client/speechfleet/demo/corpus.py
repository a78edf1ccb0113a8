"""The Universal Declaration of Human Rights as a corpus: 31 texts in each of six languages.

Where the texts come from stands beside them, in ``udhr/SOURCE``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Article:
    """One article, ready to be a job.

    ``id``: ``udhr-eng-01`` to ``udhr-eng-30``, and ``udhr-eng-00`` for the preamble; stable, so
    that a second run finds the first one's audio. ``language``: a BCP 47 tag. ``voice``: the one
    of espeak-ng. ``text``: without its title, a line a paragraph.
    """

    id: str
    language: str
    voice: str
    title: str
    text: str


@dataclass(frozen=True)
class _Translation:
    file: str
    name: str
    language: str
    voice: str
    preamble: str
    """Its heading; the headings of the articles are found by `_ARTICLE`."""


_TRANSLATIONS = (
    _Translation("eng.txt", "eng", "en", "en-us", "Preamble"),
    _Translation("deu_1996.txt", "deu", "de", "de", "Präambel"),
    _Translation("spa.txt", "spa", "es", "es", "Preámbulo"),
    _Translation("hin.txt", "hin", "hi", "hi", "प्रस्तावना"),
    _Translation("arb.txt", "arb", "ar", "ar", "الديباجة"),
    _Translation("cmn_hans.txt", "cmn", "zh", "cmn", "序言"),
)
_ARTICLE = re.compile(
    r"(?:Article|Artikel|Artículo|अनुच्छेद|المادة) \d+\.?|第[一二三四五六七八九十]+条"
)


def articles() -> list[Article]:
    """All 186, a language after the other, each in the order of the Declaration."""
    return [article for translation in _TRANSLATIONS for article in _articles(translation)]


def _articles(translation: _Translation) -> Iterator[Article]:
    source = files(__package__).joinpath("udhr", translation.file).read_text(encoding="utf-8")
    lines = source.splitlines()
    headings = [
        position
        for position, line in enumerate(lines)
        if line == translation.preamble or _ARTICLE.fullmatch(line)
    ]
    ends = [*headings[1:], len(lines)]
    for number, (start, end) in enumerate(zip(headings, ends, strict=True)):
        yield Article(
            id=f"udhr-{translation.name}-{number:02}",
            language=translation.language,
            voice=translation.voice,
            title=lines[start],
            text="\n".join(lines[start + 1 : end]),
        )
