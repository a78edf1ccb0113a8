"""The language of a text: told by the request, or guessed from its script and common words."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from importlib import resources
from typing import NamedTuple

_MARKS = (
    r"\u0300-\u036f\u0610-\u061a\u064b-\u065f\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963"
)
_WORD = re.compile(rf"[^\W\d_](?:[^\W\d_]|[{_MARKS}])*+(?:'[^\W\d_]+)?+(?!\.\s)")
"""A word, but for one before a full stop: that may be an abbreviation."""
_LETTER_WEIGHT = 0.5
_ENOUGH = 0.7
"""The score below which a language of several in its script is not certain: one telling word."""
_MIN_SHARE_OF_KANA = 0.05

_SCRIPTS: tuple[tuple[str, str], ...] = (
    (r"A-Za-z\u00c0-\u024f\u1e00-\u1eff", "Latin"),
    (r"\u0400-\u052f", "Cyrillic"),
    (r"\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefe", "Arabic"),
    (r"\u0900-\u097f", "Devanagari"),
    (r"\u3040-\u30ff\uff66-\uff9f", "Kana"),
    (r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff", "Han"),
    (r"\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3", "ko"),
    (r"\u0370-\u03ff\u1f00-\u1fff", "el"),
    (r"\u0530-\u058f\ufb13-\ufb17", "hy"),
    (r"\u0590-\u05ff\ufb1d-\ufb4f", "he"),
    (r"\u0700-\u074f", "syr"),
    (r"\u0780-\u07bf", "dv"),
    (r"\u0980-\u09ff", "bn"),
    (r"\u0a00-\u0a7f", "pa"),
    (r"\u0a80-\u0aff", "gu"),
    (r"\u0b00-\u0b7f", "or"),
    (r"\u0b80-\u0bff", "ta"),
    (r"\u0c00-\u0c7f", "te"),
    (r"\u0c80-\u0cff", "kn"),
    (r"\u0d00-\u0d7f", "ml"),
    (r"\u0d80-\u0dff", "si"),
    (r"\u0e00-\u0e7f", "th"),
    (r"\u0e80-\u0eff", "lo"),
    (r"\u0f00-\u0fff", "bo"),
    (r"\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f", "my"),
    (r"\u10a0-\u10ff\u2d00-\u2d2f\u1c90-\u1cbf", "ka"),
    (r"\u1200-\u139f\u2d80-\u2ddf", "am"),
    (r"\u13a0-\u13ff\uab70-\uabbf", "chr"),
    (r"\u1400-\u167f", "iu"),
    (r"\u1780-\u17ff", "km"),
    (r"\u1800-\u18af", "mn"),
    (r"\u1c50-\u1c7f", "sat"),
)
"""Ranges of letters, and the script, or the language where one language is written in it."""
_SCRIPT = re.compile("|".join(f"(?P<s{n}>[{span}])" for n, (span, _) in enumerate(_SCRIPTS)))
_OF_ONE_SCRIPT = {"zh", "cmn", "yue", "ja", *(name for _, name in _SCRIPTS if name.islower())}
"""Languages that have a script of their own."""
_LATIN = re.compile("[{}]".format(next(span for span, name in _SCRIPTS if name == "Latin")))

_NAMES = {
    "chinese": "zh", "english": "en", "german": "de", "italian": "it", "portuguese": "pt",
    "spanish": "es", "japanese": "ja", "korean": "ko", "french": "fr", "russian": "ru",
    "arabic": "ar", "hindi": "hi", "dutch": "nl", "polish": "pl", "turkish": "tr",
    "vietnamese": "vi", "indonesian": "id", "thai": "th", "swedish": "sv", "czech": "cs",
    "danish": "da", "finnish": "fi", "greek": "el", "hungarian": "hu", "norwegian": "no",
    "romanian": "ro", "ukrainian": "uk", "hebrew": "he", "bengali": "bn", "tamil": "ta",
    "malay": "ms", "mandarin": "zh", "cantonese": "zh", "persian": "fa", "urdu": "ur",
}  # fmt: skip
"""Names of languages that providers take as an option, by the tag that they mean."""
_TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*")


class _Words(NamedTuple):
    languages: dict[str, tuple[str, ...]]
    """Word or letter -> the languages that it points to."""
    letters: dict[str, tuple[str, ...]]
    script: dict[str, str]


def language_tag(name: str) -> str:
    """Turn what an option calls a language ("German", "de-DE") into a tag; "" if it is neither."""
    known = _NAMES.get(name.strip().casefold())
    if known is not None:
        return known
    tag = name.strip()
    return tag if _TAG.fullmatch(tag) and tag.casefold() != "auto" else ""


def guess_language(text: str) -> str:
    """Guess the language of a text: a primary tag such as "de"; "" where nothing shows it.

    The script decides where one language is written in it; else the most common words of each
    language, and the letters that set it apart. Deterministic and offline; a sentence or two
    are enough as a rule.
    """
    if text.isascii():
        return _by_words(text, "Latin") if any(map(str.isalpha, text)) else ""
    scripts = Counter(
        _SCRIPTS[int(name[1:])][1]
        for match in _SCRIPT.finditer(text)
        if (name := match.lastgroup) is not None
    )
    if not scripts:
        return ""
    if scripts["Kana"] > _MIN_SHARE_OF_KANA * (scripts["Kana"] + scripts["Han"]):
        scripts["ja"] = scripts.pop("Kana") + scripts.pop("Han", 0)
    # A letter of Han or Hangul says as much as a short word.
    for dense in ("ja", "Han", "ko"):
        scripts[dense] *= 3
    script = scripts.most_common(1)[0][0]
    if script in ("Han", "Kana"):
        return "zh" if script == "Han" else "ja"
    if script not in ("Latin", "Cyrillic", "Arabic", "Devanagari"):
        return script
    return _by_words(text, script)


def latin_share(text: str) -> float:
    """Return the share of Latin letters among all letters, 0 to 1; 1 where there are none."""
    letters = sum(map(str.isalpha, text))
    return len(_LATIN.findall(text)) / letters if letters else 1.0


def primary_tag(tag: str) -> str:
    """Return the language of a tag, without region and script: "en" of "en-GB"."""
    return tag.replace("_", "-").partition("-")[0].lower()


def is_written_in_latin(tag: str) -> bool | None:
    """Tell whether a language is written in Latin letters; None where that is not known."""
    language = primary_tag(tag)
    if language in _OF_ONE_SCRIPT:
        return False
    script = _table().script.get(language)
    return None if script is None else script == "Latin"


@cache
def common_words(language: str) -> frozenset[str]:
    """Return the most common words of a language, as far as they are known here."""
    return frozenset(word for word, found in _table().languages.items() if language in found)


def known_languages() -> list[str]:
    """List the languages that are told apart by their words."""
    return sorted(_table().script)


def is_common_word(word: str) -> bool:
    """Tell if a word is one of the most common of any language."""
    return word in _table().languages


def _by_words(text: str, script: str) -> str:
    table = _table()
    lower = text.lower().replace("’", "'")
    scores: Counter[str] = Counter()
    for word in _WORD.findall(lower):
        languages = table.languages.get(word, ())
        for language in languages:
            if table.script[language] == script:
                scores[language] += 1 / len(languages)  # type: ignore[assignment]
    for letter in table.letters.keys() & set(lower):
        languages = table.letters[letter]
        weight = lower.count(letter) * _LETTER_WEIGHT / len(languages)
        for language in languages:
            if table.script[language] == script:
                scores[language] += weight  # type: ignore[assignment]
    if not scores or max(scores.values()) < _ENOUGH:
        return {"Cyrillic": "ru", "Arabic": "ar", "Devanagari": "hi"}.get(script, "")
    return max(scores, key=lambda language: (scores[language], language == "en"))


@cache
def _table() -> _Words:
    words: dict[str, list[str]] = {}
    letters: dict[str, list[str]] = {}
    script: dict[str, str] = {}
    language = ""
    folder = resources.files("speechfleet_worker.segmentation")
    for line in folder.joinpath("data/common_words.txt").read_text("utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            language = line[1:-1]
        elif line.startswith("letters:"):
            for letter in line.removeprefix("letters:").strip():
                letters.setdefault(letter, []).append(language)
        elif line and not line.startswith("#"):
            script[language] = _script_of(line)
            for word in dict.fromkeys(line.split()):
                words.setdefault(word, []).append(language)
    return _Words(
        {word: tuple(found) for word, found in words.items()},
        {letter: tuple(found) for letter, found in letters.items()},
        script,
    )


def _script_of(text: str) -> str:
    match = _SCRIPT.search(text)
    assert match is not None
    assert match.lastgroup is not None
    return _SCRIPTS[int(match.lastgroup[1:])][1]
