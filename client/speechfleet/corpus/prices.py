"""What speech costs: the price table of the settings, and limits that are kept to before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from speechfleet.errors import MisconfiguredError
from speechfleet.jobs import Request
from speechfleet.settings import Price

CHARACTERS_A_MINUTE = 900
"""Of usual speech, for prices by the minute of audio; an estimate, as is a token's length."""
CHARACTERS_A_TOKEN = 4
FREE = Price(per_million=0.0, unit="characters", source="espeak-ng runs on the worker itself")


class Prices:
    """Prices by model, or by provider for each of its models."""

    def __init__(self, table: Mapping[str, Price]) -> None:
        self._table = {"espeak": FREE, **table}

    def of(self, model: str) -> Price | None:
        return self._table.get(model) or self._table.get(model.partition("/")[0])

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
    """What a run may spend. What is under way counts as if all of it were billed."""

    def __init__(
        self, prices: Prices, max_chars: float | None = None, max_cost: float | None = None
    ) -> None:
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
        size = len(request.text)
        cost = self._prices.cost(request.model, size, len(request.text.encode()))
        return Spending(size, cost or 0.0)

    def allows(self, more: Spending) -> bool:
        would = self.spent + self.reserved + more
        return (self._max_chars is None or would.characters <= self._max_chars) and (
            self._max_cost is None or would.money <= self._max_cost + 1e-9
        )

    def settle(self, most: Spending, billed: float) -> None:
        """What was reserved has been billed in part, or not at all."""
        self.reserved -= most
        share = billed / most.characters if most.characters else 0.0
        self.spent += Spending(billed, most.money * share)
