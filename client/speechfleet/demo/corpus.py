"""The Universal Declaration of Human Rights as a corpus: 31 texts in each of six languages.

The file ``udhr/SOURCE`` names the source of the texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Article:
    """Holds an article as the text of a job.

    ``id``: ``udhr-en-01`` to ``udhr-en-30``, and ``udhr-en-00`` for the preamble; it never
    changes, so that a second run finds the audio of the first one. ``language``: a BCP 47 tag.
    ``text``: without its title, each paragraph in one line.
    """

    id: str
    language: str
    title: str
    text: str


@dataclass(frozen=True)
class _Translation:
    file: str
    language: str
    preamble: str
    """Its heading; the headings of the articles are found by `_ARTICLE`."""


_TRANSLATIONS = (
    _Translation("eng.txt", "en", "Preamble"),
    _Translation("deu_1996.txt", "de", "Präambel"),
    _Translation("spa.txt", "es", "Preámbulo"),
    _Translation("hin.txt", "hi", "प्रस्तावना"),
    _Translation("arb.txt", "ar", "الديباجة"),
    _Translation("cmn_hans.txt", "zh", "序言"),
)
_ARTICLE = re.compile(
    r"(?:Article|Artikel|Artículo|अनुच्छेद|المادة) \d+\.?|第[一二三四五六七八九十]+条"
)


def articles() -> list[Article]:
    """List all 186 articles by language, each in the order of the Declaration."""
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
            id=f"udhr-{translation.language}-{number:02}",
            language=translation.language,
            title=lines[start],
            text="\n".join(lines[start + 1 : end]),
        )
