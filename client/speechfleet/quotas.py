"""Quotas: what the jobs of a namespace may use together, and the error where that is too much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from pydantic import ConfigDict, Field

from speechfleet.errors import QuotaExceeded, SpeechFleetError
from speechfleet.strict_model import StrictModel

EVERY_NAMESPACE = "*"
"""Stands for each namespace that has no quota of its own."""
LimitName = Literal[
    "queued", "streams", "characters_day", "characters_month", "money_day", "store_bytes"
]
WORDS: Mapping[str, str] = {
    "queued": "queued jobs",
    "streams": "live jobs and sessions at once",
    "characters_day": "characters a day",
    "characters_month": "characters a month",
    "money_day": "money a day",
    "store_bytes": "bytes in the store",
}
SOON_S = 5.0
"""Seconds after which room for another job or stream is worth another try."""
_DAY_S = 86400


class Quota(StrictModel):
    """The limits of one namespace; None: no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queued: int | None = Field(None, ge=0, description="jobs that wait in queues")
    streams: int | None = Field(None, ge=0, description="live jobs and sessions at once")
    characters_day: int | None = Field(None, ge=0, description="characters billed a day (UTC)")
    characters_month: int | None = Field(None, ge=0, description="characters billed a month")
    money_day: float | None = Field(None, ge=0, description="estimated cost a day")
    store_bytes: int | None = Field(None, ge=0, description="bytes of all it has in the store")

    def limits(self) -> dict[str, float]:
        """Return the limits that are set, by name."""
        return self.model_dump(exclude_none=True)


@dataclass(frozen=True)
class QuotaStatus:
    """A namespace's limits, and how much of them is taken.

    ``used`` counts what has been billed, ``reserved`` what jobs under way may still cost; both
    have a value for each limit's name. ``time``: the server's, Unix seconds; ``by_default``: the
    limits are those of every namespace without its own; ``refused``: how often each limit refused.
    """

    namespace: str
    quota: Quota
    used: Mapping[str, float]
    reserved: Mapping[str, float]
    time: float
    by_default: bool = False
    refused: Mapping[str, int] = field(default_factory=dict)

    def taken(self, limit: str) -> float:
        """Return what is used and reserved of a limit."""
        return self.used[limit] + self.reserved[limit]

    def rows(self) -> list[dict[str, float | str | None]]:
        """Describe each limit that is set: its value, what is taken, and when it begins anew."""
        rows: list[dict[str, float | str | None]] = []
        for name, value in self.quota.limits().items():
            end = resets_at(name, self.time)
            rows.append({
                "limit": name,
                "value": value,
                "used": self.used[name],
                "reserved": self.reserved[name],
                "refused": self.refused.get(name, 0),
                "resets": None if end is None else end.isoformat(),
            })  # fmt: skip
        return rows


class NamespaceQuotaExceeded(SpeechFleetError):
    """The namespace has used up a limit that its operator set; the message tells until when.

    ``limit``: its name; ``retry_after``: seconds until there may be room, None where only a
    larger quota or a deletion makes it.
    """

    code = QuotaExceeded.code  # the provider's, too: no call follows until somebody allows more
    retryable = True
    limit: str = ""
    retry_after: float | None = None

    @classmethod
    def of(
        cls, namespace: str, limit: str, value: float, taken: float, asked: float, time: float
    ) -> NamespaceQuotaExceeded:
        """Make the error of a refusal at a time of the server, in Unix seconds."""
        end = resets_at(limit, time)
        if asked > value:
            when = "it needs a larger quota"
        elif end is not None:
            when = f"it begins anew at {end:%Y-%m-%d %H:%M} UTC"
        elif limit == "store_bytes":
            when = "delete jobs to make room"
        else:
            when = "there is room once one of them ends"
        error = cls(
            f"namespace {namespace!r} has a quota of {value:,.12g} {WORDS.get(limit, limit)}, of "
            f"which {taken:,.12g} are taken, and this job asks for {asked:,.12g}; {when}",
            retryable=asked <= value and limit != "store_bytes",
        )
        error.limit = limit
        if error.retryable:
            error.retry_after = SOON_S if end is None else max(1.0, end.timestamp() - time)
        return error


def resets_at(limit: str, time: float) -> datetime | None:
    """Return when the sum of a limit begins anew; None where it does not."""
    today = datetime.fromtimestamp(time, UTC).date()
    if limit.endswith("_day"):
        return _midnight(today + timedelta(days=1))
    if limit.endswith("_month"):
        return _midnight((today.replace(day=1) + timedelta(days=32)).replace(day=1))
    return None


def day_number(time: float) -> int:
    """Number the day of a time, as `quotas.lua` does."""
    return int(time // _DAY_S)


def month_number(time: float) -> int:
    """Number the month of a time, as `quotas.lua` does, which begins years in March."""
    day = datetime.fromtimestamp(time, UTC)
    return day.year * 12 + day.month - 3


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
