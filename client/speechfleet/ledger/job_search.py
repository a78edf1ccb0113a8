"""Search jobs by what their records tell without their text: page after page, by cursor."""

from __future__ import annotations

import binascii
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from speechfleet.errors import InvalidRequest
from speechfleet.ledger import keys
from speechfleet.ledger.batch_keys import BatchKeys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.jobs import read_listed
from speechfleet.lifecycle import State
from speechfleet.names import encode
from speechfleet.record import Record

JOBS_A_CALL = 200
"""Jobs that one script call looks at: the server does nothing else meanwhile."""
JOBS_A_PAGE = 5000
"""Jobs that are looked at for one page, however few of them match."""
TIME = re.compile(r"[0-9]{1,15}").fullmatch


@dataclass(frozen=True)
class JobFilter:
    """A filter of jobs; an empty field stands for any.

    ``model``: a model, or a provider alone; ``since``, ``until``: of the last change, in Unix
    seconds.
    """

    states: Sequence[State] = tuple(State)
    model: str = ""
    voice: str = ""
    lane: str = ""
    batch: str = ""
    since: float | None = None
    until: float | None = None

    @property
    def reads_records(self) -> bool:
        """Tell whether the indexes alone do not answer it."""
        return bool(self.model or self.voice or self.lane or self.batch)


@dataclass(frozen=True)
class Cursor:
    """A place between two jobs: behind the one with this name and time of its last change."""

    time: str
    name: str

    def encode(self) -> str:
        """Return it in the form that clients hand back."""
        return urlsafe_b64encode(f"{self.time} {self.name}".encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Read what `encode` has made. Raises InvalidRequest."""
        try:
            padded = text.encode() + b"=" * (-len(text) % 4)
            time, _, name = urlsafe_b64decode(padded).decode().partition(" ")
            if not (name and TIME(time)):
                raise ValueError(text)
        except (ValueError, binascii.Error):
            raise InvalidRequest(
                f"{text[:80]!r} is no place in a list of jobs: give back `next` of the page before"
            ) from None
        return cls(time, name)


class JobSearch:
    """Find jobs, those that changed last first.

    State and time are answered by the indexes; of the other fields a script reads the records, and
    a page ends after `JOBS_A_PAGE` of them, so that no request takes long.
    """

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    async def page(
        self, namespace: str, wanted: JobFilter, *, after: str = "", count: int = 100
    ) -> tuple[list[Record], str]:
        """Return at most ``count`` records, and the cursor of the next page, "" at the end.

        A page may hold fewer, even none, and another one follow all the same. Jobs that are new,
        or change meanwhile, go to the front: they move none of those behind the cursor.
        Raises InvalidRequest.
        """
        cursor = Cursor.decode(after) if after else None
        names: list[bytes] = []
        looked_at = 0
        since = await self._since(namespace, wanted)
        while True:
            most = JOBS_A_CALL if wanted.reads_records else min(count, JOBS_A_CALL)
            cursor, looked, found = await self._walk(
                namespace, wanted, since, cursor, most, count - len(names)
            )
            names += found
            looked_at += looked
            if cursor is None or len(names) >= count or looked_at >= JOBS_A_PAGE:
                break
        records = await read_listed(self._scripts, names)
        # One that has changed since stands at the front of the list now.
        records = [record for record in records if record.state in wanted.states]
        return records, cursor.encode() if cursor else ""

    async def _since(self, namespace: str, wanted: JobFilter) -> str:
        """Return the time of the last change that is looked at last, as the script takes it."""
        since = -math.inf if wanted.since is None else 1000 * wanted.since
        if wanted.batch:
            batch = BatchKeys(namespace, wanted.batch)
            # None of its jobs is older than the batch.
            since = max(
                since, float(await self._scripts.call("HGET", batch.batch, "created") or 0)
            )
        return _time(since, math.ceil)

    async def _walk(
        self,
        namespace: str,
        wanted: JobFilter,
        since: str,
        cursor: Cursor | None,
        most: int,
        count: int,
    ) -> tuple[Cursor | None, int, list[bytes]]:
        until = math.inf if wanted.until is None else 1000 * wanted.until
        latest, passed = _time(until, math.floor), ""
        if cursor is not None and float(cursor.time) <= until:
            latest, passed = cursor.time, f"{encode(namespace)}/{cursor.name}"
        prefix = encode(namespace) + "/"
        batch = encode(wanted.batch)
        reply = await self._scripts.run(
            "search",
            [keys.index(namespace, state) for state in dict.fromkeys(wanted.states)],
            keys.RECORDS,
            *(latest, passed, since, most, count),
            # An item's id begins with its batch, so that most records need not be read.
            prefix + (encode(f"{wanted.batch}/") if batch else ""),
            *(wanted.model, wanted.voice, wanted.lane, batch),
        )
        time, name, looked_at, names = reply
        place = Cursor(time.decode(), name.decode().partition("/")[2]) if name else None
        return place, int(looked_at), names


def _time(milliseconds: float, rounded: Callable[[float], int]) -> str:
    if math.isinf(milliseconds):
        return "+inf" if milliseconds > 0 else "-inf"
    return str(rounded(milliseconds))
