"""The keywords of a submit: what is taken, and what is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from speechfleet import Lane, Msg, Settings
from speechfleet.errors import EmptyText, IllegalId, InvalidRequest, UnknownModel, UnknownOption
from speechfleet.keywords import ProviderKeywords, request_of
from speechfleet.provider_options import BUILT_IN_PROVIDERS, OPTIONS
from speechfleet.settings import DEFAULT_MODEL
from speechfleet_worker.providers.built_in import BUILT_IN


def made(msg: Any = "Hello.", **keywords: Any) -> Any:
    id = keywords.pop("id", None)
    return request_of(msg, keywords, Settings.load(), id=id)


def test_the_client_knows_the_providers_of_the_worker() -> None:
    assert set(BUILT_IN_PROVIDERS) == set(BUILT_IN)


def test_every_option_is_a_keyword() -> None:
    assert set(ProviderKeywords.__annotations__) == set().union(*OPTIONS.values())


def test_a_text_needs_no_keyword_at_all() -> None:
    id, request = made()
    assert request.model == DEFAULT_MODEL == "local/auto"
    assert len(id) == 32


def test_a_text_takes_an_id() -> None:
    assert made(id="greeting")[0] == "greeting"


def test_a_message_keeps_its_own_id() -> None:
    msg = Msg("", "Hello.", id="greeting")
    assert made(msg)[0] == made(msg, id="greeting")[0] == "greeting"
    with pytest.raises(InvalidRequest, match="has the id 'greeting' already"):
        made(msg, id="other")


def test_options_stand_beside_the_keywords_or_in_a_mapping() -> None:
    plain = made(speed=1.5)[1]
    assert plain.options == made(options={"speed": 1.5})[1].options == {"speed": 1.5}
    with pytest.raises(InvalidRequest, match="'speed' is given twice"):
        made(speed=1.5, options={"speed": 1.5})


@pytest.mark.parametrize(
    ("keywords", "near"),
    [
        ({"modle": "x"}, "model"),
        ({"formt": "mp3"}, "format"),
        ({"voise": "en"}, "voice"),
        ({"sped": 3}, "speed"),
        ({"model": "espeak/espeak-ng", "options": {"pich": 3}}, "pitch"),
        ({"model": "mine/x", "formt": "mp3"}, "format"),
        ({"model": "mine/x", "modle": "x"}, "model"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else value,
)
def test_a_name_that_nobody_knows_is_refused_with_near_ones(
    keywords: dict[str, Any], near: str
) -> None:
    with pytest.raises(UnknownOption, match=f"did you mean .*{near}"):
        made(**keywords)


def test_an_option_of_another_provider_is_refused() -> None:
    with pytest.raises(UnknownOption, match="of a request to local/auto"):
        made(instructions="Slowly.")


def test_the_options_of_ones_own_provider_pass() -> None:
    assert made(model="mine/x", pace=1)[1].options == {"pace": 1}
    assert made(model="mine/x", options={"formt": 1})[1].options == {"formt": 1}


def test_an_endpoint_takes_the_options_of_its_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = '{"kokoro": {"adapter": "openai", "base_url": "http://127.0.0.1:9/v1"}}'
    monkeypatch.setenv("SPEECHFLEET_ENDPOINTS", endpoint)
    assert made(model="kokoro/kokoro", speed=1.2)[1].options == {"speed": 1.2}
    with pytest.raises(UnknownOption):
        made(model="kokoro/kokoro", gap=3)


@pytest.mark.parametrize(
    ("keywords", "why"),
    [
        ({"model": 3}, "model=3: it must be of type str"),
        ({"voice": 3}, "voice=3"),
        ({"lane": "fast"}, "'live', 'batch'"),
        ({"lane": Lane.SESSION}, r"session\(\)"),
        ({"segments": "word"}, "'sentence', 'paragraph'"),
        ({"wire": "json"}, "'delta', 'accumulated'"),
        ({"cache": "no"}, "of type bool"),
        ({"options": ["rate"]}, "of type Mapping"),
    ],
    ids=["model", "voice", "lane", "session", "segments", "wire", "cache", "options"],
)
def test_a_value_of_a_wrong_kind_is_refused(keywords: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        made(**keywords)


@pytest.mark.parametrize(
    "msg", [None, {"text": "Hello."}, b"Hello."], ids=["none", "dict", "bytes"]
)
def test_a_message_is_a_msg_or_a_str(msg: object) -> None:
    with pytest.raises(InvalidRequest, match="a Msg or a str"):
        made(msg)


def test_the_request_itself_is_checked() -> None:
    with pytest.raises(EmptyText):
        made(" ")
    with pytest.raises(IllegalId):
        made(id="a\nb")
    with pytest.raises(UnknownModel):
        made(model="nothing")
