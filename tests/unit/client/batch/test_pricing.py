"""Prices: what the dry run tells, and what a run counts, agree to the character and the cent."""

import json
from dataclasses import replace

import pytest

from speechfleet.batch.manifest import entry_of
from speechfleet.batch.pricing import (
    PriceList,
    SpendingLimit,
    most_of,
    speech_minutes,
    spent_before,
)
from speechfleet.cli.batch.plan import ModelPlan, _price
from speechfleet.errors import MisconfiguredError
from speechfleet.fallback import FallbackVoice, Turn, encode_turns, read_fallback
from speechfleet.ledger import Result
from speechfleet.provider_billing import BILLING, billing_of
from speechfleet.request import Request
from speechfleet.settings import Price, Settings
from speechfleet.spoken_form import SpokenForm
from speechfleet_worker.measure import measure_corpus

TEXTS = {
    "latin": "The ferry left the harbour at noon. Nobody was on board.",
    "cyrillic": "Паром ушёл из гавани в полдень. На борту никого не было.",
    "devanagari": "नाव दोपहर को बंदरगाह से निकल गई। उस पर कोई नहीं था।",
    "han": "船长把船开出了小小的港口然后坐下来。没有人在船上。",
    "kana": "ふねはみなとをでた。だれもいなかった。",
}
MODELS = {
    "openai/tts-1": "alloy",
    "openai/gpt-4o-mini-tts": "alloy",
    "dashscope/qwen3-tts-flash": "Cherry",
    "gemini/gemini-3.8-flash-tts": "Kore",
    "espeak/espeak-ng": "",
}


async def planned(text: str, model: str, prices: PriceList) -> ModelPlan:
    line = json.dumps({"text": text, "model": model, "voice": MODELS[model]})
    answer = await measure_corpus([line], Settings())
    assert answer["problems"] == []
    return _price(ModelPlan(**answer["models"][0]), prices)


def billed(text: str, model: str) -> int:
    billing = billing_of(model)
    assert billing is not None
    return billing.count(text)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("script", TEXTS)
async def test_the_dry_run_and_the_run_agree(script: str, model: str) -> None:
    text, prices = TEXTS[script], PriceList({})
    plan = await planned(text, model, prices)
    limit = SpendingLimit(prices)
    most = limit.price(Request(text, model))
    limit.reserved += most
    limit.settle(most, plan.distinct_units)
    assert plan.cost is not None
    assert limit.spent.money == pytest.approx(plan.cost, rel=0.01, abs=1e-9)
    assert limit.spent.characters == plan.distinct_units <= most.characters
    assert most.money >= plan.cost - 1e-9


@pytest.mark.parametrize("script", TEXTS)
async def test_a_price_by_the_character_is_of_code_points(script: str) -> None:
    plan = await planned(TEXTS[script], "openai/tts-1", PriceList({}))
    assert plan.cost == pytest.approx(plan.distinct_characters * 15 / 1e6)
    assert plan.distinct_units == plan.distinct_characters


async def test_a_price_by_the_byte_is_of_utf_8() -> None:
    prices = PriceList({"openai": Price(per_million=1e6, unit="bytes")})
    plan = await planned(TEXTS["han"], "openai/tts-1", prices)
    assert plan.cost == plan.distinct_bytes == len(TEXTS["han"].encode())
    most = most_of(prices, "openai/tts-1", TEXTS["han"])
    assert most.spent(plan.distinct_units, 0).money == plan.cost


def test_dashscope_bills_han_twice_and_others_once() -> None:
    assert billed("ab你好", "dashscope/x") == 6
    assert billed("ab你好", "openai/x") == billed("ab你好", "espeak/x") == 4


def test_part_of_a_text_that_was_cached_is_not_paid() -> None:
    prices = PriceList({"m": Price(per_million=1e6), "n": Price(per_million=1e6, unit="bytes")})
    assert most_of(prices, "m/m", "x" * 10).spent(4, 6).money == 4
    assert most_of(prices, "n/n", "x" * 10).spent(4, 6).money == 4
    assert most_of(prices, "n/n", "x" * 10).spent(0, 10).money == 0


def test_an_endpoint_bills_as_its_adapter_and_a_class_of_ones_own_is_unknown() -> None:
    settings = Settings.model_validate(
        {
            "endpoints": {"mine": {"adapter": "dashscope", "base_url": "http://x"}},
            "providers": {"own": "package.module:Class"},
        }
    )
    assert billing_of("mine/x", settings) is BILLING["dashscope"]
    assert billing_of("own/x", settings) is None


def test_dense_scripts_take_longer_to_speak_than_their_characters_tell() -> None:
    latin, han = speech_minutes("a" * 900), speech_minutes("船" * 900)
    assert 1.0 <= latin <= 1.3
    assert 3.0 <= han <= 4.5


def test_a_limit_of_money_reserves_the_dearest_voice_and_counts_those_that_spoke() -> None:
    prices = PriceList({"cheap": Price(per_million=1e6), "dear": Price(per_million=5e6)})
    form = SpokenForm(fallback=read_fallback("dear/m"))
    request = Request("x" * 10, "cheap/m", form=form)
    for speakers, spent in ((["cheap/m"], 10), (["cheap/m", "dear/m"], 50)):
        limit = SpendingLimit(prices, max_cost=60)
        most = limit.price(request)
        assert most.money >= 50
        limit.reserved += most
        limit.settle(most, 10, 0, (speakers, request.text))
        assert limit.spent.money == spent
        assert limit.reserved.money == 0
    entry = {"model": "cheap/m", "text": request.text, "billed": 10}
    assert spent_before(prices, [entry]).money == 10
    entry |= {"spoken_by": ["cheap/m", "dear/m"], "fallbacks": [{"segment": 1}]}
    assert spent_before(prices, [entry]).money == 50
    with pytest.raises(MisconfiguredError, match="unknown/m"):
        SpendingLimit(prices, max_cost=1).price(
            replace(request, form=SpokenForm(fallback=read_fallback("unknown/m")))
        )


def test_a_manifest_names_who_spoke() -> None:
    turn = Turn(2, FallbackVoice("dear/m"), "nova", "quota_exceeded")
    raw = {
        "name": "default/b%2Fa", "epoch": "1", "state": "SUCCEEDED", "model": "cheap/m",
        "spoken_by": "cheap/m\ndear/m", "turns": encode_turns([turn]),
    }  # fmt: skip
    result = Result.decode("b", b"1-0", {k.encode(): v.encode() for k, v in raw.items()})
    entry = entry_of(result, Request("Hi.", "cheap/m"), {})
    assert entry["spoken_by"] == ["cheap/m", "dear/m"]
    assert entry["fallbacks"] == [
        {"segment": 2, "model": "dear/m", "voice": "nova", "code": "quota_exceeded"}
    ]
