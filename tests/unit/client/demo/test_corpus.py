"""The demo corpus: complete, in six languages, ready to be jobs."""

import re
from collections import Counter

from speechfleet.demo.corpus import Article, articles

CORPUS = {article.id: article for article in articles()}


def in_language(language: str) -> list[Article]:
    return [article for article in CORPUS.values() if article.language == language]


def test_preamble_and_thirty_articles_in_each_of_six_languages() -> None:
    counts = Counter(article.language for article in articles())
    assert counts == dict.fromkeys(("en", "de", "es", "hi", "ar", "zh"), 31)


def test_ids_are_unique_and_stable() -> None:
    assert len(CORPUS) == len(articles()) == 186
    assert all(re.fullmatch(r"udhr-[a-z]{2}-[0-3]\d", id) for id in CORPUS)
    assert articles() == articles()


def test_titles_and_texts_belong_together() -> None:
    first = CORPUS["udhr-en-01"]
    assert (first.title, first.language) == ("Article 1", "en")
    assert first.text.startswith("All human beings are born free and equal")
    assert CORPUS["udhr-en-00"].title == "Preamble"
    assert CORPUS["udhr-de-30"].title == "Artikel 30"
    assert CORPUS["udhr-zh-03"].text == "人人有权享有生命、自由和人身安全。"
    assert CORPUS["udhr-hi-01"].title == "अनुच्छेद १."
    assert CORPUS["udhr-ar-03"].text == "لكل فرد الحق في الحياة والحرية وسلامة شخصه."


def test_every_text_is_whole_paragraphs_without_headings() -> None:
    for article in articles():
        lines = article.text.split("\n")
        assert all(line and line == line.strip() for line in lines), article.id
        others = {other.title for other in in_language(article.language)}
        assert not others.intersection(lines), article.id
