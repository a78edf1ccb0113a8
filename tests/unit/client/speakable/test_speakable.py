"""What of a text is spoken, rule by rule."""

import pytest

from speechfleet.errors import InvalidRequest
from speechfleet.speakable import check_pauses, make_speakable, mode_of

MARKDOWN = {
    "emphasis": ("a **bold** _word_ ~~gone~~", "a bold word gone"),
    "stars of a product": ("2 * 3", "2 * 3"),
    "a name with lines": ("snake_case_name", "snake_case_name"),
    "code within a line": ("run `make *all*` now", "run make *all* now"),
    "a code block": ("Before.\n```py\nx = 1\n```\nAfter.", "Before. After."),
    "a block that never closes": ("Before.\n~~~\nx = 1\n", "Before."),
    "a link": ("see [the docs](https://a.b/c_(d) 'T')!", "see the docs!"),
    "a link by reference": ("see [the docs][1].\n\n[1]: https://a.b", "see the docs."),
    "an image": ("![a cat](cat.png) sleeps", "a cat sleeps"),
    "an image with data in it": ("![x](data:image/png;base64," + "A" * 9000 + ") y", "x y"),
    "a note mark": ("Sure[^1] and known[12].", "Sure and known."),
    "a heading": ("# Chapter IV: Rain\nIt fell.", "Chapter 4: Rain It fell."),
    "a heading that is a number": ("## XII.\n", "12."),
    "a pronoun in a heading": ("# What I saw\n", "What I saw"),
    "a list": ("- one\n- [x] two\n3. three", "one two 3. three"),
    "a quotation": ("> so\n> it goes", "so it goes"),
    "a rule": ("a\n\n---\n\nb", "a b"),
    "an underlined heading": ("Title\n=====\nText", "Title Text"),
    "a table": ("|A|B|\n|-|-|\n|1|*2*|\n|3||", "A: 1, B: 2. A: 3."),
    "a table without titles": ("|1|2|\n|3|4|", "1, 2. 3, 4."),
    "an escape": (r"\*not bold\*", "*not bold*"),
    "tags": ("<p>One<br>two</p><script>x()</script><b>th</b>ree", "One two three"),
    "broken tags": ("a < b <c", "a < b <c"),
    "tags in tags": ("<div <b>x</b>", "<div x"),
    "an image of HTML": ("<img src='x' alt='a &amp; b'>!", "a & b!"),
    "an entity": ("a &amp; b &lt; c &nosuch; d&nbsp;e", "a & b < c &nosuch; d e"),
    "a comment": ("a <!-- b\n\nc --> d", "a d"),
}
ANYWHERE = {
    "an address": ("at https://www.example.com/a?b=c#d.", "at example.com."),
    "an address in brackets": ("(see http://a.b/c)", "(see a.b)"),
    "a mail address": ("mail first_last@a-b.org", "mail first_last@a-b.org"),
    "emoji": ("Yes 👍🏽 👩‍👩‍👧 ❤️!", "Yes !"),
    "a keycap": ("press 1️⃣", "press 1"),
    "decoration": ("a ----- b ***** c", "a b c"),
    "a soft hyphen": ("Donau\u00addampf", "Donaudampf"),
    "a ligature": ("ﬁnal eﬀort", "final effort"),
    "an accent of its own": ("Cafe\u0301", "Café"),
    "numbers and abbreviations": ("Dr. No paid $1,000 at 5 p.m.", "Dr. No paid $1,000 at 5 p.m."),
    "signs that mean something": ("20 °C © № 5 ½", "20 °C © № 5 ½"),
}


def spoken(text: str, mode: str) -> str:
    return " ".join(make_speakable(text, mode=mode).text.split())  # type: ignore[arg-type]


@pytest.mark.parametrize(("written", "heard"), MARKDOWN.values(), ids=list(MARKDOWN))
def test_markup_is_not_spoken(written: str, heard: str) -> None:
    assert spoken(written, "markdown") == heard


@pytest.mark.parametrize("mode", ["markdown", "plain"])
@pytest.mark.parametrize(("written", "heard"), ANYWHERE.values(), ids=list(ANYWHERE))
def test_what_is_only_looked_at_is_not_spoken(mode: str, written: str, heard: str) -> None:
    assert spoken(written, mode) == heard


def test_plain_text_keeps_what_only_markdown_takes_for_markup() -> None:
    text = "a *b* [c] # d | e <f>"
    assert spoken(text, "plain") == text


def test_off_changes_nothing() -> None:
    speakable = make_speakable("**a** [pause 1s]", mode="off")
    assert (speakable.text, speakable.pauses) == ("**a** [pause 1s]", ())
    assert speakable.map.written(2, 5) == (2, 5)


@pytest.mark.parametrize(
    ("text", "mode"),
    [("# Title\n", "markdown"), ("a **b** c", "markdown"), ("[a](https://b.c)", "markdown"),
     ("<p>a", "markdown"), ("- a\n- b", "markdown"), ("5 * 3 - 2", "plain"), ("I <3 it", "plain")],
    ids=["heading", "bold", "link", "tag", "list", "sum", "heart"],
)  # fmt: skip
def test_auto_tells_markdown_from_plain_text(text: str, mode: str) -> None:
    assert mode_of(text, "auto") == mode


def test_a_pause_is_silence_with_the_place_of_its_mark() -> None:
    text = 'One. [pause 1.5s] Two. <break time="250ms"/> Three.'
    speakable = make_speakable(text, mode="plain")
    assert [(text[p.start : p.end], p.seconds) for p in speakable.pauses] == [
        ("[pause 1.5s]", 1.5), ('<break time="250ms"/>', 0.25),
    ]  # fmt: skip
    first, second = speakable.pauses
    assert speakable.text[: first.at].split() == ["One."]
    assert speakable.text[second.at :].split() == ["Three."]


def test_a_pause_of_ten_minutes_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidRequest, match=r"600s\]' at position 3 is longer than 60 s"):
        check_pauses("Hm [pause 600s]")
    with pytest.raises(InvalidRequest, match="at position 3 is longer than 60 s"):
        check_pauses("Hm [pause 10m]")
    assert make_speakable("Hm [pause 0.5 min] so", mode="plain").pauses[0].seconds == 30


def test_chinese_tables_have_chinese_marks() -> None:
    text = make_speakable("|名|岁|\n|-|-|\n|安|3|", "zh-CN", "markdown").text
    assert "名：安，岁：3。" in text


def test_the_map_leads_back_to_what_is_written() -> None:
    text = "Say **hello** to [Ann](https://a.b) &amp; Bob."
    speakable = make_speakable(text, mode="markdown")

    def written(word: str) -> str:
        at = speakable.text.index(word)
        start, end = speakable.map.written(at, at + len(word))
        return text[start:end]

    assert speakable.text == "Say hello to Ann & Bob."
    assert [written(w) for w in ("hello", "Ann", "&", "Bob")] == ["hello", "Ann", "&amp;", "Bob"]
