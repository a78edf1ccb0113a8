"""Counts the units that the built-in providers bill for a text.

Workers report billed units by this table, and clients estimate them by it before anything is
sent, so the two agree to the character.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from speechfleet.provider_options import adapter_of
from speechfleet.settings import Settings

_HAN = re.compile(
    r"[\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Radicals, the marks 々〆〇, the ideographs and their extensions."""
_HAN_MARGIN = 0.1
"""A share by which a provider may count more Han than we know of."""
TOKEN_BYTES = 3
_MOST_TOKENS_PER_BYTE = 0.5
"""Upper bound of tokens per byte; high because the count of each short segment is rounded up."""


@dataclass(frozen=True)
class Billing:
    """The unit that a provider bills in. ``count``: of a text; ``most``: a bound of it."""

    unit: Literal["characters", "tokens"]
    count: Callable[[str], int]
    most: Callable[[str], float]


def han_twice(text: str) -> int:
    """Count characters as DashScope does, which bills a Han character as two.

    https://www.alibabacloud.com/help/en/model-studio/qwen-tts
    """
    return len(text) + len(_HAN.findall(text))


def tokens(text: str) -> int:
    """Guess the tokens of a text without a tokenizer: three bytes a token, an upper guess."""
    return -(-len(text.encode("utf-8", "replace")) // TOKEN_BYTES)


def _most_han(text: str) -> float:
    return len(text) + (1 + _HAN_MARGIN) * len(_HAN.findall(text))


def _most_tokens(text: str) -> float:
    return max(1, len(text.encode("utf-8", "replace"))) * _MOST_TOKENS_PER_BYTE


BILLING: Mapping[str, Billing] = {
    "espeak": Billing("characters", len, len),
    "hibari": Billing("characters", len, len),
    "local": Billing("characters", len, len),
    "openai": Billing("characters", len, len),
    "elevenlabs": Billing("characters", len, len),
    "polly": Billing("characters", len, len),
    "openai-realtime": Billing("tokens", tokens, _most_tokens),
    "dashscope": Billing("characters", han_twice, _most_han),
    "dashscope-realtime": Billing("characters", han_twice, _most_han),
    "dashscope-task": Billing("characters", han_twice, _most_han),
    "gemini": Billing("tokens", tokens, _most_tokens),
}
"""By adapter."""


def billing_of(model: str, settings: Settings | None = None) -> Billing | None:
    """Return how a model is billed; None for a provider of one's own."""
    adapter = adapter_of(model, settings)
    return None if adapter is None else BILLING.get(adapter)
