"""The keywords of `search_jobs`, and the filter that they make."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from speechfleet.errors import InvalidRequest
from speechfleet.ledger.job_search import JobFilter
from speechfleet.lifecycle import State
from speechfleet.request import Lane


class SearchKeywords(TypedDict, total=False):
    """Fields that jobs may be searched by; all are optional."""

    state: State | str | Sequence[State | str] | None
    model: str
    voice: str
    lane: str
    batch: str
    since: float | datetime | None
    until: float | datetime | None


def filter_of(keywords: SearchKeywords) -> JobFilter:
    """Return the filter that the keywords make. Raises InvalidRequest."""
    lane = keywords.get("lane", "")
    if lane and lane not in list(Lane):
        raise InvalidRequest(f"unknown lane {lane!r}: it is {', '.join(Lane)}")
    return JobFilter(
        named_states(keywords.get("state")),
        keywords.get("model", ""),
        keywords.get("voice", ""),
        lane,
        keywords.get("batch", ""),
        _seconds(keywords.get("since")),
        _seconds(keywords.get("until")),
    )


def named_states(given: State | str | Sequence[State | str] | None) -> tuple[State, ...]:
    """Return the states that were named; all where none was. Raises InvalidRequest."""
    names = (given,) if isinstance(given, str) else tuple(given or State)
    for name in names:
        if name.upper() not in State.__members__:
            raise InvalidRequest(f"unknown state {name!r}: it is {', '.join(State).lower()}")
    return tuple(State(name.upper()) for name in names)


def _seconds(given: float | datetime | None) -> float | None:
    return given.timestamp() if isinstance(given, datetime) else given
