"""A ledger without Redis, a model without a provider: for tests of the worker's core.

`StubLease` remembers what a run wrote, and can be told to lose the lease or to forget.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

from speechfleet import Msg, TTSModelBase, TTSResponse
from speechfleet.audio.buffer import AudioBuffer
from speechfleet.audio.media_type import media_type_for
from speechfleet.chunks import Finished, MarkEntry, Started, WordsEntry
from speechfleet.errors import ProviderError
from speechfleet.ledger import Lease, LeaseLost, NoRoom, keys
from speechfleet.ledger.circuit_breakers import CircuitBreakers
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.lease import RecordedSegment, Written
from speechfleet.ledger.queues import Queues
from speechfleet.ledger.rate_limits import Acquired, AcquireOutcome, Call, RateLimiter
from speechfleet.observability.metrics import Tally
from speechfleet.record import Record, StoredSegment
from speechfleet.request import Lane
from speechfleet.settings import Settings
from speechfleet.store import Store, open_store
from speechfleet_worker.context import WorkerContext
from speechfleet_worker.middleware import MiddlewareStack
from speechfleet_worker.providers.base import Capabilities
from speechfleet_worker.slots import Slots
from speechfleet_worker.synthesis.metrics import JobCounts
from speechfleet_worker.synthesis.model_cache import Voice

RATE = 24_000
TOKEN = "boot:1"  # of a lease


@dataclass(frozen=True)
class FailedAttempt:
    """What a run told of the attempt that failed."""

    code: str
    message: str
    retryable: bool
    delay: float


class StubLease(Lease):
    """A lease of one job, without a server.

    ``writes`` names every write in order. ``lose_at`` and ``forget_at`` name the write that
    finds the lease lost, or a segment missing; ``full`` is how often the streams are full.
    """

    def __init__(self, id: str = "job", *, lose_at: str = "", forget_at: str = "") -> None:
        self.job = JobKeys("default", id)
        self.token = TOKEN
        self.boot = "boot"
        self.writes: list[str] = []
        self.published = bytearray()
        self.entries: list[bytes] = []
        self.started: Started | None = None
        self.segments: list[StoredSegment] = []
        self.usages: list[dict[str, int]] = []
        self.last: RecordedSegment | None = None
        self.finished: Finished | None = None
        self.gain: float | None = None
        self.counted: dict[str, int] = {}
        self.stored_ahead: list[str] = []
        self.released: list[str] = []
        self.begun: list[str] = []
        self.used_by_others: set[str] = set()
        self.failed: list[FailedAttempt] = []
        self.full = 0
        self.pushed = ""
        self.marks: list[MarkEntry] = []
        self.words: list[WordsEntry] = []
        self.forgets_audio = 0
        self._lose_at = lose_at
        self._forget_at = forget_at

    def _write(self, name: str) -> bool:
        self.writes.append(name)
        if name == self._lose_at:
            raise LeaseLost
        return name != self._forget_at

    async def read(self, offset: int) -> Written:
        return Written(self.pushed.encode()[offset:].decode(), False, 0.0, 0.0)

    async def publish(
        self,
        start: int,
        data: bytes,
        *,
        started: Started,
        mark: MarkEntry | None = None,
        limit: int,
        so_far: bytes | None = None,
        drop_unstored: bool = False,
    ) -> int:
        if self.full:
            self.full -= 1
            raise NoRoom
        self._write("publish")
        self.started = started
        self.marks += [mark] if mark is not None else []
        if self.forgets_audio:
            del self.published[max(0, len(self.published) - self.forgets_audio) :]
            self.forgets_audio = 0
            return len(self.published)
        self.entries.append(data if so_far is None else so_far)
        del self.published[start:]
        self.published += data
        return len(self.published)

    async def rewind(self, offset: int, attempt: int, reason: str) -> None:
        self._write("rewind")

    async def begin(self, hash: str) -> None:
        self.begun.append(hash)

    async def segment(self, segment: RecordedSegment) -> bool:
        return self._write("segment") and self._recorded(segment)

    def _recorded(self, segment: RecordedSegment) -> bool:
        self.words += [segment.words] if segment.words is not None else []
        self.segments.append(segment.stored)
        self.usages.append(dict(segment.usage))
        return True

    async def finish(
        self,
        end: Finished,
        last: RecordedSegment | None = None,
        *,
        size: int,
        rate: int,
        gain: float | None = None,
    ) -> bool:
        self.last = last
        if self._write("finish"):
            self.finished, self.gain = end, gain
            return last is None or self._recorded(last)
        return False

    async def fail(
        self,
        code: str,
        message: str,
        *,
        retryable: bool,
        max_attempts: int,
        delay: float,
        account: str,
        of_account: bool,
        usage: Mapping[str, int],
    ) -> Literal["retry", "failed", "withdrawn"]:
        self.failed.append(FailedAttempt(code, message, retryable, delay))
        return "retry" if retryable else "failed"

    async def inherit_call(self, hash: str) -> bool:
        return False

    async def count_call(
        self,
        epoch: int,
        account: str,
        usage: Mapping[str, int],
        *,
        index: int,
        complete: str = "",
        stored: bool = False,
    ) -> None:
        self._write("count_call")
        self.stored_ahead += [complete] if stored else []
        for name, amount in usage.items():
            self.counted[name] = self.counted.get(name, 0) + amount

    async def unused(self, hashes: Iterable[str]) -> list[str]:
        return [hash for hash in hashes if hash not in self.used_by_others]

    async def release(self, hashes: Iterable[str]) -> None:
        self.released += hashes


class StubRateLimiter(RateLimiter):
    """Lets every call begin, or gives the answers that it was told to give first."""

    def __init__(self, answers: Sequence[Acquired] = ()) -> None:
        self.answers = list(answers)
        self.calls: list[Call] = []
        self.refusals: list[float | None] = []

    def limited(self, model: str, *, metered: bool) -> bool:
        return metered

    async def acquire(self, lease: Lease, call: Call) -> Acquired:
        self.calls.append(call)
        return self.answers.pop(0) if self.answers else Acquired(AcquireOutcome.GRANTED)

    async def done(self, lease: Lease, call: Call) -> list[str]:
        return []

    async def report_refusal(
        self, model: str, retry_after: float | None, age: float = 0.0
    ) -> None:
        self.refusals.append(retry_after)

    async def report_success(self, model: str, age: float) -> None:
        """Nothing was doubted."""


class StubModel(TTSModelBase):
    """Speaks a text as so many milliseconds of audio a character, and tells what it was asked.

    ``errors``: by text, raised once each after half of the audio. ``gates``: by text, an event
    that the call waits for.
    """

    def __init__(self, *, rate: int = RATE, channels: int = 1) -> None:
        super().__init__("stub", stream=True)
        self.rate = rate
        self.channels = channels
        self.asked: list[str] = []
        self.errors: dict[str, Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.ended: list[str] = []

    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> AsyncGenerator[TTSResponse, None]:
        assert msg is not None
        return self._responses(msg.text())

    async def _responses(self, text: str) -> AsyncGenerator[TTSResponse, None]:
        self.asked.append(text)
        audio = spoken(text, self.rate, self.channels)
        half = len(audio) // 8 * 4
        buffer, media_type = AudioBuffer(), media_type_for(self.rate, self.channels)
        buffer.append(audio[:half])
        yield TTSResponse.of(buffer, media_type, is_last=False)
        if gate := self.gates.get(text):
            await gate.wait()
        if error := self.errors.pop(text, None):
            raise error
        buffer.append(audio[half:])
        self.ended.append(text)
        yield TTSResponse.of(buffer, media_type, is_last=True)


def spoken(text: str, rate: int = RATE, channels: int = 1) -> bytes:
    """The audio that `StubModel` gives: 10 ms a character, telling the text by its samples.

    They are so faint that nothing clicks where segments meet.
    """
    frame = (200 + len(text)).to_bytes(2, "little") * channels
    return frame * (rate // 100 * len(text))


class StubQueues(Queues):
    """Queues in which somebody waits, or not; counts how often it is asked."""

    def __init__(self, *, somebody_waits: bool = False) -> None:
        self.somebody_waits = somebody_waits
        self.asked = 0

    async def deserve_slot(self, queues: Sequence[str], job: JobKeys) -> bool:
        self.asked += 1
        return self.somebody_waits


class ClosedBreakers(CircuitBreakers):
    """Lets every job call; counts no failure."""

    def __init__(self) -> None:
        pass

    def is_doubted(self, provider: str) -> bool:
        return False

    async def admit(self, provider: str, owner: str) -> bool:
        return True

    async def report_failure(self, provider: str, owner: str, error: ProviderError) -> bool:
        return False


def make_record(text: str = "One. Two.", **fields: object) -> Record:
    """A record of a running job, as a claim grants it."""
    told = {
        "state": "RUNNING",
        "epoch": "1",
        "claims": "1",
        "token": TOKEN,
        "text": text,
        "model": "stub/stub",
        "lane": "live",
        "queue": keys.queue(Lane.LIVE, "stub"),
        **{name: str(value) for name, value in fields.items()},
    }
    return Record("default", "job", told)


def make_voice(model: TTSModelBase, **capabilities: Any) -> Voice:
    """A voice of one model, billed by characters."""
    return Voice(lambda: model, model, Capabilities(**capabilities), "en")


def make_store(folder: Path) -> Store:
    """A store in a folder of the test's own."""
    folder.mkdir(exist_ok=True)
    return open_store(folder.as_uri())


def make_counts(record: Record) -> JobCounts:
    """Counts that nobody sums up."""
    return JobCounts(Tally(), record)


def make_context(
    store: Store,
    *,
    record: Callable[[], Record | None] = lambda: None,
    rate_limiter: RateLimiter | None = None,
    queues: StubQueues | None = None,
    middleware: MiddlewareStack | None = None,
    recorded: Sequence[StoredSegment] = (),
    **settings: Any,
) -> WorkerContext:
    """What all executions of a process share, as far as one run needs it.

    ``record``, ``recorded``: what Redis says of the job and its segments when it is asked.
    """

    async def find(namespace: str, id: str) -> Record | None:
        return record()

    async def segments(namespace: str, id: str, epoch: int) -> list[StoredSegment]:
        return list(recorded)

    context = SimpleNamespace(
        settings=Settings(**settings),
        store=store,
        tally=Tally(),
        middleware=middleware or MiddlewareStack(),
        grace_left=lambda: float("inf"),
        job_delayed=asyncio.Event(),
        slots=Slots(Settings(slots=1), [Lane.LIVE], ["stub"]),
        ledger=SimpleNamespace(
            jobs=SimpleNamespace(find=find, segments=segments),
            rate_limiter=rate_limiter or StubRateLimiter(),
            queues=queues or StubQueues(),
            breakers=ClosedBreakers(),
        ),
    )
    return cast("WorkerContext", context)


def usage_of(finished: Finished) -> dict[str, float]:
    """The usage that a terminal entry tells."""
    usage: dict[str, float] = json.loads(finished.usage)
    return usage
