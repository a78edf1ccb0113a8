"""The abbreviations and ordinals of a language, read from ``data/abbreviations.txt``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from speechfleet_worker.segmentation.language import is_common_word

ANY_LANGUAGE = "*"
UNKNOWN = "und"
"""The tag of a text whose language is not known."""

_SAME = {"nb": "no", "nn": "no", "bs": "hr", "sh": "hr", "cmn": "zh", "yue": "zh", "arb": "ar"}
"""Languages that are looked up under another tag."""


@dataclass(frozen=True)
class Abbreviations:
    """Words before a full stop that does not end a sentence. See the table for the kinds."""

    always: frozenset[str] = frozenset()
    number: frozenset[str] = frozenset()
    date: frozenset[str] = frozenset()
    initials: frozenset[str] = frozenset()
    word: frozenset[str] = frozenset()
    suffix: tuple[str, ...] = ()
    ordinal_before: frozenset[str] = frozenset()
    ordinal_after: tuple[str, ...] = ()
    roman_before_names: bool = False

    @property
    def has_ordinals(self) -> bool:
        return bool(self.ordinal_after)


def primary_tag(language: str) -> str:
    """Reduce a tag such as "de-DE" or "cmn" to the one that the tables know."""
    tag = language.replace("_", "-").partition("-")[0].lower()
    return _SAME.get(tag, tag)


@cache
def abbreviations_of(language: str) -> Abbreviations:
    """Return the table of a language, by its primary tag, with what holds in any language.

    Titles and references of a caseless script do no harm elsewhere, and texts quote each other,
    so only words that are no abbreviation in another language stand in the common part.
    """
    tables = _tables()
    own = _of_any_language() if language == UNKNOWN else tables.get(language, {})
    common = tables[ANY_LANGUAGE]
    words = {
        kind: frozenset((*own.get(kind, ()), *common.get(kind, ())))
        for kind in ("always", "number", "date", "initials", "word", "ordinal before")
    }
    return Abbreviations(
        words["always"], words["number"], words["date"], words["initials"],
        words["word"],
        suffix=tuple(own.get("suffix", ())),
        ordinal_before=words["ordinal before"],
        ordinal_after=tuple(own.get("ordinal after", ())),
        roman_before_names="ordinal roman" in own,
    )  # fmt: skip


def _of_any_language() -> dict[str, list[str]]:
    """Join the tables for a text of an unknown language.

    An abbreviation that is a common word of some language counts with a capital only: "Ir.".
    """
    joined: dict[str, list[str]] = {}
    for table in _tables().values():
        for kind in ("always", "number", "date", "ordinal after"):
            words = (word for word in table.get(kind, ()) if len(word) > 1)
            joined.setdefault(kind, []).extend(
                word.capitalize() if is_common_word(word) else word for word in words
            )
    return joined


def languages() -> list[str]:
    """List the languages that have a table of their own."""
    return sorted(set(_tables()) - {ANY_LANGUAGE})


@cache
def _tables() -> dict[str, dict[str, list[str]]]:
    tables: dict[str, dict[str, list[str]]] = {}
    language = kind = ""
    for line in _lines():
        words = line
        if line.startswith("["):
            language = line.strip("[]")
            tables[language] = {}
            continue
        if not line.startswith(" "):
            kind, _, words = line.partition(":")
        tables[language].setdefault(kind, []).extend(words.split())
    return tables


def _lines() -> Iterator[str]:
    folder = resources.files("speechfleet_worker.segmentation")
    for line in folder.joinpath("data/abbreviations.txt").read_text("utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line
