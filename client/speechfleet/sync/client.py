"""The client, for programs without an event loop. Generated: see `make sync`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Unpack

from speechfleet.audio.formats import AudioFormatName
from speechfleet.batch.batch import Texts
from speechfleet.captions import CaptionForm
from speechfleet.fallback import FallbackSource
from speechfleet.job import JobPage, Status
from speechfleet.job_filter import SearchKeywords
from speechfleet.keywords import (
    Message,
    Options,
    SessionOptions,
    SubmitKeywords,
)
from speechfleet.ledger.workers import WorkerInfo
from speechfleet.lexicon import Lexicon, LexiconSource
from speechfleet.lifecycle import State
from speechfleet.quotas import QuotaStatus
from speechfleet.session import OPEN_TIMEOUT
from speechfleet.speakable import SpeakableMode
from speechfleet.sync.base import ClientBase
from speechfleet.sync.batch import Batch
from speechfleet.sync.job import Job
from speechfleet.sync.session import Session
from speechfleet.tts import Msg


class Client(ClientBase):
    """A fleet, seen from outside. One event loop; any number of jobs at once.

    Settings come from the environment; ``redis_url``, ``store`` and ``namespace`` override.
    Without a Redis URL it joins the fleet that `speechfleet up` runs for this user; `local`
    brings one up. Opening checks the server; errors of Redis come as FleetUnavailable and
    MisconfiguredError.
    """

    def jobs(
        self,
        state: State | str | Sequence[State] | None = None,
        *,
        offset: int = 0,
        count: int = 100,
    ) -> list[Status]:
        """Jobs of this namespace, newest first within each state."""
        return self._loop.run(self._async.jobs(state, offset=offset, count=count))

    def recent_jobs(
        self, states: Sequence[State] = tuple(State), *, offset: int = 0, count: int = 100
    ) -> list[Status]:
        """Return a page of jobs of these states together, those that changed last first.

        A page costs the same however far back it is.
        """
        return self._loop.run(self._async.recent_jobs(states, offset=offset, count=count))

    def search_jobs(
        self, *, after: str = "", count: int = 100, **wanted: Unpack[SearchKeywords]
    ) -> JobPage:
        """Return a page of the jobs that match, those that changed last first.

        ``model``: a model, or its provider alone; ``since``, ``until``: of the last change, a
        datetime or Unix seconds; ``after``: `JobPage.next` of the page before. New jobs move none
        of those that follow. One page looks at 5,000 jobs at most. Raises InvalidRequest.
        """
        return self._loop.run(self._async.search_jobs(after=after, count=count, **wanted))

    def counts(self) -> dict[State, int]:
        """Count the jobs in each state."""
        return self._loop.run(self._async.counts())

    def usage(self, day: date | None = None) -> dict[str, dict[str, float]]:
        """Return the usage of a day (UTC; default: today) by model.

        Keys are characters, billed, cached, calls, ...
        """
        return self._loop.run(self._async.usage(day))

    def quota(self) -> QuotaStatus | None:
        """Return this namespace's limits and what is taken of them; None where it has none."""
        return self._loop.run(self._async.quota())

    def workers(self) -> list[WorkerInfo]:
        """Return the worker processes that are alive."""
        return self._loop.run(self._async.workers())

    def submit(
        self, msg: Message, *, id: str | None = None, **keywords: Unpack[SubmitKeywords]
    ) -> Job:
        """Enqueue a message under its id and return at once, whether or not a worker is up.

        A list of parts (``text`` and ``voice``) is a dialogue, whose text is that of the parts
        with an empty line between two.
        ``id``: for a str, which otherwise gets one. Idempotent: the same id with the same
        request is the same job, also when that has ended. Raises Conflict (the id is taken by
        another request), InvalidRequest, FleetFull, FleetUnavailable.
        """
        return Job(self._loop.run(self._async.submit(msg, id=id, **keywords)), self._loop)

    def submit_many(
        self, messages: Iterable[Msg | str], **keywords: Unpack[SubmitKeywords]
    ) -> list[Job]:
        """Enqueue many messages with the same keywords; return their jobs in the same order.

        Each is written on its own: those before a refused one stand. Raises as `submit` does.
        """
        return [
            Job(each, self._loop)
            for each in self._loop.run(self._async.submit_many(messages, **keywords))
        ]

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
    ) -> Session:
        """Make a session, for text that is still being written; ``with`` opens it.

        ``id``: of the session; without, it gets one of its own. ``resume``: go on with the
        session of this id, from any process. ``language``, ``speakable``, ``lexicon``,
        ``loudness``, ``fallback``: as in `submit`; to a session "auto" means markdown.
        ``open_timeout``: seconds to wait for a worker. ``linear``, ``sample_rate``: as in
        `Job.stream`, for all audio that the session hands out. ``first_audio_timeout``:
        seconds after the latest text; if no audio has come by then, every call raises
        FirstAudioTimeout. ``name``: of the speaker. Raises InvalidRequest.
        """
        return Session(
            self._loop.call(
                lambda: self._async.session(
                    model=model,
                    voice=voice,
                    id=id,
                    resume=resume,
                    open_timeout=open_timeout,
                    linear=linear,
                    sample_rate=sample_rate,
                    first_audio_timeout=first_audio_timeout,
                    format=format,
                    cache=cache,
                    language=language,
                    speakable=speakable,
                    lexicon=lexicon,
                    loudness=loudness,
                    fallback=fallback,
                    name=name,
                    options=options,
                    **provider,
                )
            ),
            self._loop,
        )

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
    ) -> Batch:
        """Make a batch of many texts; nothing is sent before its results are read.

        ``items``: any iterable, read lazily, of texts, (id, text), Msg, or mappings with
        ``text``, ``id`` and any keyword of their own; or a corpus in a file, as a Path or a
        `CorpusFile`. ``out``: a folder for audio and manifest, by which a later run resumes;
        ``remote``: with the audio left in the store. ``captions``: written there too, with
        ``words`` by lines with the time of each word. ``window``: items in the fleet at once.
        ``max_chars``, ``max_cost``: the most to spend. Without items: batch ``id``'s handle.
        """
        return Batch(
            self._loop.call(
                lambda: self._async.batch(
                    items,
                    id=id,
                    out=out,
                    remote=remote,
                    captions=captions,
                    words=words,
                    window=window,
                    max_chars=max_chars,
                    max_cost=max_cost,
                    **keywords,
                )
            ),
            self._loop,
        )

    def job(self, id: str) -> Job:
        """Return the handle of a job that was submitted, here or elsewhere; nothing is sent."""
        return Job(self._loop.call(lambda: self._async.job(id)), self._loop)
