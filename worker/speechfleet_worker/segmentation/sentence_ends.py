"""Decides if a sentence ends at a terminator: by rules over tables, then by ``sentencex``.

The rules decide first, because they are certain: what continues in small letters, decimal
numbers, abbreviations, ordinals, initials, quotations that a particle or the narrator goes on
with. What they leave open the library decides by the rules of the language. Both look at
`CONTEXT` characters before the terminator and `HOLD_BACK` behind it, so that a text gives the
same sentences however it arrives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate

import sentencex

from speechfleet_worker.segmentation.abbreviations import abbreviations_of, primary_tag
from speechfleet_worker.segmentation.language import common_words
from speechfleet_worker.segmentation.marks import COMMON_TERMINATORS, LINE_BREAK, OPENING

HOLD_BACK = 12
"""Code points that must follow a terminator before it is judged: "Dr." needs its "Smith"."""
SURE_FROM = 4
"""Code points behind a terminator from which `SentenceRules.surely_ends` can tell."""
CONTEXT = 200
"""Code points before a terminator that are looked at: bounds the work on endless sentences."""

_WHOLE_WORD = re.compile(r"[^\W\d_]+(?=[ \t])")
_LIST_MARK = re.compile(r"(?:\d{1,3}|[^\W\d_])[.)]")
_TOKEN = re.compile(r"[^\s()\[\]{}<>\"“”„‚‘«»‹›「」『』¿¡,;/]+$")
_WORD_BEFORE = re.compile(r"([^\W_]+)[^\w]*$")
_PART_BEFORE = re.compile(r"(?:^|[\s(])([^\W\d_]{1,4}(?:\.[^\W\d_]{1,4})*)\.\s?$")
_PART_BEHIND = re.compile(r"([^\W\d_]\w{0,3})\.")
_INDIC_SYLLABLE = re.compile(
    r"[\u0904-\u0939\u0985-\u09b9\u0a05-\u0a39\u0a85-\u0ab9\u0b85-\u0bb9\u0c05-\u0c39"
    r"\u0c85-\u0cb9\u0d05-\u0d39][\u093a-\u094c\u0962\u0963\u0900-\u0903\u09bc-\u09cc\u0981-\u0983"
    r"\u0a3c-\u0a4c\u0a70\u0a71\u0abc-\u0acc\u0a81-\u0a83\u0bbe-\u0bcd\u0c3e-\u0c4c\u0c00-\u0c03"
    r"\u0cbc-\u0ccc\u0c81-\u0c83\u0d3e-\u0d4d]*"
)
"""A single letter of an Indic script with its vowel sign: an initial, if it is no word."""
_NUMBER = re.compile(r"\d{1,4}")
_ROMAN = re.compile(r"[IVXLCDM]{1,7}")
_DIGIT_FOLLOWS = re.compile(r"[§#№]?\d|[IVXLC]{2,5}\b")
_LETTER_FOLLOWS = re.compile(r"[^\W\d_](?=[\W\d]|$)")
_DASH = re.compile(r"(?:[—–―]|--?)\s?")
_NO_BLANK_NEEDED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"
)
"""Scripts in which a sentence may follow a full stop without a blank."""
_THAI_OR_LAO = re.compile(r"[\u0e00-\u0eff]{1,4}(?:\.[\u0e00-\u0eff]{1,4})*")
_MIDDLE = frozenset(",;:)]}»،，、；：")
"""Signs behind a terminator that show that the sentence goes on: "Yahoo!, etc.,"."""
_REFERENCES = frozenset(
    "Ch Chap Vol Fig No Sec App Bk Pt Op Cap Kap Bd Nr Abb Tab Tom T Гл Рис Т Кн Ч".split()
)
"""Words before "I" or "A" as a number, though these are words of the language: "Vol. I"."""
_OF_AN_ADDRESS = frozenset("/\\@_=&%#~")
_ET_CETERA = "ល។"
"""The rest of Khmer's "and so on", which begins with a full stop: "។ល។"."""
_PAIRED = frozenset("\"“”„‟«»‹›()[]{}（）「」『』《》〈〉【】‘’'`´*_")
_PAIRS = {"「": "」", "『": "』", "“": "”", "«": "»", "(": ")", "（": "）", "《": "》", "【": "】"}

_QUOTED_JAPANESE = re.compile(
    r"[」』”)）](?:と(?!にかく|ころ|ても|もあれ|うとう|たん)|って|っ|とか|など|なん|を|の(?!ち)"
    r"|[がにへはも](?=[\u4e00-\u9fff\u30a0-\u30ff「『、])|だ(?!が|から|け)|です|じゃ)"
)
_QUOTED_KOREAN = re.compile(
    r"[\"'”’」』]\s?(?:이?라[고며는면]|하[고며는]|라|고|며|면서|란|이란|는|은|이|가|을|를)(?=[\s가-힣,.]|$)"
)
_QUOTED_CHINESE = re.compile(
    r"[”」』](?:[他她它我你您][们們]?[说說道问問答喊叫笑嚷]"
    r"|[\u4e00-\u9fff]{0,4}(?:[说說问問答喊叫笑嚷]道?|道)(?=[，。：、！]))"
)
_QUOTED_INDIC = re.compile(
    r"[\"'”’»]\s?(?:என்று|என|అని|అంటూ|എന്ന്|എന്ന|ಎಂದು|ಎಂಬ|असे|असं|अशी|भनेर|भन्ने|বলে|કહીને|එසේ|කියා|ဟု|ဆို)"
)
_QUOTED = (_QUOTED_JAPANESE, _QUOTED_KOREAN, _QUOTED_CHINESE, _QUOTED_INDIC)
_BEFORE_A_LETTER = frozenset(
    "vitamin vitamine plan type typ tipo hepatitis group gruppe groupe grupo gruppo klasse class "
    "classe clase grade option opción teil part parte note punkt point punto team seite model "
    "modell modèle modelo generation serie series size exhibit appendix anhang column spalte row "
    "zeile section abschnitt line linie ligne línea route platform gate channel kanal letter "
    "lettre lettera letra buchstabe version variante variant план группа группы класс тип витамин "
    "буква вариант команда".split()
)
"""Words before a single capital that is no initial: "vitamin C."."""


@dataclass(frozen=True)
class Terminator:
    """A run of terminators within a text: what stands before it, and what follows.

    ``before``: the sentence so far, or its last `CONTEXT` characters. ``following``: at most
    `HOLD_BACK` characters behind the blanks. ``joined``: nothing stands between them.
    """

    before: str
    stops: str
    closers: str
    following: str
    joined: bool

    @property
    def mark(self) -> str:
        return self.stops[-1]


class SentenceRules:
    """The rules of one language. ``language`` is a tag such as "en", "de-DE" or "cmn"."""

    def __init__(self, language: str) -> None:
        self.language = primary_tag(language)
        self._table = abbreviations_of(self.language)
        self._sentencex = self.language or "en"

    def ends(self, terminator: Terminator) -> bool:
        """Tell if a sentence ends here. ``before`` must hold a letter or a digit."""
        if terminator.mark in ";:…" and not self._is_terminator(terminator):
            return False
        if not terminator.following:
            return True
        if self._goes_on(terminator) or self._is_abbreviation(terminator):
            return False
        before = f"{terminator.before}{terminator.closers}"
        if self._is_plain(terminator) and not _is_in_quotes(before):
            return True
        return self._ends_by_library(terminator)

    def surely_ends(self, terminator: Terminator) -> bool:
        """Tell if a sentence ends here whatever comes behind the first word that follows.

        Where this is true, `ends` is true once all of `HOLD_BACK` is known.
        """
        following = terminator.following
        if terminator.mark in "。！？｡":
            is_plain = not terminator.closers and bool(_NO_BLANK_NEEDED.match(following))
        else:
            word = _WHOLE_WORD.match(following)
            is_plain = (
                terminator.mark in ".!?"
                and not terminator.joined
                and len(following) >= SURE_FROM
                and word is not None
                and word[0][0].isupper()
                and not self._may_be_ordinal(terminator)
            )
        if not is_plain or self._goes_on(terminator) or self._is_abbreviation(terminator):
            return False
        before = f"{terminator.before}{terminator.closers}"
        if self._is_plain(terminator) and not _is_in_quotes(before):
            return True
        # The library looks for the end of what was quoted, which may be still to come.
        return _PAIRED.isdisjoint(before) and self._ends_by_library(terminator)

    def _may_be_ordinal(self, terminator: Terminator) -> bool:
        """Tell if more than a word must be known behind a number."""
        token = _TOKEN.search(terminator.before)
        return token is not None and any(sign.isdigit() or sign in "IVXLCDM" for sign in token[0])

    def _is_plain(self, terminator: Terminator) -> bool:
        """Tell if this is an end outside of quotes, whatever the library would say."""
        mark = terminator.mark
        if mark not in COMMON_TERMINATORS or mark in ";:。！？｡":
            return True
        if terminator.joined or not _first_letter(terminator.following).isupper():
            return False
        if terminator.closers.endswith((")", "]")) and terminator.before[0] in "([":
            return True  # a sentence in brackets of its own
        if mark in "!?…":
            return True
        word = _TOKEN.search(terminator.before)
        if terminator.stops != "." or word is None or _DIGIT_FOLLOWS.match(terminator.following):
            return False
        is_whole = _is_whole_sentence(terminator.before[: word.start()])
        is_common = word[0] in common_words(self.language) or word[0] in self._table.word
        return is_common or (is_whole and len(word[0]) > 1 and "." not in word[0])

    def _is_terminator(self, terminator: Terminator) -> bool:
        """Tell if ";" asks a question (Greek), ":" is a full stop (Armenian), "…" ends."""
        if terminator.mark == "…":
            return not terminator.joined and _first_letter(terminator.following).isupper()
        if terminator.mark == ";":
            return self.language == "el"
        return self.language == "hy" and not terminator.joined

    def _goes_on(self, terminator: Terminator) -> bool:
        following = terminator.following
        inside = terminator.joined and _is_inside_a_word(terminator)
        quoted = bool(terminator.closers) and _is_quoted(terminator)
        if inside or quoted or following[0] in _MIDDLE:
            return True
        if not _first_letter(following).islower() or _is_brand(following):
            return False
        if _stands_apart(terminator):
            return False
        return bool(_DASH.match(following)) or not _is_in_small_letters(terminator.before)

    def _is_abbreviation(self, terminator: Terminator) -> bool:
        if terminator.stops != "." or terminator.closers:
            return False
        match = _TOKEN.search(terminator.before)
        if match is None:
            return False
        token = match[0].lstrip("-–—'’*_")
        rest, following = terminator.before[: match.start()], terminator.following
        return (
            self._stands_before_anything(token, rest, following)
            or (
                self._stands_before_number(token, rest) and self._is_number(token, rest, following)
            )
            or self._is_ordinal(token, rest, following)
        )

    def _stands_before_anything(self, token: str, rest: str, following: str) -> bool:
        table, folded = self._table, token.casefold()
        spellings = {token, folded, *re.split("[-'’]", folded)[-1:]}
        spellings.update(_with_neighbours(token, rest, following))
        if self.language == "ar":
            spellings.add(token.removeprefix("و"))
        if not table.always.isdisjoint(spellings) or token in table.initials:
            return True
        if folded in table.date:
            return following[:4].casefold().rstrip(".,; ") in table.date
        if self.language == "de" and len(token) == 1 and token.islower():
            return True  # "z. B."
        if self.language in ("th", "lo") and _THAI_OR_LAO.fullmatch(token):
            return True
        return self._is_initial(token, rest)

    def _is_initial(self, token: str, rest: str) -> bool:
        letter = token.rpartition(".")[2].rpartition("-")[2]
        if _INDIC_SYLLABLE.fullmatch(token):
            return token not in self._table.word
        if len(letter) != 1 or not letter.isupper() or (letter == "I" and self.language == "en"):
            return False
        if "." in token and "-" not in token:
            return False  # "U.S." may end a sentence; "J.-P." before a name does not
        word = _WORD_BEFORE.search(rest)
        return word is None or word[1].casefold() not in _BEFORE_A_LETTER

    def _stands_before_number(self, token: str, rest: str) -> bool:
        folded = token.casefold()
        words = {token, folded, folded.rpartition("-")[2], folded.rpartition(".")[2]}
        words.update(_with_neighbours(token, rest, ""))
        table = self._table
        return not table.number.isdisjoint(words) or folded.endswith(table.suffix or ("\0",))

    def _is_number(self, token: str, rest: str, following: str) -> bool:
        """Tell if a number follows, or a letter that stands for one: "Ch. X", not "no. I am"."""
        if _DIGIT_FOLLOWS.match(following):
            return True
        if not _LETTER_FOLLOWS.match(following) or _is_whole_sentence(rest):
            return False
        is_word = following[0].casefold() in common_words(self.language)
        return following[0].isupper() and (not is_word or token in _REFERENCES)

    def _is_ordinal(self, token: str, rest: str, following: str) -> bool:
        table = self._table
        if not table.has_ordinals or not (_NUMBER.fullmatch(token) or _ROMAN.fullmatch(token)):
            return False
        word = following.casefold()
        if any(_agrees(word, noun) for noun in table.ordinal_after):
            return True
        if token.isalpha():
            return table.roman_before_names
        before = _WORD_BEFORE.search(rest)
        return before is not None and before[1].casefold() in table.ordinal_before

    def _ends_by_library(self, terminator: Terminator) -> bool:
        gap = "" if terminator.joined else " "
        before = LINE_BREAK.sub(" ", terminator.before)
        stop = len(before)
        closed = stop + len(terminator.stops) + len(terminator.closers)
        following = LINE_BREAK.sub(" ", terminator.following)
        text = f"{before}{terminator.stops}{terminator.closers}{gap}{following}"
        ends = accumulate(len(part) for part in sentencex.segment(self._sentencex, text))
        return any(stop < end <= closed + len(gap) for end in ends)


def _with_neighbours(token: str, rest: str, following: str) -> list[str]:
    """Spell abbreviations of several words without their blanks: "т. е." is "т.е"."""
    spellings = []
    if before := _PART_BEFORE.search(rest):
        spellings.append(f"{before[1]}.{token}".casefold())
    if behind := _PART_BEHIND.match(following):
        spellings.append(f"{token}.{behind[1]}".casefold())
    return spellings


def is_list_mark(text: str) -> bool:
    """Tell if a sentence so far is but the mark of an item: "1." or "(a)" without its "("."""
    return len(text) <= 4 and _LIST_MARK.fullmatch(text) is not None


def _is_inside_a_word(terminator: Terminator) -> bool:
    """Tell if letters follow without a blank: 3.14, example.org, "J.-C.", "Dipl.-Ing."."""
    first = terminator.following[0]
    if terminator.following.startswith(_ET_CETERA):
        return True
    if terminator.closers:
        return "\uac00" <= first <= "\ud7a3" or first.islower()
    if terminator.mark == "．":
        return first.isdigit() and terminator.before[-1:].isdigit()
    if terminator.mark != ".":
        return terminator.mark in "!?" and first in _OF_AN_ADDRESS
    if first.isalnum():
        return not _NO_BLANK_NEEDED.match(first)
    return first in "-‐‑'’" or first in _OF_AN_ADDRESS


def _stands_apart(terminator: Terminator) -> bool:
    """Tell if an ellipsis stands between two sentences, as in "Well. ... and then?"."""
    stops = terminator.stops
    return stops.count(" ") == 1 and terminator.before[-1:] not in ("", " ")


def _is_quoted(terminator: Terminator) -> bool:
    """Tell if the sentence goes on behind a quotation, with a particle or its narrator."""
    gap = "" if terminator.joined else " "
    closed = f"{terminator.closers[-1]}{gap}{terminator.following}"
    return any(rule.match(closed) for rule in _QUOTED)


def _first_letter(following: str) -> str:
    """Return the first letter behind dashes, quotes and brackets; "" at another sign."""
    start = _DASH.sub("", following.lstrip(OPENING + "*_ "), count=1).lstrip(OPENING + "*_ ")
    return start[:1]


def _is_brand(following: str) -> bool:
    """Tell if a word has a small first letter and then a capital: "iPhone"."""
    return len(following) > 1 and following[0].islower() and following[1].isupper()


def _is_in_small_letters(before: str) -> bool:
    """Tell if a sentence has no capital at all: it says nothing about where the next begins."""
    return before == before.lower() and before.lstrip(OPENING + " ")[:1].islower()


def _is_whole_sentence(rest: str) -> bool:
    """Tell if nothing stands before a sentence's last word."""
    return not rest.strip(OPENING + " ")


def _agrees(word: str, noun: str) -> bool:
    """Tell if ``word`` begins with ``noun``; both may have been cut at `HOLD_BACK`."""
    return word.startswith(noun[:HOLD_BACK]) and not word[len(noun) : len(noun) + 1].isdigit()


def _is_in_quotes(before: str) -> bool:
    return any(
        before.count(opening) > before.count(closing) for opening, closing in _PAIRS.items()
    )
