"""What speech costs: the price table of the settings, and limits that are kept to before."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from speechfleet.errors import MisconfiguredError
from speechfleet.jobs import Request
from speechfleet.settings import Price

CHARACTERS_A_MINUTE = 900
"""Of usual speech, for prices by the minute of audio; an estimate, as is a token's length."""
CHARACTERS_A_TOKEN = 4
BOUND_A_BYTE = 0.7
"""Billed characters that a byte of UTF-8 stands for at most: where a letter of three bytes counts
as two (DashScope's Han) or a text is weighed by its tokens (OpenAI)."""


def _listed(per_million: float, unit: str, source: str) -> Price:
    return Price.model_validate(
        {"per_million": per_million, "unit": unit, "date": "2026-11-23", "source": source}
    )


_OPENAI, _GEMINI = "developers.openai.com/api/docs/models", "ai.google.dev/gemini-api/docs/pricing"
_DASHSCOPE = "www.alibabacloud.com/help/en/model-studio/qwen-tts, international"
LISTED = {
    "espeak": Price(per_million=0.0, source="espeak-ng runs on the worker itself"),
    "openai/tts-1": _listed(15.0, "characters", _OPENAI),
    "openai/tts-1-hd": _listed(30.0, "characters", _OPENAI),
    # By tokens of text ($0.60 a million) and of audio ($12.00): some 1,250 tokens a minute.
    "openai/gpt-4o-mini-tts": _listed(15_000.0, "minutes", _OPENAI),
    # By tokens of text ($0.50 a million) and of audio ($9.00 and $6.00 until 2026-12-31, twice
    # that later), 25 a second.
    "gemini/gemini-3.8-flash-tts": _listed(13_700.0, "minutes", _GEMINI),
    "gemini/gemini-3.8-flash-lite-tts": _listed(9_200.0, "minutes", _GEMINI),
    "gemini/gemini-3.1-flash-tts-preview": _listed(30_300.0, "minutes", _GEMINI),
    "dashscope/qwen3-tts-flash": _listed(10.0, "characters", _DASHSCOPE),
}
"""List prices in US dollars; a price of the settings goes first. Models that are billed by tokens
of audio stand here by the minute, the one estimate that fits any language."""


class Prices:
    """Prices by model, or by provider for each of its models."""

    def __init__(self, table: Mapping[str, Price]) -> None:
        self._table = table

    def of(self, model: str) -> Price | None:
        """Of the settings, for the model or else for its provider; or as `LISTED`."""
        provider = model.partition("/")[0]
        tables = (self._table, LISTED)
        found = (table.get(name) for table in tables for name in (model, provider))
        return next((price for price in found if price is not None), None)

    def cost(self, model: str, characters: float, text_bytes: float | None = None) -> float | None:
        """The estimated price of so many code points; None where none is known."""
        price = self.of(model)
        if price is None:
            return None
        units = {
            "characters": characters,
            "bytes": characters if text_bytes is None else text_bytes,
            "tokens": characters / CHARACTERS_A_TOKEN,
            "minutes": characters / CHARACTERS_A_MINUTE,
        }[price.unit]
        return units * price.per_million / 1e6

    def require(self, model: str) -> None:
        """Raises MisconfiguredError where a limit of money cannot be kept to."""
        if self.of(model) is None:
            raise MisconfiguredError(
                f"no price is known for {model}: set one in SPEECHFLEET_PRICES, e.g. "
                f'{{"{model}": {{"per_million": 15, "unit": "characters"}}}}'
            )


@dataclass(frozen=True)
class Spending:
    """Characters that providers bill, and their estimated price."""

    characters: float = 0.0
    money: float = 0.0

    def __add__(self, other: Spending) -> Spending:
        return Spending(self.characters + other.characters, self.money + other.money)

    def __sub__(self, other: Spending) -> Spending:
        return Spending(self.characters - other.characters, self.money - other.money)


class Purse:
    """What a batch may spend. What is under way counts as if all of it were billed.

    ``before``: what earlier runs of the batch spent, which the limits hold for too; ``spent``:
    what this one did.
    """

    def __init__(
        self,
        prices: Prices,
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

    def price(self, request: Request) -> Spending:
        """The most that a request can cost. Raises MisconfiguredError where money is limited
        and no price is known."""
        if self._max_cost is not None:
            self._prices.require(request.model)
        return most_of(self._prices, request.model, request.text)

    def allows(self, more: Spending) -> bool:
        would = self._before + self.spent + self.reserved + more
        return (self._max_chars is None or would.characters <= self._max_chars) and (
            self._max_cost is None or would.money <= self._max_cost + 1e-9
        )

    def settle(self, most: Spending, billed: float, cached: float = 0.0) -> None:
        """What was reserved has been billed in part, or not at all; the rest was ``cached``."""
        self.reserved -= most
        self.spent += part_of(most, billed, cached)

    def spend(self, entry: Mapping[str, Any]) -> None:
        """What a manifest's entry tells, of an item for which nothing was reserved."""
        self.spent += spent_before(self._prices, [entry])


def most_of(prices: Prices, model: str, text: str) -> Spending:
    """The most that a text can cost, in whatever unit its provider counts."""
    size = len(text.encode("utf-8", "replace"))
    characters = max(len(text), math.ceil(BOUND_A_BYTE * size))
    return Spending(characters, prices.cost(model, characters, size) or 0.0)


def part_of(most: Spending, billed: float, cached: float) -> Spending:
    """What was spent where so many units of a text were billed, and the others cached."""
    share = billed / (billed + cached) if billed else 0.0
    return Spending(billed, most.money * share)


def spent_before(prices: Prices, entries: Iterable[Mapping[str, Any]]) -> Spending:
    """What a manifest's entries tell."""
    total = Spending()
    for entry in entries:
        if entry.get("billed"):
            most = most_of(prices, entry["model"], entry["text"])
            total += part_of(most, entry["billed"], entry.get("cached", 0))
    return total
