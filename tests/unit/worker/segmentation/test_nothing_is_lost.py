"""In fifty languages nothing of a text is lost, doubled or changed by cutting it."""

import random
from itertools import pairwise

import pytest

from speechfleet_worker.segmentation import SentenceStream, TextSegment, cut
from speechfleet_worker.segmentation.abbreviations import abbreviations_of
from speechfleet_worker.segmentation.language import common_words, known_languages
from speechfleet_worker.segmentation.marks import TERMINATORS

WITHOUT_WORDS = {
    "ja": "船長は海をピアノで渡った", "zh": "船长说他曾经带着钢琴", "ko": "선장은 한번 피아노를",
    "th": "กัปตันบอกว่าเขาเคยน้ำ", "lo": "ກັບຕັນບອກວ່ານ້ຳ", "km": "មេទ័ពបាននិយាយ", "my": "ကပ္ပတိန်ကပြော",
    "bo": "བོད་ལ་འགྲོ", "ta": "கேப்டன் ஒருமுறை", "te": "కెప్టెన్ ఒకసారి", "kn": "ಕ್ಯಾಪ್ಟನ್ ಒಮ್ಮೆ",
    "ml": "ക്യാപ്റ്റൻ ഒരിക്കൽ", "bn": "ক্যাপ্টেন একবার", "gu": "કેપ્ટન એકવાર", "pa": "ਕਪਤਾਨ ਇੱਕ ਵਾਰ",
    "si": "කපිතාන් වරක්", "am": "ካፒቴኑ አንድ ጊዜ", "hy": "Նավապետն ասաց", "ka": "კაპიტანმა თქვა",
    "he": "רב החובל אמר", "el": "Ο καπετάνιος είπε",
}  # fmt: skip
LANGUAGES = sorted({*known_languages(), *WITHOUT_WORDS})
GLUE = [" ", " ", " ", " ", "\n", "\n\n", "\r\n", " — ", ", ", "", "\u00a0", "\t", "-\n"]


def vocabulary(language: str) -> list[str]:
    words = sorted(common_words(language)) or list(WITHOUT_WORDS[language])
    capitals = [word.capitalize() for word in words]
    titles = [f"{word}." for word in sorted(abbreviations_of(language).always)[:40]]
    signs = [
        "3.14",
        "12.",
        "I.",
        "A.",
        "“",
        "”",
        "(",
        ")",
        "«",
        "»",
        "「",
        "」と",
        "😀",
        "e\u0301",
        "...",
    ]
    return [*words, *capitals, *titles, *signs]


def random_text(language: str, seed: int) -> str:
    chosen = random.Random(f"{language} {seed}")
    words = vocabulary(language)
    pieces: list[str] = []
    for _ in range(chosen.randrange(1, 250)):
        pieces.append(chosen.choice(words))
        if chosen.random() < 0.15:
            pieces.append(chosen.choice(TERMINATORS if chosen.random() < 0.3 else ".!?"))
        pieces.append(chosen.choice(GLUE))
    return "".join(pieces)


def check(text: str, segments: list[TextSegment]) -> None:
    """Segments and the gaps between them make up the text; gaps hold nothing to speak."""
    position, rebuilt = 0, ""
    for segment in segments:
        gap = text[position : segment.start]
        assert not any(character.isalnum() for character in gap), gap
        rebuilt += gap + segment.text
        position = segment.end
    assert rebuilt + text[position:] == text
    assert not any(character.isalnum() for character in text[position:])
    assert all(before.paragraph <= after.paragraph for before, after in pairwise(segments))
    assert [segment.index for segment in segments] == list(range(len(segments)))


def test_there_are_fifty_languages() -> None:
    assert len(LANGUAGES) >= 50


@pytest.mark.parametrize("language", LANGUAGES)
def test_segments_and_gaps_make_up_the_text(language: str) -> None:
    for seed in range(12):
        text = random_text(language, seed)
        for told in (language, ""):
            whole = list(cut(text, mode="sentence", limit=60, language=told))
            check(text, whole)
            check(text, list(cut(text, mode="paragraph", limit=400, language=told)))
        stream, rest, segments = SentenceStream(limit=60, language=language), text, []
        while rest:
            size = random.Random(len(rest)).randrange(1, 9)
            segments += stream.feed(rest[:size])
            rest = rest[size:]
        assert segments + stream.flush() == list(
            cut(text, mode="sentence", limit=60, language=language)
        )
