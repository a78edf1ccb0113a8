"""Guessing the language of a text, and reading the names that options give to languages."""

import pytest

from speechfleet.demo.corpus import articles
from speechfleet_worker.segmentation import guess_language
from speechfleet_worker.segmentation.language import known_languages, language_tag

PASSAGES = {
    "en": "The captain said that he had once carried a piano over this water.",
    "de": "Der Kapitän sagte, dass er einmal ein Klavier über das Wasser gefahren habe.",
    "fr": "Le capitaine a dit qu'il avait une fois porté un piano sur cette eau.",
    "es": "El capitán dijo que una vez había llevado un piano sobre esta agua.",
    "it": "Il capitano disse che una volta aveva portato un pianoforte su quest'acqua.",
    "pt": "O capitão disse que uma vez tinha levado um piano por esta água.",
    "nl": "De kapitein zei dat hij ooit een piano over dit water had gebracht.",
    "sv": "Kaptenen sade att han en gång hade fört ett piano över det här vattnet.",
    "fi": "Kapteeni sanoi, että hän oli kerran vienyt pianon tämän veden yli.",
    "pl": "Kapitan powiedział, że kiedyś przewiózł fortepian przez tę wodę.",
    "cs": "Kapitán řekl, že kdysi převezl přes tuto vodu klavír, ale nikdo mu nevěřil.",
    "hu": "A kapitány azt mondta, hogy egyszer egy zongorát vitt át ezen a vízen.",
    "ro": "Căpitanul a spus că odată a dus un pian peste această apă.",
    "tr": "Kaptan bir keresinde bu sudan bir piyano geçirdiğini söyledi ve çok güldü.",
    "vi": "Thuyền trưởng nói rằng ông đã từng chở một cây đàn qua vùng nước này.",
    "id": "Kapten itu mengatakan bahwa dia pernah membawa piano di atas air ini.",
    "ru": "Капитан сказал, что он однажды перевёз по этой воде рояль.",
    "uk": "Капітан сказав, що він якось перевіз цією водою рояль, але йому не повірили.",
    "bg": "Капитанът каза, че той веднъж е превозил пиано по тази вода.",
    "el": "Ο καπετάνιος είπε ότι κάποτε μετέφερε ένα πιάνο.",
    "ar": "قال القبطان إنه حمل بيانو على هذا الماء.",
    "fa": "ناخدا گفت که یک بار پیانویی را از این آب گذرانده است.",
    "ur": "کپتان نے کہا کہ اس نے ایک بار پیانو کو اس پانی پر پہنچایا ہے۔",
    "hi": "कप्तान ने कहा कि वह एक बार इस पानी पर पियानो ले गया था।",
    "mr": "कप्तान म्हणाला की तो एकदा या पाण्यावरून पियानो घेऊन गेला होता आणि कोणी नाही.",
    "he": "רב החובל אמר שפעם נשא פסנתר על המים האלה.",
    "th": "กัปตันบอกว่าเขาเคยบรรทุกเปียโนข้ามน้ำนี้",
    "ja": "船長は一度この海をピアノを運んで渡ったと言った。",
    "ko": "선장은 한 번 이 물 위로 피아노를 날랐다고 말했다.",
    "zh": "船长说他曾经带着一架钢琴渡过这片水域。",
    "ta": "கேப்டன் ஒருமுறை பியானோவை எடுத்துச் சென்றதாகக் கூறினார்.",
    "bn": "ক্যাপ্টেন বললেন যে তিনি একবার একটি পিয়ানো বহন করেছিলেন।",
    "ka": "კაპიტანმა თქვა, რომ ერთხელ პიანინო გადაიტანა.",
    "hy": "Նավապետն ասաց, որ մի անգամ դաշնամուր է տեղափոխել։",
    "am": "ካፒቴኑ አንድ ጊዜ ፒያኖ እንደወሰደ ተናገረ።",
    "km": "មេទ័ពបាននិយាយថាគាត់ធ្លាប់យកព្យាណូ។",
}


@pytest.mark.parametrize("language", PASSAGES)
def test_a_sentence_tells_its_language(language: str) -> None:
    assert guess_language(PASSAGES[language]) == language


def test_whole_texts_tell_their_language() -> None:
    texts: dict[str, str] = {}
    for article in articles():
        texts[article.language] = texts.get(article.language, "") + article.text
    assert {language: guess_language(text) for language, text in texts.items()} == {
        language: language for language in texts
    }


@pytest.mark.parametrize("text", ["", "...", "1234", "😀", "Xyzzy plugh."])
def test_a_text_that_shows_no_language_has_none(text: str) -> None:
    assert guess_language(text) == ""


def test_some_thirty_languages_are_told_apart_by_words() -> None:
    assert len(known_languages()) >= 45


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("German", "de"), ("Chinese", "zh"), ("de-DE", "de-DE"), ("pt_BR", "pt_BR"),
        ("Auto", ""), ("auto", ""), ("", ""), ("no such language", ""),
    ],
)  # fmt: skip
def test_what_options_call_a_language(name: str, tag: str) -> None:
    assert language_tag(name) == tag
