"""The option ``speed``, which has one meaning for every provider.

A provider that has such an option gets it, as far as its range goes; what it does not do is
left to a time-stretch of the audio.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from speechfleet.errors import InvalidRequest
from speechfleet.json_numbers import is_number
from speechfleet.tts import TTSModelBase
from speechfleet_worker.providers.base import ProviderModel

SPEED = "speed"
SLOWEST, FASTEST = 0.25, 4.0


class Speed(NamedTuple):
    """The options that a provider gets, and the factor by which its audio is made faster."""

    options: Mapping[str, Any]
    stretch: float = 1.0


def split_speed(kind: type[TTSModelBase], options: Mapping[str, Any], model_name: str) -> Speed:
    """Share a speed between provider and time-stretch. Raises InvalidRequest."""
    if SPEED not in options:
        return Speed(options)
    speed = options[SPEED]
    if speed is None:
        return Speed({name: value for name, value in options.items() if name != SPEED})
    if not is_number(speed):
        raise InvalidRequest(f"option 'speed': {speed!r} is no number")
    if not SLOWEST <= speed <= FASTEST:
        raise InvalidRequest(
            f"option 'speed': {speed:g} is not between {SLOWEST:g} and {FASTEST:g}"
        )
    slowest, fastest = _range(kind, options, model_name)
    native = min(max(speed, slowest), fastest)
    if native == speed and (slowest, fastest) != (1.0, 1.0):
        return Speed(options)
    given = {name: value for name, value in options.items() if name != SPEED}
    if native != 1.0:
        given[SPEED] = native
    return Speed(given, speed / native)


def _range(
    kind: type[TTSModelBase], options: Mapping[str, Any], model_name: str
) -> tuple[float, float]:
    if issubclass(kind, ProviderModel):
        return kind.speed_range(model_name, options)
    parameters = inspect.signature(kind).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return (SLOWEST, FASTEST) if takes_any or SPEED in parameters else (1.0, 1.0)
