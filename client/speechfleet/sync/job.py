"""A job, for programs without an event loop. Generated: see `make sync`."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

from speechfleet.captions import CaptionForm, CaptionUnit
from speechfleet.chunks import Chunk, Entry
from speechfleet.job import AsyncJob, AsyncSpeech, Status
from speechfleet.keywords import Options
from speechfleet.record import Record, StoredSegment
from speechfleet.sync.base import SyncHandle
from speechfleet.takes import TakeView
from speechfleet.words import Word


class Speech(SyncHandle[AsyncSpeech]):
    """Finished audio.

    ``duration`` is in seconds, ``size`` in bytes; ``object`` is its key in the store.
    """

    @property
    def id(self) -> str:
        return self._async.id

    @property
    def media_type(self) -> str:
        return self._async.media_type

    @property
    def sample_rate(self) -> int:
        return self._async.sample_rate

    @property
    def duration(self) -> float:
        return self._async.duration

    @property
    def size(self) -> int:
        return self._async.size

    @property
    def object(self) -> str:
        return self._async.object

    @property
    def usage(self) -> dict[str, float]:
        return self._async.usage

    @property
    def gain(self) -> float | None:
        return self._async.gain

    def read(self) -> bytes:
        """Return the whole audio, in the format that was asked for. Raises StoreError."""
        return self._loop.run(self._async.read())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the audio to a file, whole or not at all, and return its path.

        Raises InvalidRequest where the name tells another format; StoreError, OSError.
        """
        return self._loop.run(self._async.save(path))

    @property
    def path(self) -> Path | None:
        """The audio's file, where the store is a folder of this machine; else None."""
        return self._async.path

    def words(self) -> list[Word]:
        """Return the words with their times, in the order of the text.

        They are read from the store, also when the chunk stream has expired. Where the provider
        did not tell them, they are aligned now (some 5 ms a second of audio), with the extra
        ``words`` and a language that espeak-ng speaks, and kept in the store; else estimated:
        see `Word.source`. Raises JobNotFound, StoreError.
        """
        return self._loop.run(self._async.words())

    def url(self, expires: float = 3600.0) -> str:
        """Return a new link: presigned for S3, file:// for a folder. Raises StoreError."""
        return self._loop.run(self._async.url(expires))


class Job(SyncHandle[AsyncJob]):
    """The handle of one job, by its id; of a job that it submitted it keeps the request."""

    @property
    def id(self) -> str:
        return self._async.id

    def respeak(
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
        return self._loop.run(
            self._async.respeak(segment, voice=voice, text=text, seed=seed, options=options)
        )

    def takes(self) -> list[TakeView]:
        """List the takes of all segments that were spoken again. Raises JobNotFound."""
        return self._loop.run(self._async.takes())

    def choose(self, segment: int, take: int) -> None:
        """Let another take of a segment be heard; take 0 is the first one. Idempotent.

        A new epoch makes the audio anew without a call. Raises as `respeak` does.
        """
        self._loop.run(self._async.choose(segment, take))

    def record(self) -> Record:
        """Load the job's record. Raises JobNotFound."""
        return self._loop.run(self._async.record())

    def status(self) -> Status:
        """Return the state of this moment. Raises JobNotFound."""
        return self._loop.run(self._async.status())

    def stream(
        self,
        *,
        accumulate: bool = True,
        linear: bool = False,
        sample_rate: int | None = None,
        first_audio_timeout: float | None = None,
    ) -> Generator[Chunk, None, None]:
        """Yield chunks from the first byte, then live to the end, in order, each once.

        ``accumulate=False`` keeps no audio (``chunk.audio`` is not there); ``linear=True`` never
        takes back audio that was yielded. ``sample_rate``: brings the audio to this rate, one of
        `SAMPLE_RATES`, and all its places with it; with ``accumulate=False`` only where linear.
        ``first_audio_timeout``: seconds for the first audio. After 3 s without any, a warning
        tells if no worker serves the job. Raises JobFailed, JobCancelled, JobNotFound,
        FirstAudioTimeout (the job goes on), InvalidRequest.
        """
        yield from self._loop.iterate(
            self._async.stream(
                accumulate=accumulate,
                linear=linear,
                sample_rate=sample_rate,
                first_audio_timeout=first_audio_timeout,
            )
        )

    def entries(
        self, after: tuple[int, str] | None = None
    ) -> Generator[tuple[int, str, Entry], None, None]:
        """Yield (epoch, id, entry) of the chunk stream as it is, live to the terminal one.

        ``after``: the epoch and id of the last one seen. An epoch that is not the one seen
        before begins with a rewind to 0. Of a stream that has expired the terminal entry alone
        is left. Raises JobNotFound.
        """
        yield from self._loop.iterate(self._async.entries(after))

    def segments(self) -> list[StoredSegment]:
        """Return the finished segments, in order. Raises JobNotFound."""
        return self._loop.run(self._async.segments())

    def words(self, *, find: bool = True) -> list[Word]:
        """Return the words of the finished segments; as `Speech.words`.

        Where the record has expired, they are found by what is stored beside the audio.
        ``find=False``: only those whose provider told them.
        """
        return self._loop.run(self._async.words(find=find))

    def captions(
        self, form: CaptionForm = "vtt", *, by: CaptionUnit = "line", words: bool = False
    ) -> str:
        """Return captions of what is spoken so far, as the text of a file.

        ``form``: srt, vtt, ass or json. ``by``: what a cue holds: a segment, one or two lines by
        the rules for subtitles, or a word. ``words``: with the time of each word within a cue.
        Where the record has expired, they are made from what is stored beside the audio.
        Raises InvalidRequest, also where there is no audio; JobNotFound, StoreError.
        """
        return self._loop.run(self._async.captions(form, by=by, words=words))

    def result(self, timeout: float | None = None) -> Speech:
        """Wait for the stored speech; after 3 s a warning tells if no worker serves it.

        Raises JobFailed, JobCancelled, ResultTimeout (the job goes on; its ``reason`` says why
        it waits, where no worker serves it).
        """
        return Speech(self._loop.run(self._async.result(timeout)), self._loop)

    def cancel(self, reason: str = "cancelled by a client") -> bool:
        """Stop the job at any moment; False if it had ended before. Idempotent."""
        return self._loop.run(self._async.cancel(reason))

    def retry(self) -> None:
        """Begin a new epoch of a job that has ended. Raises IllegalTransition otherwise."""
        self._loop.run(self._async.retry())

    def delete(self) -> None:
        """Erase record, text, stream, audio, and segments that nothing else uses. Idempotent.

        A job that runs is cancelled first. Objects are swept by the job's own prefix, so those
        of lost attempts go too.
        """
        self._loop.run(self._async.delete())
