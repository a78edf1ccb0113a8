"""The handle of a job: its status, its chunks while they arrive, its stored speech."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from speechfleet.audio.buffer import BYTES_PER_SAMPLE
from speechfleet.audio.file_names import format_of
from speechfleet.captions import CaptionForm, CaptionUnit, check_captions
from speechfleet.chunks import Chunk, Entry, Rewind, Terminal
from speechfleet.context import Context
from speechfleet.erasure import erase_objects
from speechfleet.errors import InvalidRequest, JobNotFound, ResultTimeout
from speechfleet.fallback import FallbackView
from speechfleet.first_audio import first_audio_in_time
from speechfleet.job_captions import captions_of_job, words_of_job
from speechfleet.ledger.keys import JobKeys
from speechfleet.lifecycle import State
from speechfleet.reader import EntryReader, StreamReader, raise_unless_succeeded
from speechfleet.record import Record, StoredSegment, Waiting
from speechfleet.request import Request
from speechfleet.resampled_chunks import resampled
from speechfleet.retakes import JobTakes
from speechfleet.store import Store
from speechfleet.store.download import download
from speechfleet.waiting import WaitNotice, outlast
from speechfleet.words import Word

POLL_INTERVAL_S = 2.0
"""Between looks at the record while a result is awaited: the message of its end may be missed."""


@dataclass(frozen=True, repr=False)
class AsyncSpeech:
    """Finished audio.

    ``duration`` is in seconds, ``size`` in bytes; ``object`` is its key in the store.
    """

    id: str
    media_type: str
    sample_rate: int
    duration: float
    size: int
    object: str
    usage: dict[str, float]
    _store: Store = field(compare=False)
    _words: Callable[[], Awaitable[list[Word]]] = field(compare=False)
    gain: float | None = None
    """In dB, by which the stored audio is louder than the stream; None where none was asked."""

    def __repr__(self) -> str:
        return (
            f"AsyncSpeech({self.id!r}, {self.duration:.1f} s, {self.media_type}, {self.size:,} B)"
        )

    async def read(self) -> bytes:
        """Return the whole audio, in the format that was asked for. Raises StoreError."""
        return await self._store.get(self.object)

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the audio to a file, whole or not at all, and return its path.

        Raises InvalidRequest where the name tells another format; StoreError, OSError.
        """
        target = Path(path)
        stored, named = format_of(self.object), format_of(target)
        if named not in (None, stored):
            raise InvalidRequest(
                f"the speech is {stored}, and {target.name!r} names {named}: save it "
                f"as .{stored}, or submit the text with format={named!r}"
            )
        await download(self._store, self.object, self.size, target)
        return target

    @property
    def path(self) -> Path | None:
        """The audio's file, where the store is a folder of this machine; else None."""
        return self._store.local_path(self.object)

    async def words(self) -> list[Word]:
        """Return the words with their times, in the order of the text.

        They are read from the store, also when the chunk stream has expired. Where the provider
        did not tell them, they are aligned now (some 5 ms a second of audio), with the extra
        ``words`` and a language that espeak-ng speaks, and kept in the store; else estimated:
        see `Word.source`. Raises JobNotFound, StoreError.
        """
        return await self._words()

    async def url(self, expires: float = 3600.0) -> str:
        """Return a new link: presigned for S3, file:// for a folder. Raises StoreError."""
        return await self._store.link(self.object, expires)


@dataclass(frozen=True)
class Status:
    """The state of a job at one moment.

    ``waiting``: why it is QUEUED: ``"in line"``, ``"back-off"``, or ``"no_worker"`` where no
    live worker takes jobs of its queue. ``seconds``: audio made so far. Times are Unix seconds.
    """

    id: str
    state: State
    waiting: Waiting
    model: str
    voice: str
    lane: str
    format: str
    epoch: int
    attempts: int
    losses: int
    worker: str
    seconds: float
    created: float
    updated: float
    code: str
    message: str
    object: str
    usage: dict[str, float]
    spoken_by: list[str] = field(default_factory=list)
    """Models that spoke it so far, where that was not ``model`` alone."""
    fallbacks: list[FallbackView] = field(default_factory=list)
    """The fallback voices that took over, in their order."""
    suspect: list[int] = field(default_factory=list)
    """Segments that probably lack text: known once its words were aligned."""

    @classmethod
    def of(cls, record: Record, waiting: Waiting) -> Status:
        """Describe a record, for people and programs."""
        rate = record.sample_rate
        failing = record.state in (State.FAILED, State.CANCELLED) or waiting is Waiting.BACK_OFF
        return cls(
            id=record.id,
            state=record.state,
            waiting=waiting,
            model=record.model,
            voice=record.voice,
            lane=record.lane,
            format=record.format,
            epoch=record.epoch,
            attempts=record.attempts,
            losses=record.losses,
            worker=record.boot,
            seconds=record.audio / BYTES_PER_SAMPLE / rate if rate else 0.0,
            created=record.created / 1000,
            updated=record.updated / 1000,
            code=record.code if failing else "",
            message=record.message if failing else "",
            object=record.object,
            usage=record.usage,
            spoken_by=record.spoken_by,
            fallbacks=[turn.as_view() for turn in record.turns],
            suspect=record.suspect,
        )


@dataclass(frozen=True)
class JobPage:
    """A part of a list of jobs.

    ``next``: the cursor of the next page, "" at the end of the list. A page may be short, even
    empty, and another one follow all the same.
    """

    jobs: list[Status]
    next: str


class AsyncJob(JobTakes):
    """The handle of one job, by its id; of a job that it submitted it keeps the request."""

    def __init__(self, context: Context, id: str, request: Request | None = None) -> None:
        super().__init__(context, id)
        self._context = context
        self._request = request
        self.id = id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    @property
    def _keys(self) -> JobKeys:
        return JobKeys(self._context.namespace, self.id)

    async def record(self) -> Record:
        """Load the job's record. Raises JobNotFound."""
        return await self._context.ledger.jobs.load(self._context.namespace, self.id)

    async def status(self) -> Status:
        """Return the state of this moment. Raises JobNotFound."""
        record = await self.record()
        return Status.of(record, await self._context.ledger.workers.waiting(record))

    async def stream(
        self,
        *,
        accumulate: bool = True,
        linear: bool = False,
        sample_rate: int | None = None,
        first_audio_timeout: float | None = None,
    ) -> AsyncGenerator[Chunk, None]:
        """Yield chunks from the first byte, then live to the end, in order, each once.

        ``accumulate=False`` keeps no audio (``chunk.audio`` is not there); ``linear=True`` never
        takes back audio that was yielded. ``sample_rate``: brings the audio to this rate, one of
        `SAMPLE_RATES`, and all its places with it; with ``accumulate=False`` only where linear.
        ``first_audio_timeout``: seconds for the first audio. After 3 s without any, a warning
        tells if no worker serves the job. Raises JobFailed, JobCancelled, JobNotFound,
        FirstAudioTimeout (the job goes on), InvalidRequest.
        """
        chunks = self._chunks(accumulate=accumulate, linear=linear)
        if first_audio_timeout is not None:
            chunks = first_audio_in_time(chunks, f"job {self.id!r}", first_audio_timeout)
        if sample_rate is not None:
            chunks = resampled(chunks, sample_rate, accumulate=accumulate, linear=linear)
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def _chunks(self, *, accumulate: bool, linear: bool) -> AsyncGenerator[Chunk, None]:
        reader = StreamReader(
            self._context.ledger.jobs,
            self._context.ledger.streams,
            lambda: self._context.store,
            self._keys,
            accumulate=accumulate,
            linear=linear,
            resubmit=self._resubmit,
        )
        notice = asyncio.create_task(WaitNotice(self._context, self.id).watch())
        try:
            async with contextlib.aclosing(reader.chunks()) as chunks:
                async for chunk in chunks:
                    notice.cancel()
                    yield chunk
        finally:
            notice.cancel()

    async def entries(
        self, after: tuple[int, str] | None = None
    ) -> AsyncGenerator[tuple[int, str, Entry], None]:
        """Yield (epoch, id, entry) of the chunk stream as it is, live to the terminal one.

        ``after``: the epoch and id of the last one seen. An epoch that is not the one seen
        before begins with a rewind to 0. Of a stream that has expired the terminal entry alone
        is left. Raises JobNotFound.
        """
        ledger = self._context.ledger
        reader = EntryReader(ledger.jobs, ledger.streams, self._keys, self._resubmit)
        record = await reader.record()
        seen, id = after or (record.epoch, "0")
        while True:
            if record.epoch != seen:
                seen, id = record.epoch, "0"
                yield seen, id, Rewind(0, record.claims, "a new epoch")
            async with contextlib.aclosing(reader.entries(record, id)) as entries:
                async for id, entry in entries:
                    yield seen, id, entry
                    if isinstance(entry, Terminal):
                        return
            record = await reader.record()

    async def segments(self) -> list[StoredSegment]:
        """Return the finished segments, in order. Raises JobNotFound."""
        record = await self.record()
        return await self._context.ledger.jobs.segments(
            self._context.namespace, self.id, record.epoch
        )

    async def words(self, *, find: bool = True) -> list[Word]:
        """Return the words of the finished segments; as `AsyncSpeech.words`.

        Where the record has expired, they are found by what is stored beside the audio.
        ``find=False``: only those whose provider told them.
        """
        return await words_of_job(self._context, self.id, find=find)

    async def captions(
        self, form: CaptionForm = "vtt", *, by: CaptionUnit = "line", words: bool = False
    ) -> str:
        """Return captions of what is spoken so far, as the text of a file.

        ``form``: srt, vtt, ass or json. ``by``: what a cue holds: a segment, one or two lines by
        the rules for subtitles, or a word. ``words``: with the time of each word within a cue.
        Where the record has expired, they are made from what is stored beside the audio.
        Raises InvalidRequest, also where there is no audio; JobNotFound, StoreError.
        """
        check_captions(form, by)
        return await captions_of_job(self._context, self.id, form, by=by, words=words)

    async def result(self, timeout: float | None = None) -> AsyncSpeech:
        """Wait for the stored speech; after 3 s a warning tells if no worker serves it.

        Raises JobFailed, JobCancelled, ResultTimeout (the job goes on; its ``reason`` says why
        it waits, where no worker serves it).
        """
        notice = WaitNotice(self._context, self.id)
        watch = asyncio.create_task(notice.watch())
        try:
            async with asyncio.timeout(timeout):
                record = await self._ended()
        except TimeoutError:
            raise ResultTimeout(self.id, timeout or 0.0, await notice.reason()) from None
        finally:
            watch.cancel()
        raise_unless_succeeded(record)
        return AsyncSpeech(
            id=self.id,
            media_type=record.media_type,
            sample_rate=record.sample_rate,
            duration=record.duration_ms / 1000,
            size=record.object_bytes,
            object=record.object,
            usage=record.usage,
            gain=record.gain,
            _store=self._context.store,
            _words=self.words,
        )

    async def _ended(self) -> Record:
        patience_s = self._context.settings.redis_patience
        async with self._context.ledger.streams.channels.listen(self._keys.ended) as ended:
            while True:
                try:
                    record = await outlast(patience_s, self.record)
                except JobNotFound:
                    if not await self._resubmit():
                        raise
                    continue
                if record.state.terminal:
                    return record
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.get(), POLL_INTERVAL_S)

    async def cancel(self, reason: str = "cancelled by a client") -> bool:
        """Stop the job at any moment; False if it had ended before. Idempotent."""
        return await self._context.ledger.jobs.cancel(self._context.namespace, self.id, reason)

    async def retry(self) -> None:
        """Begin a new epoch of a job that has ended. Raises IllegalTransition otherwise."""
        await self._context.ledger.jobs.retry(self._context.namespace, self.id)

    async def delete(self) -> None:
        """Erase record, text, stream, audio, and segments that nothing else uses. Idempotent.

        A job that runs is cancelled first. Objects are swept by the job's own prefix, so those
        of lost attempts go too.
        """
        namespace, ledger = self._context.namespace, self._context.ledger.jobs
        while (leftovers := await ledger.delete(namespace, self.id)) == "running":
            await ledger.cancel(namespace, self.id, "deleted")
        self._request = None
        # Its worker may be writing at this moment: workers sweep again, see `Deletions`.
        await erase_objects(self._context.store, namespace, self.id, leftovers)

    async def _resubmit(self) -> bool:
        """Submit a job again that Redis lost; False if it was not submitted by this handle."""
        if self._request is None:
            return False
        try:
            await self._context.ledger.jobs.submit(
                self._context.namespace, self.id, self._request, "again"
            )
        except JobNotFound:
            return False
        return True
