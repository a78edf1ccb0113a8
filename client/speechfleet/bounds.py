"""Bounds of what a request may hold beside its text, so that no record grows without limit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from speechfleet.errors import InvalidRequest

NAME_CHARACTERS = 256
"""The longest model, voice, speaker's name and option name."""
OPTION_CHARACTERS = 10_000
"""The longest text in an option: instructions have a page, no book."""
OPTION_VALUES = 1000
"""The largest number of values in all options together."""
OPTION_DEPTH = 8
LARGEST_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""


def check_name(what: str, name: str) -> None:
    """Raise InvalidRequest where a name is too long."""
    if len(name) > NAME_CHARACTERS:
        raise InvalidRequest(
            f"the {what} has {len(name):,} characters, at most {NAME_CHARACTERS} are taken: "
            f"{name[:40]!r}..."
        )


def check_options(options: Mapping[str, Any]) -> None:
    """Raise InvalidRequest where an option is too long, too deep, or an unusable number."""
    values = 0
    waiting: list[tuple[str, Any, int]] = [("", options, 0)]
    while waiting:
        where, value, depth = waiting.pop()
        values += 1
        if values > OPTION_VALUES:
            raise InvalidRequest(f"the options hold more than {OPTION_VALUES:,} values")
        if depth > OPTION_DEPTH:
            raise InvalidRequest(f"option {where!r} is nested more than {OPTION_DEPTH} deep")
        if isinstance(value, Mapping):
            for name, inner in value.items():
                check_name("name of an option", str(name))
                waiting.append((where or str(name), inner, depth + 1))
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            waiting += [(where, inner, depth + 1) for inner in value[: OPTION_VALUES + 1]]
        else:
            _check_value(where, value)


def _check_value(name: str, value: Any) -> None:
    if isinstance(value, str) and len(value) > OPTION_CHARACTERS:
        raise InvalidRequest(
            f"option {name!r} has {len(value):,} characters, at most {OPTION_CHARACTERS:,} "
            "are taken"
        )
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise InvalidRequest(f"option {name!r} is a number beyond {LARGEST_INTEGER:,}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidRequest(f"option {name!r} is no finite number")
