"""The client for programs without an event loop.

It holds no logic: each call runs the asynchronous one on a loop in a thread of its own. So
one `Client` may be used from many threads at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from types import TracebackType
from typing import Any, Self, TypeVar

from speechfleet.chunks import Chunk
from speechfleet.client import AsyncClient
from speechfleet.corpus.batch import AsyncBatch, Summary
from speechfleet.corpus.manifest import Entry
from speechfleet.errors import InvalidRequest
from speechfleet.job import AsyncJob, Status
from speechfleet.job import Speech as AsyncSpeech
from speechfleet.jobs import Record, State
from speechfleet.ledger import BatchStatus
from speechfleet.ledger.fleet import Worker
from speechfleet.session import AsyncSession
from speechfleet.settings import Settings
from speechfleet.tts import Msg

T = TypeVar("T")


class _Loop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="speechfleet", daemon=True
        )
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            coroutine.close()
            raise InvalidRequest(
                "this Client is closed: open another one, and use its jobs while it is open",
                code="client_closed",
            )
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C in this thread stops the work in that one
            raise

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()


@dataclass(frozen=True)
class Speech:
    """Finished audio; see `speechfleet.job.Speech`."""

    _speech: AsyncSpeech
    _loop: _Loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._speech, name)

    def read(self) -> bytes:
        return self._loop.run(self._speech.read())

    def url(self, expires: float = 3600.0) -> str:
        return self._loop.run(self._speech.url(expires))


class Job:
    """One job of the fleet; see `speechfleet.job.AsyncJob`."""

    def __init__(self, job: AsyncJob, loop: _Loop) -> None:
        self._job = job
        self._loop = loop
        self.id = job.id

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def stream(
        self, *, accumulate: bool = True, linear: bool = False
    ) -> Generator[Chunk, None, None]:
        yield from _each(self._job.stream(accumulate=accumulate, linear=linear), self._loop)

    def result(self, timeout: float | None = None) -> Speech:
        return Speech(self._loop.run(self._job.result(timeout)), self._loop)

    def status(self) -> Status:
        return self._loop.run(self._job.status())

    def record(self) -> Record:
        return self._loop.run(self._job.record())

    def cancel(self, reason: str = "cancelled by a client") -> bool:
        return self._loop.run(self._job.cancel(reason))

    def retry(self) -> None:
        self._loop.run(self._job.retry())

    def delete(self) -> None:
        self._loop.run(self._job.delete())


class Session:
    """A text that is spoken while it is written; see `speechfleet.session.AsyncSession`."""

    def __init__(self, session: AsyncSession, loop: _Loop) -> None:
        self._session = session
        self._loop = loop
        self.id = session.id
        self.job = Job(session.job, loop)

    def __repr__(self) -> str:
        return f"Session({self.id!r})"

    def __enter__(self) -> Self:
        self._loop.run(self._session.open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._loop.run(self._session.close())

    @property
    def text(self) -> str:
        return self._session.text

    def push(self, text: Msg | str) -> Chunk:
        return self._loop.run(self._session.push(text))

    def say(self, delta: str) -> Chunk:
        return self._loop.run(self._session.say(delta))

    def synthesize(self, text: Msg | str | None = None) -> Generator[Chunk, None, None]:
        yield from _each(self._session.synthesize(text), self._loop)

    def result(self, timeout: float | None = None) -> Speech:
        return Speech(self._loop.run(self._session.result(timeout)), self._loop)

    def interrupt(self, played: int | None = None) -> int:
        return self._loop.run(self._session.interrupt(played))


def _each(chunks: AsyncGenerator[Chunk, None], loop: _Loop) -> Generator[Chunk, None, None]:
    try:
        while (chunk := loop.run(_next(chunks))) is not None:
            yield chunk
    finally:
        loop.run(chunks.aclose())


class Batch:
    """Many texts; see `speechfleet.corpus.batch.AsyncBatch`."""

    def __init__(self, batch: AsyncBatch, loop: _Loop) -> None:
        self._batch = batch
        self._loop = loop

    @property
    def id(self) -> str:
        return self._batch.id

    @property
    def summary(self) -> Summary:
        return self._batch.summary

    def run(self) -> Summary:
        return self._loop.run(self._batch.run())

    def results(self) -> Generator[Entry, None, None]:
        entries = self._batch.results()
        try:
            while (entry := self._loop.run(_next(entries))) is not None:
                yield entry
        finally:
            self._loop.run(entries.aclose())

    def detach(self) -> str:
        return self._loop.run(self._batch.detach())

    def status(self) -> BatchStatus:
        return self._loop.run(self._batch.status())

    def cancel(self, reason: str = "cancelled by a client") -> int:
        return self._loop.run(self._batch.cancel(reason))

    def retry_failed(self) -> int:
        return self._loop.run(self._batch.retry_failed())


async def _next(things: AsyncGenerator[T, None]) -> T | None:
    return await anext(things, None)


class Client:
    """A fleet, seen from outside; see `speechfleet.client.AsyncClient`."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        redis_url: str | None = None,
        store: str | None = None,
        namespace: str | None = None,
    ) -> None:
        self._arguments = (settings, redis_url, store, namespace)
        self._loop = _Loop()
        try:
            self._client = self._loop.run(self._open())
        except BaseException:
            self._loop.close()
            raise

    async def _open(self) -> AsyncClient:
        settings, redis_url, store, namespace = self._arguments
        client = AsyncClient(settings, redis_url=redis_url, store=store, namespace=namespace)
        try:
            return await client.__aenter__()
        except BaseException:
            await client.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._loop.run(self._client.close())
        self._loop.close()

    def submit(self, msg: Msg | str, **order: Any) -> Job:
        return Job(self._loop.run(self._client.submit(msg, **order)), self._loop)

    def session(self, **order: Any) -> Session:
        return Session(self._loop.run(self._session(order)), self._loop)

    async def _session(self, order: dict[str, Any]) -> AsyncSession:
        return self._client.session(**order)  # what it waits with belongs to that loop

    def submit_many(self, messages: Iterable[Msg | str], **order: Any) -> list[Job]:
        jobs = self._loop.run(self._client.submit_many(messages, **order))
        return [Job(job, self._loop) for job in jobs]

    def batch(self, items: Iterable[Any] = (), **order: Any) -> Batch:
        return Batch(self._client.batch(items, **order), self._loop)

    def job(self, id: str) -> Job:
        return Job(self._client.job(id), self._loop)

    def jobs(
        self,
        state: State | str | Sequence[State] | None = None,
        *,
        offset: int = 0,
        count: int = 100,
    ) -> list[Status]:
        return self._loop.run(self._client.jobs(state, offset=offset, count=count))

    def counts(self) -> dict[State, int]:
        return self._loop.run(self._client.counts())

    def usage(self, day: date | None = None) -> dict[str, dict[str, float]]:
        return self._loop.run(self._client.usage(day))

    def workers(self) -> list[Worker]:
        return self._loop.run(self._client.workers())
