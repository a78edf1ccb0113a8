"""A scene: a long job is followed live while its worker is killed."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass

from speechfleet.audio import wav
from speechfleet.chunks import Chunk, Terminal
from speechfleet.demo.corpus import articles
from speechfleet.demo.stage import Stage
from speechfleet.job import AsyncJob
from speechfleet.keywords import SubmitKeywords
from speechfleet.lifecycle import State
from speechfleet.record import StoredSegment
from speechfleet.tts import Msg

ID = "udhr-followed"
ORDER: SubmitKeywords = {"language": "en", "speed": 0.9}
"""A pace of its own: no segment of the corpus can be reused."""
KILL_AT = 0.05
"""Share of the text that is finished when the worker is killed."""
KILL_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Killed:
    """The state of the job when its worker ``boot`` had died."""

    boot: str
    segments: list[StoredSegment]
    audio: int

    @property
    def kept(self) -> int:
        """Bytes of audio that lie in finished segments."""
        return self.segments[-1].end if self.segments else 0


def declaration() -> str:
    """Return the whole English text."""
    return "\n".join(text.text for text in articles() if text.language == "en")


async def follow_live(stage: Stage) -> None:
    """Follow a job, kill its worker, and check that no finished segment is paid for twice."""
    stage.title("A live stream, and the death of its worker")
    text = declaration()
    job = await stage.client.submit(Msg(name="declaration", content=text, id=ID), **ORDER)
    record = await job.record()
    replay = record.state is State.SUCCEEDED
    if replay:
        stage.say("An earlier run paid for this job and killed its worker: here is its replay.")
    elif record.state.terminal:
        await job.retry()
    listener = _Listener(stage, job, kill_at=None if replay else int(KILL_AT * len(text)))
    last = await listener.follow()
    await _check(stage, job, last, listener)


class _Listener:
    """Show a stream as it grows, and kill its worker once."""

    def __init__(self, stage: Stage, job: AsyncJob, *, kill_at: int | None) -> None:
        self._stage = stage
        self._job = job
        self._kill_at = kill_at
        self._shown = 0
        self.killed: Killed | None = None
        self.rewound_to: int | None = None

    async def follow(self) -> Chunk:
        """Follow the job to its end; return the last chunk, which holds all of the audio."""
        async for chunk in self._job.stream():
            if chunk.rewound:
                self.rewound_to = chunk.offset
            self._show(chunk)
            if self._kill_at is not None and chunk.text_end >= self._kill_at:
                self._kill_at = None
                self.killed = await self._kill()
        return chunk

    def _show(self, chunk: Chunk) -> None:
        """Print a line whenever the audio has doubled, and for each rewind."""
        if chunk.rewound:
            self._stage.say(
                f"  rewind    to byte {chunk.offset:>11,}: a new attempt continues from there"
            )
        elif chunk.total >= 2 * self._shown or chunk.is_last:
            self._shown = chunk.total
            self._stage.say(
                f"  chunk  {len(chunk.delta):>6,} bytes at {chunk.offset:>11,}: "
                f"{chunk.seconds:>8.1f} s of speech, {chunk.text_end:>6,} characters"
            )

    async def _kill(self) -> Killed | None:
        """Kill the worker that runs the job with SIGKILL; None where no worker runs it."""
        boot = (await self._job.status()).worker
        for worker in self._stage.fleet.workers:
            if worker.boot_id == boot:
                worker.kill(signal.SIGKILL)
                await asyncio.to_thread(worker.wait, KILL_TIMEOUT_S)
                record = await self._job.record()
                client = self._stage.client
                segments = await client.ledger.jobs.segments(client.namespace, ID, record.epoch)
                self._stage.say(
                    f"  kill -9   of worker {boot}: {len(segments)} segments are finished"
                )
                self._stage.say("  silence   for some 3 s, until the fleet misses it")
                return Killed(boot, segments, record.audio)
        return None


async def _check(stage: Stage, job: AsyncJob, last: Chunk, listener: _Listener) -> None:
    record = await job.record()
    client = stage.client
    segments = await client.ledger.jobs.segments(client.namespace, ID, record.epoch)
    stored = wav.decode(await client.store.get(record.object))
    stage.claim(
        f"what was heard is what is stored, byte for byte: {last.seconds / 60:.0f} minutes",
        holds=bytes(last.audio) == bytes(stored.pcm),
    )
    stage.claim(f"{record.losses} worker was lost over it", holds=record.losses == 1)
    speakers = [who for _, event, who in record.history if event == "claim"]
    stage.claim(
        f"another worker continued: {' then '.join(who.rpartition(':')[0] for who in speakers)}",
        holds=len({who.rpartition(":")[0] for who in speakers}) > 1,
    )
    if (killed := listener.killed) is not None:
        stage.claim(
            f"none of the {len(killed.segments)} finished segments was asked for again",
            holds=segments[: len(killed.segments)] == killed.segments,
        )
        wanted = killed.kept if killed.audio > killed.kept else None
        stage.claim("only the unfinished one was rewound", holds=listener.rewound_to == wanted)
        kinds = [isinstance(entry, Terminal) async for _, _, entry in job.entries()]
        stage.claim("the stream has its one terminal entry", holds=sum(kinds) == 1 and kinds[-1])
    usage = record.usage
    stage.claim(
        f"each character was paid for once: {usage.get('billed', 0):,} of "
        f"{usage.get('characters', 0):,}, {usage.get('cached', 0):,} from the cache",
        holds=usage["characters"]
        == usage.get("billed", 0) + usage.get("cached", 0)
        == sum(segment.text_end - segment.text_start for segment in segments),
    )
