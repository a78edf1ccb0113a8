"""Sessions whose text the provider cuts: what would have no effect is refused when they open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from speechfleet.errors import InvalidRequest
from speechfleet.lexicon import LexiconEntry
from speechfleet.request import Lane, Request
from speechfleet.settings import Settings
from speechfleet.spoken_form import SpokenForm
from speechfleet_worker.synthesis.model_cache import ModelCache, Voice
from speechfleet_worker.synthesis.session_push import check_push_mode

LEXICON = SpokenForm(lexicon=(LexiconEntry("SQL", "sequel"),))


@pytest.fixture(scope="module")
def voice() -> Voice:
    return ModelCache(Settings()).voice(Request("", "espeak/espeak-ng", "en-us", open=True))


@pytest.mark.parametrize(
    ("form", "stretch", "named"),
    [(LEXICON, 1.0, "a lexicon"), (SpokenForm(), 4.0, "a speed"), (LEXICON, 2.0, "and a speed")],
    ids=["a lexicon", "a speed", "both"],
)
def test_what_a_provider_that_cuts_itself_cannot_do_is_refused(
    voice: Voice, form: SpokenForm, stretch: float, named: str
) -> None:
    request = Request("", "dashscope/realtime", form=form, lane=Lane.SESSION, open=True)
    with pytest.raises(InvalidRequest, match=f"{named}.* cannot be applied") as refused:
        check_push_mode(request, replace(voice, stretch=stretch))
    assert refused.value.code == "not_in_push_mode"


@pytest.mark.parametrize("form", [SpokenForm(), SpokenForm("markdown")], ids=["plain", "markdown"])
def test_all_else_is_taken(voice: Voice, form: SpokenForm) -> None:
    check_push_mode(Request("", "dashscope/realtime", form=form, open=True), voice)
