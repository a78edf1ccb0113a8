"""Speak one segment of a finished job again, and choose among its takes."""

from __future__ import annotations

from speechfleet.context import Context
from speechfleet.errors import IllegalTransition, InvalidRequest
from speechfleet.keywords import Options, check_option_names
from speechfleet.lifecycle import State
from speechfleet.record import Record
from speechfleet.request import Lane, check_text
from speechfleet.takes import SegmentTakes, Take, TakeView


class Retakes:
    """Changes the takes of one job. Every change begins a new epoch of it."""

    def __init__(self, context: Context, id: str) -> None:
        self._context = context
        self._id = id

    async def list(self) -> list[TakeView]:
        """List the takes of all segments that were spoken again. Raises JobNotFound."""
        record = await self._context.ledger.jobs.load(self._context.namespace, self._id)
        return [
            TakeView(index, number, number == of.chosen, take.voice, take.text, take.options)
            for index, of in sorted(record.takes.items())
            for number, take in enumerate(of.takes)
        ]

    async def add(self, segment: int, take: Take) -> int:
        """Speak a segment once more and choose that take; return its number."""
        record = await self._ended(segment)
        check_option_names(record.model, take.options, settings=self._context.settings)
        if take.text:
            check_text(take.text, self._context.settings.max_text, "SPEECHFLEET_MAX_TEXT")
        changed = record.takes.get(segment, SegmentTakes()).with_take(take)
        await self._begin(record, segment, changed)
        return changed.chosen

    async def choose(self, segment: int, number: int) -> None:
        """Choose a take of a segment."""
        record = await self._ended(segment)
        of = record.takes.get(segment, SegmentTakes())
        if not 0 <= number < len(of.takes):
            raise InvalidRequest(
                f"segment {segment} of job {self._id!r} has the takes 0 to {len(of.takes) - 1}, "
                f"not {number}"
            )
        if number != of.chosen:
            await self._begin(record, segment, SegmentTakes(of.takes, number))

    async def _begin(self, record: Record, segment: int, changed: SegmentTakes) -> None:
        await self._context.ledger.jobs.retry(
            self._context.namespace, self._id,
            takes={**record.takes, segment: changed}, of_epoch=record.epoch,
        )  # fmt: skip

    async def _ended(self, segment: int) -> Record:
        jobs, namespace = self._context.ledger.jobs, self._context.namespace
        record = await jobs.load(namespace, self._id)
        request = record.request
        if not record.state.terminal:
            raise IllegalTransition(
                f"job {self._id!r} is {record.state}: a segment is spoken again once it has ended"
            )
        if request.lane is Lane.SESSION:
            raise InvalidRequest(
                f"{self._id!r} is a session: its segments depend on how its text came; submit "
                "the text as a job"
            )
        if not request.cache:
            raise InvalidRequest(
                f"job {self._id!r} was submitted with cache=False, so its segments are not kept; "
                "retry() speaks all of it again"
            )
        if record.turns:
            raise InvalidRequest(
                f"a fallback voice spoke the end of job {self._id!r}, so its segments cannot be "
                "taken again one by one; retry() speaks all of it with its own voice"
            )
        count = await self._count(record)
        if not count:
            raise IllegalTransition(f"job {self._id!r} has no segment that was spoken")
        if not 0 <= segment < count:
            raise InvalidRequest(
                f"job {self._id!r} has the segments 0 to {count - 1}, not {segment}"
            )
        return record

    async def _count(self, record: Record) -> int:
        """Count the segments: of the last epoch that came to its end, or as far as any came."""
        jobs, namespace = self._context.ledger.jobs, self._context.namespace
        first = record.epoch if record.state is State.SUCCEEDED else 1
        epochs = [
            await jobs.segments(namespace, self._id, epoch)
            for epoch in range(first, record.epoch + 1)
        ]
        return max(map(len, epochs))


class JobTakes:
    """The part of a job's handle that speaks single segments again."""

    def __init__(self, context: Context, id: str) -> None:
        self._retakes = Retakes(context, id)

    async def respeak(
        self,
        segment: int,
        *,
        voice: str = "",
        text: str = "",
        seed: int | None = None,
        options: Options | None = None,
    ) -> int:
        """Speak one segment of an ended job again; return the number of the take.

        A new epoch begins, which pays for that segment alone; the new take is chosen, and all
        are kept. ``text`` replaces what is spoken; ``options`` and ``seed`` go beside the job's
        own. Raises JobNotFound, IllegalTransition (it has not ended), InvalidRequest.
        """
        given = dict(options or {}) | ({} if seed is None else {"seed": seed})
        return await self._retakes.add(segment, Take(voice, text, given))

    async def takes(self) -> list[TakeView]:
        """List the takes of all segments that were spoken again. Raises JobNotFound."""
        return await self._retakes.list()

    async def choose(self, segment: int, take: int) -> None:
        """Let another take of a segment be heard; take 0 is the first one. Idempotent.

        A new epoch makes the audio anew without a call. Raises as `respeak` does.
        """
        await self._retakes.choose(segment, take)
