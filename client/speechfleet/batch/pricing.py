"""Prices of speech: price lists, estimates, and spending limits."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from speechfleet.errors import MisconfiguredError
from speechfleet.provider_billing import TOKEN_BYTES, billing_of
from speechfleet.request import Request
from speechfleet.settings import Price, Settings

CHARACTERS_PER_MINUTE = 900
"""Usual speed of speech in an alphabet, blanks included, for prices by the minute of audio."""
_LETTERS_PER_MINUTE = 750
"""Usual speed of speech in an alphabet, blanks not counted."""
BYTES_PER_TOKEN = 4
"""Usual bytes of UTF-8 text per token, for prices by the token."""
MOST_CHARACTERS_PER_BYTE = 0.7
"""A bound of the units that an unknown provider bills for a byte of UTF-8.

A letter of three bytes may count as two.
"""
_DENSE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff]")
_DENSE_WEIGHT = 3.4
"""Letters of an alphabet that take as long to speak as one character of Han or Hangul."""
_KANA = re.compile(r"[\u3041-\u30ff]")
_KANA_WEIGHT = 2.0


def _listed(per_million: float, unit: str, source: str) -> Price:
    return Price.model_validate(
        {"per_million": per_million, "unit": unit, "date": "2026-11-23", "source": source}
    )


_OPENAI, _GEMINI = "developers.openai.com/api/docs/models", "ai.google.dev/gemini-api/docs/pricing"
_DASHSCOPE = "www.alibabacloud.com/help/en/model-studio/qwen-tts, international"
_POLLY = "aws.amazon.com/polly/pricing"
LISTED = {
    "espeak": Price(per_million=0.0, source="espeak-ng runs on the worker itself"),
    "hibari": Price(per_million=0.0, source="hibari runs on the worker itself"),
    "local": Price(per_million=0.0, source="hibari and espeak-ng run on the worker itself"),
    "openai/tts-1": _listed(15.0, "characters", _OPENAI),
    "openai/tts-1-hd": _listed(30.0, "characters", _OPENAI),
    # By tokens of text ($0.60 a million) and of audio ($12.00): some 1,250 tokens a minute.
    "openai/gpt-4o-mini-tts": _listed(15_000.0, "minutes", _OPENAI),
    # By tokens of text ($0.60 a million) and of audio ($20.00), 20 a second.
    "openai/gpt-realtime-2.1-mini": _listed(24_300.0, "minutes", _OPENAI),
    # By tokens of text ($0.50 a million) and of audio ($9.00 and $6.00 until 2026-12-31, twice
    # that later), 25 a second.
    "gemini/gemini-3.8-flash-tts": _listed(13_700.0, "minutes", _GEMINI),
    "gemini/gemini-3.8-flash-lite-tts": _listed(9_200.0, "minutes", _GEMINI),
    "gemini/gemini-3.1-flash-tts-preview": _listed(30_300.0, "minutes", _GEMINI),
    # As surveys of 2026 have them; ElevenLabs bills credits, which cost less on larger plans.
    "elevenlabs/eleven_flash_v2_5": _listed(50.0, "characters", "elevenlabs.io/pricing/api"),
    "elevenlabs/eleven_multilingual_v2": _listed(100.0, "characters", "elevenlabs.io/pricing/api"),
    "polly/standard": _listed(4.0, "characters", _POLLY),
    "polly/neural": _listed(16.0, "characters", _POLLY),
    "polly/generative": _listed(30.0, "characters", _POLLY),
    "polly/long-form": _listed(100.0, "characters", _POLLY),
    "dashscope/cosyvoice-v2": _listed(28.67, "characters", _DASHSCOPE),
    "dashscope/cosyvoice-v3-flash": _listed(14.34, "characters", _DASHSCOPE),
    "dashscope/cosyvoice-v3-plus": _listed(28.67, "characters", _DASHSCOPE),
    "dashscope/qwen3-tts-flash": _listed(10.0, "characters", _DASHSCOPE),
}
"""List prices in US dollars; a price of the settings goes first. Models that are billed by tokens
of audio stand here by the minute, the one estimate that fits any language."""


def speech_minutes(text: str) -> float:
    """Estimate how long a text takes to speak, by its scripts."""
    dense, kana = len(_DENSE.findall(text)), len(_KANA.findall(text))
    letters = sum(map(len, text.split())) + (_DENSE_WEIGHT - 1) * dense + (_KANA_WEIGHT - 1) * kana
    return letters / _LETTERS_PER_MINUTE


class PriceList:
    """Prices by model, or by provider for each of its models."""

    def __init__(self, table: Mapping[str, Price]) -> None:
        self._table = table
        self._found: dict[str, Price | None] = {}

    def of(self, model: str) -> Price | None:
        """Return the price of the settings, for the model or its provider; or as `LISTED`."""
        if model not in self._found:
            self._found[model] = self._look_up(model)
        return self._found[model]

    def _look_up(self, model: str) -> Price | None:
        provider = model.partition("/")[0]
        tables = (self._table, LISTED)
        found = (table.get(name) for table in tables for name in (model, provider))
        return next((price for price in found if price is not None), None)

    def cost(
        self,
        model: str,
        characters: float,
        text_bytes: float | None = None,
        minutes: float | None = None,
    ) -> float | None:
        """Estimate the price of so many code points; None where no price is known."""
        price = self.of(model)
        if price is None:
            return None
        size = characters if text_bytes is None else text_bytes
        units = {
            "characters": characters,
            "bytes": size,
            "tokens": size / BYTES_PER_TOKEN,
            "minutes": characters / CHARACTERS_PER_MINUTE if minutes is None else minutes,
        }[price.unit]
        return units * price.per_million / 1e6

    def cost_of_text(self, model: str, text: str) -> float | None:
        """Estimate the price of a text; None where no price is known."""
        price = self.of(model)
        if price is not None and not price.per_million:
            return 0.0  # a voice of one's own: a corpus of it need not be measured
        size = len(text.encode("utf-8", "replace"))
        return self.cost(model, len(text), size, speech_minutes(text))

    def cost_of_unit(self, model: str, settings: Settings | None = None) -> float:
        """Estimate the price of one unit as the provider bills it; 0 where no price is known."""
        price, billing = self.of(model), billing_of(model, settings)
        if price is None:
            return 0.0
        if billing is not None and billing.unit == price.unit:
            return price.per_million / 1e6
        is_token = billing is not None and billing.unit == "tokens"
        return self.cost(model, TOKEN_BYTES if is_token else 1) or 0.0

    def require(self, model: str) -> None:
        """Raise MisconfiguredError where a limit of money cannot be kept to."""
        if self.of(model) is None:
            raise MisconfiguredError(
                f"no price is known for {model}: set one in SPEECHFLEET_PRICES, e.g. "
                f'{{"{model}": {{"per_million": 15, "unit": "characters"}}}}'
            )


def unit_prices(settings: Settings) -> dict[str, int]:
    """List the price of a billed unit by model or provider, in 1e-9, for quotas."""
    prices = PriceList(settings.prices)
    known = [name for name in LISTED if name.partition("/")[0] not in settings.prices]
    return {
        name: round(prices.cost_of_unit(name, settings) * 1e9)
        for name in (*known, *settings.prices)
    }


@dataclass(frozen=True)
class Spending:
    """Units that providers bill, mostly characters, and their estimated price."""

    characters: float = 0.0
    money: float = 0.0

    def __add__(self, other: Spending) -> Spending:
        return Spending(self.characters + other.characters, self.money + other.money)

    def __sub__(self, other: Spending) -> Spending:
        return Spending(self.characters - other.characters, self.money - other.money)


@dataclass(frozen=True)
class Reservation(Spending):
    """The highest cost of a text."""

    price_per_unit: float | None = None
    """Price of one billed unit; None if the price is per another unit than the provider bills."""
    text_price: float = 0.0
    """Price of the whole text, used if there is no price per billed unit."""

    def spent(self, billed: float, cached: float) -> Spending:
        """Return what was spent where so many units were billed, and the others cached."""
        if self.price_per_unit is not None:
            return Spending(billed, billed * self.price_per_unit)
        share = billed / (billed + cached) if billed else 0.0
        return Spending(billed, self.text_price * share)


class SpendingLimit:
    """A limit of what a batch may spend. Items in flight count as if all of them were billed.

    ``before``: spent by earlier runs of the batch, which the limits include; ``spent``: by this
    run.
    """

    def __init__(
        self,
        prices: PriceList,
        max_chars: float | None = None,
        max_cost: float | None = None,
        before: Spending = Spending(),
    ) -> None:
        self._before = before
        self._prices = prices
        self._max_chars = max_chars
        self._max_cost = max_cost
        self.spent = Spending()
        self.reserved = Spending()

    def price(self, request: Request) -> Reservation:
        """Return the most that a request can cost, also where its dearest fallback voice speaks.

        Raises MisconfiguredError where money is limited and no price is known.
        """
        most = self._price_of(request.model, request.text)
        for voice in request.form.fallback or ():
            other = self._price_of(voice.model, request.text)
            if other.money > most.money:
                most = other
        return most

    def _price_of(self, model: str, text: str) -> Reservation:
        if self._max_cost is not None:
            self._prices.require(model)
        return most_of(self._prices, model, text)

    def allows(self, more: Spending) -> bool:
        """Tell if so much more may be spent."""
        if self._max_chars is None and self._max_cost is None:
            return True
        would = self._before + self.spent + self.reserved + more
        return (self._max_chars is None or would.characters <= self._max_chars) and (
            self._max_cost is None or would.money <= self._max_cost + 1e-9
        )

    def settle(
        self,
        most: Reservation,
        billed: float,
        cached: float = 0.0,
        spoken: tuple[Sequence[str], str] | None = None,
    ) -> None:
        """Replace what was reserved by what was billed; the rest was ``cached``, or not asked.

        ``spoken``: the models that spoke, and the text, where that could be a fallback voice.
        """
        self.reserved -= most
        if spoken is None:
            self.spent += most.spent(billed, cached)
        else:
            self.spent += spent_by(self._prices, *spoken, billed, cached)

    def spend(self, entry: Mapping[str, Any]) -> None:
        """Add what a manifest's entry tells, of an item for which nothing was reserved."""
        self.spent += spent_before(self._prices, [entry])


def most_of(
    prices: PriceList, model: str, text: str, settings: Settings | None = None
) -> Reservation:
    """Return the most that a text can cost, in the unit that its provider bills."""
    price, billing = prices.of(model), billing_of(model, settings)
    text_price = prices.cost_of_text(model, text) or 0.0
    if billing is None:
        size = len(text.encode("utf-8", "replace"))
        units: float = max(len(text), math.ceil(MOST_CHARACTERS_PER_BYTE * size))
        most = prices.cost(model, units, size, speech_minutes(text)) or 0.0
        by_unit = price is not None and price.unit == "characters"
    else:
        units = billing.most(text)
        by_unit = price is not None and price.unit == billing.unit
        most = units * price.per_million / 1e6 if price is not None and by_unit else text_price
    price_per_unit = price.per_million / 1e6 if price is not None and by_unit else None
    return Reservation(units, most, price_per_unit, text_price)


def spent_by(
    prices: PriceList, models: Sequence[str], text: str, billed: float, cached: float
) -> Spending:
    """Return what was spent on a text that these models spoke, at the price of the dearest."""
    spent = (most_of(prices, model, text).spent(billed, cached) for model in models)
    return max(spent, key=lambda each: each.money)


def spent_before(prices: PriceList, entries: Iterable[Mapping[str, Any]]) -> Spending:
    """Sum what a manifest's entries tell."""
    total = Spending()
    for entry in entries:
        if entry.get("billed"):
            models = entry.get("spoken_by") if entry.get("fallbacks") else None
            total += spent_by(
                prices, models or [entry["model"]], entry["text"], entry["billed"],
                entry.get("cached", 0),
            )  # fmt: skip
    return total
