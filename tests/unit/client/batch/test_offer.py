"""What a fleet can speak is known before anything is sent."""

import pytest

from speechfleet.batch.offer import FleetOffer, ModelOffer
from speechfleet.corpus.item import Item
from speechfleet.errors import InvalidRequest, UnknownModel, UnknownOption, UnknownVoice
from speechfleet.request import Request
from speechfleet.settings import Settings

OFFER = FleetOffer(
    Settings(),
    ["own"],
    {
        "openai/tts-1": ModelOffer(("alloy", "nova"), ("voice_",), True),
        "espeak/espeak-ng": ModelOffer(("en-us", "de", "fr")),
        "own/...": ModelOffer(("anna",), (), True, frozenset({"mood"})),
    },
)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(Request("", "openai/tts-1", "alloy"), id="listed voice"),
        pytest.param(Request("", "openai/tts-1", "voice_123"), id="voice of an account"),
        pytest.param(Request("", "openai/tts-1"), id="default voice"),
        pytest.param(Request("", "openai/other", "any"), id="model that no list has"),
        pytest.param(Request("", "espeak/espeak-ng", "de-at"), id="region"),
        pytest.param(Request("", "espeak/espeak-ng", "en-us+f3"), id="variant"),
        pytest.param(Request("", "own/any", "anna", {"mood": "glad"}), id="own provider"),
        pytest.param(Request("", "gemini/x", "y"), id="provider that nobody serves now"),
    ],
)
def test_what_may_be_spoken_is_let_through(request_: Request) -> None:
    OFFER.check(request_)


@pytest.mark.parametrize(
    ("request_", "error", "near"),
    [
        pytest.param(Request("", "opnai/tts-1"), UnknownModel, "openai/tts-1", id="provider"),
        pytest.param(Request("", "openai/tts-1", "aloy"), UnknownVoice, "alloy", id="voice"),
        pytest.param(Request("", "espeak/espeak-ng", "germn"), UnknownVoice, "de", id="no tag"),
        pytest.param(
            Request("", "openai/tts-1", "nova", {"sped": 1}), UnknownOption, "speed", id="option"
        ),
        pytest.param(Request("", "own/x", "ann"), UnknownVoice, "anna", id="own voice"),
        pytest.param(
            Request("", "own/x", "anna", {"mod": 1}), UnknownOption, "mood", id="own option"
        ),
    ],
)
def test_what_cannot_be_spoken_is_refused_with_near_matches(
    request_: Request, error: type[InvalidRequest], near: str
) -> None:
    with pytest.raises(error, match=near):
        OFFER.check(request_)


def test_an_item_is_named_by_its_place() -> None:
    item = Item("a", "text", {"voice": "aloy"}, "c.csv:7")
    with pytest.raises(InvalidRequest, match=r"c\.csv:7: unknown voice 'aloy'"):
        OFFER.check_item(item, {"model": "openai/tts-1"})
