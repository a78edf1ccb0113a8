"""The asynchronous client; `speechfleet.sync` is the same without ``await``."""

from __future__ import annotations

import asyncio
import copy
import itertools
import uuid
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, Unpack

from pydantic import SecretStr

from speechfleet.audio.formats import AudioFormatName
from speechfleet.audio.resampling import check_sample_rate
from speechfleet.batch.batch import AsyncBatch, Texts
from speechfleet.captions import CaptionForm
from speechfleet.context import Context
from speechfleet.embedded.home import fleet_in_thread, join_home_fleet
from speechfleet.fallback import FallbackSource
from speechfleet.inspection import FleetInspector
from speechfleet.job import AsyncJob
from speechfleet.keywords import (
    Message,
    Options,
    SessionOptions,
    SubmitKeywords,
    flat,
    request_of,
    request_with,
    split,
)
from speechfleet.ledger.jobs import Submitted
from speechfleet.lexicon import Lexicon, LexiconSource
from speechfleet.observability import tracing
from speechfleet.request import Lane, Request, check_id
from speechfleet.session import OPEN_TIMEOUT, AsyncSession
from speechfleet.settings import Settings
from speechfleet.settings import settings as process_settings
from speechfleet.speakable import SpeakableMode
from speechfleet.spoken_form import take_spoken_form
from speechfleet.tts import Msg

SUBMITS_PER_WRITE = 500
"""Submits under way at once in `AsyncClient.submit_many`."""
WRITE_STARTS_WITHIN_S = 0.001
"""Seconds to yield, so that a write starts before the next requests are made."""


class AsyncClient(FleetInspector):
    """A fleet, seen from outside. One event loop; any number of jobs at once.

    Settings come from the environment; ``redis_url``, ``store`` and ``namespace`` override.
    Without a Redis URL it joins the fleet that `speechfleet up` runs for this user; `local`
    brings one up. Opening checks the server; errors of Redis come as FleetUnavailable and
    MisconfiguredError.
    """

    @classmethod
    @asynccontextmanager
    async def local(
        cls,
        *,
        data: Path | str | None = None,
        workers: int = 1,
        sessions: bool = True,
        namespace: str | None = None,
    ) -> AsyncGenerator[Self, None]:
        """Bring up a fleet on this machine, and open a client of it, for one ``async with``.

        A fleet that runs on the folder already is joined. ``data``: the folder; else that of
        the command line. ``sessions``: with a worker for realtime sessions. Needs the extra
        ``local``. Raises MisconfiguredError, FolderInUse.
        """
        async with (
            fleet_in_thread(data, workers=workers, sessions=sessions) as settings,
            cls(settings, namespace=namespace) as client,
        ):
            yield client

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        redis_url: str | None = None,
        store: str | None = None,
        namespace: str | None = None,
    ) -> None:
        settings = settings or process_settings()
        url = redis_url if redis_url is None else SecretStr(redis_url)
        changes = {"store": store, "namespace": namespace, "redis_url": url}
        settings = settings.model_copy(update={k: v for k, v in changes.items() if v is not None})
        if settings.traces:
            tracing.enable()
        settings, self._joined = join_home_fleet(settings)
        super().__init__(Context.of(settings))

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def open(self) -> None:
        """Check the server, as ``async with`` does; it belongs to the loop of the first call.

        Idempotent. Raises FleetUnavailable, MisconfiguredError.
        """
        await self.ledger.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection of this client; its jobs go on."""
        await self.context.close()
        if self._joined is not None:
            self._joined.close()

    def within(self, namespace: str) -> AsyncClient:
        """Return this client in another namespace, with the same connections. Raises IllegalId.

        Closing the client that was made first closes them.
        """
        other = copy.copy(self)
        other.context = self.context.within(namespace)
        return other

    async def submit(
        self, msg: Message, *, id: str | None = None, **keywords: Unpack[SubmitKeywords]
    ) -> AsyncJob:
        """Enqueue a message under its id and return at once, whether or not a worker is up.

        A list of parts (``text`` and ``voice``) is a dialogue, whose text is that of the parts
        with an empty line between two.
        ``id``: for a str, which otherwise gets one. Idempotent: the same id with the same
        request is the same job, also when that has ended. Raises Conflict (the id is taken by
        another request), InvalidRequest, FleetFull, FleetUnavailable.
        """
        with tracing.span("submit", model=str(keywords.get("model", ""))):
            id, request = request_of(msg, keywords, self.settings, id=id)
            await self.check_provider(request)
            await self.ledger.jobs.submit(self.namespace, id, request)
        return AsyncJob(self.context, id, request)

    async def submit_many(
        self, messages: Iterable[Msg | str], **keywords: Unpack[SubmitKeywords]
    ) -> list[AsyncJob]:
        """Enqueue many messages with the same keywords; return their jobs in the same order.

        Each is written on its own: those before a refused one stand. Raises as `submit` does.
        """
        jobs: list[AsyncJob] = []
        sending: asyncio.Task[list[Submitted]] | None = None
        iterator, fields = iter(messages), split(keywords, self.settings)
        try:
            while bulk := list(itertools.islice(iterator, SUBMITS_PER_WRITE)):
                requests = [request_with(msg, fields, self.settings) for msg in bulk]
                await (sending or self.check_provider(requests[0][1]))
                jobs += [AsyncJob(self.context, id, request) for id, request in requests]
                submitting = self.ledger.jobs.submit_all(self.namespace, requests)
                sending = asyncio.create_task(submitting)
                await asyncio.sleep(WRITE_STARTS_WITHIN_S)
        finally:
            if sending is not None:
                await sending
        return jobs

    def session(
        self,
        *,
        model: str | None = None,
        voice: str = "",
        id: str | None = None,
        resume: bool = False,
        open_timeout: float = OPEN_TIMEOUT,
        linear: bool = False,
        sample_rate: int | None = None,
        first_audio_timeout: float | None = None,
        format: AudioFormatName = "wav",
        cache: bool = True,
        language: str = "",
        speakable: SpeakableMode | None = None,
        lexicon: LexiconSource | Lexicon | None = None,
        loudness: float | None = None,
        fallback: FallbackSource | None = None,
        name: str = "",
        options: Options | None = None,
        **provider: Unpack[SessionOptions],
    ) -> AsyncSession:
        """Make a session, for text that is still being written; ``async with`` opens it.

        ``id``: of the session; without, it gets one of its own. ``resume``: go on with the
        session of this id, from any process. ``language``, ``speakable``, ``lexicon``,
        ``loudness``, ``fallback``: as in `submit`; to a session "auto" means markdown.
        ``open_timeout``: seconds to wait for a worker. ``linear``, ``sample_rate``: as in
        `AsyncJob.stream`, for all audio that the session hands out. ``first_audio_timeout``:
        seconds after the latest text; if no audio has come by then, every call raises
        FirstAudioTimeout. ``name``: of the speaker. Raises InvalidRequest.
        """
        keywords = {
            "model": model, "voice": voice, "format": format, "cache": cache,
            "language": language, "speakable": speakable, "lexicon": lexicon,
            "loudness": loudness, "fallback": fallback, "options": options, **provider,
        }  # fmt: skip
        request = _session_request(name, split(keywords, self.settings), self.settings)
        check_sample_rate(sample_rate)
        own_id = check_id(id) if id is not None else uuid.uuid4().hex
        return AsyncSession(
            self.context, own_id, request, resume=resume, open_timeout=open_timeout,
            linear=linear, sample_rate=sample_rate, first_audio_timeout=first_audio_timeout,
        )  # fmt: skip

    def batch(
        self,
        items: Texts = (),
        *,
        id: str | None = None,
        out: Path | str | None = None,
        remote: bool = False,
        captions: CaptionForm | None = None,
        words: bool = False,
        window: int | None = None,
        max_chars: float | None = None,
        max_cost: float | None = None,
        **keywords: Unpack[SubmitKeywords],
    ) -> AsyncBatch:
        """Make a batch of many texts; nothing is sent before its results are read.

        ``items``: any iterable, read lazily, of texts, (id, text), Msg, or mappings with
        ``text``, ``id`` and any keyword of their own; or a corpus in a file, as a Path or a
        `CorpusFile`. ``out``: a folder for audio and manifest, by which a later run resumes;
        ``remote``: with the audio left in the store. ``captions``: written there too, with
        ``words`` by lines with the time of each word. ``window``: items in the fleet at once.
        ``max_chars``, ``max_cost``: the most to spend. Without items: batch ``id``'s handle.
        """
        return AsyncBatch(
            self.context, items, flat(keywords), id=id, out=out, remote=remote,
            captions=captions, words=words, window=window, max_chars=max_chars, max_cost=max_cost,
        )  # fmt: skip

    def job(self, id: str) -> AsyncJob:
        """Return the handle of a job that was submitted, here or elsewhere; nothing is sent."""
        return AsyncJob(self.context, check_id(id))


def _session_request(name: str, fields: dict[str, Any], settings: Settings) -> Request:
    """Make the checked request of a session, whose text is not known yet."""
    form = take_spoken_form(fields, None)
    request = Request(text="", form=form, lane=Lane.SESSION, name=name, open=True, **fields)
    request.check(settings.session_text)
    return request
