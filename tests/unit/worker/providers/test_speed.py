"""One meaning of ``speed``: shared between the provider and a time-stretch."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from speechfleet.errors import InvalidRequest
from speechfleet.settings import Settings
from speechfleet.tts import Msg, TTSModelBase, TTSResponse
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.speed import split_speed

SETTINGS = Settings.model_construct(providers={}, endpoints={})


class Plain(TTSModelBase):
    """A class of one's own that knows nothing of speed."""

    def __init__(self, model_name: str, stream: bool = True, voice: str = "") -> None:
        super().__init__(model_name, stream)

    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> TTSResponse | AsyncGenerator[TTSResponse, None]:
        raise NotImplementedError


class Fast(Plain):
    """A class of one's own that takes it."""

    def __init__(
        self, model_name: str, stream: bool = True, voice: str = "", speed: float = 1.0
    ) -> None:
        super().__init__(model_name, stream)


@pytest.mark.parametrize(
    ("model", "speed", "native", "stretch"),
    [
        ("openai/tts-1", 1.5, 1.5, 1.0),
        ("openai/tts-1", 4.0, 4.0, 1.0),
        ("espeak/espeak-ng", 2.0, 2.0, 1.0),
        ("espeak/espeak-ng", 0.25, 80 / 175, 0.25 * 175 / 80),
        ("espeak/espeak-ng", 4.0, 450 / 175, 4 * 175 / 450),
        ("dashscope/qwen3-tts-flash-realtime", 3.0, 2.0, 1.5),
        ("dashscope/qwen3-tts-flash", 1.5, None, 1.5),
        ("gemini/gemini-3.8-flash-tts", 0.5, None, 0.5),
        ("gemini/gemini-3.8-flash-tts", 1.0, None, 1.0),
    ],
    ids=["own range", "its end", "of the rate", "below the slowest rate", "above the fastest",
         "beyond the range of a provider", "no option", "no option, slower", "as it is"],
)  # fmt: skip
def test_a_provider_gets_what_it_does_itself(
    model: str, speed: float, native: float | None, stretch: float
) -> None:
    provider, name = registry.split(model)
    kind = registry._find(model, provider, name, SETTINGS).kind(name)
    shared = split_speed(kind, {"speed": speed}, name)
    assert shared.options.get("speed") == native
    assert shared.stretch == pytest.approx(stretch)
    assert (shared.options.get("speed") or 1.0) * shared.stretch == pytest.approx(speed)


def test_a_class_of_ones_own_gets_it_where_it_takes_it() -> None:
    assert split_speed(Plain, {"speed": 1.5}, "m") == ({}, 1.5)
    assert split_speed(Fast, {"speed": 1.5}, "m") == ({"speed": 1.5}, 1.0)


@pytest.mark.parametrize("speed", [0.2, 5, "fast", True], ids=str)
def test_what_is_no_speed_is_refused(speed: object) -> None:
    with pytest.raises(InvalidRequest, match="option 'speed'"):
        split_speed(Plain, {"speed": speed}, "m")
