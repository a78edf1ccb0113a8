"""A long job followed live, while the worker that speaks it is killed."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass

from speechfleet import keys, wav
from speechfleet.chunks import Chunk, Terminal, decode
from speechfleet.demo.corpus import articles
from speechfleet.demo.stage import MODEL, Stage
from speechfleet.job import AsyncJob
from speechfleet.jobs import Segment, State
from speechfleet.tts import Msg

ID = "udhr-live"
ORDER = {"model": MODEL, "voice": "en-us+f3", "rate": 130}
"""A voice and a pace of its own, so that the corpus has not paid for it already."""
KILL_AT = 0.05
"""Share of the text that is finished when the worker is killed."""
DIES_WITHIN = 10.0


@dataclass(frozen=True)
class Killed:
    """What there was at the moment when the worker ``boot`` was dead."""

    boot: str
    segments: list[Segment]
    audio: int

    @property
    def kept(self) -> int:
        """Bytes of audio that lie in finished segments."""
        return self.segments[-1].end if self.segments else 0


def declaration() -> str:
    """The English text, as one."""
    return "\n".join(text.text for text in articles() if text.language == "en")


async def follow_live(stage: Stage) -> None:
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
    """Shows a stream as it grows, and kills its worker once."""

    def __init__(self, stage: Stage, job: AsyncJob, *, kill_at: int | None) -> None:
        self._stage = stage
        self._job = job
        self._kill_at = kill_at
        self._shown = 0
        self.killed: Killed | None = None
        self.rewound_to: int | None = None

    async def follow(self) -> Chunk:
        """The last chunk: all of the audio."""
        async for chunk in self._job.stream():
            if chunk.rewound:
                self.rewound_to = chunk.offset
            self._show(chunk)
            if self._kill_at is not None and chunk.text_end >= self._kill_at:
                self._kill_at = None
                self.killed = await self._kill()
        return chunk

    def _show(self, chunk: Chunk) -> None:
        """A line whenever the audio has doubled, and for what is out of the ordinary."""
        if chunk.rewound:
            self._stage.say(
                f"  rewind    to byte {chunk.offset:>11,}: a new attempt goes on from there"
            )
        elif chunk.total >= 2 * self._shown or chunk.is_last:
            self._shown = chunk.total
            self._stage.say(
                f"  chunk  {len(chunk.delta):>6,} bytes at {chunk.offset:>11,}: "
                f"{chunk.seconds:>8.1f} s of speech, {chunk.text_end:>6,} characters"
            )

    async def _kill(self) -> Killed | None:
        """``kill -9`` of whoever speaks the job now; None where nobody does."""
        boot = (await self._job.status()).worker
        for worker in self._stage.fleet.workers:
            if worker.boot_id == boot:
                worker.kill(signal.SIGKILL)
                await asyncio.to_thread(worker.wait, DIES_WITHIN)
                record = await self._job.record()
                client = self._stage.client
                segments = await client.ledger.segments(client.namespace, ID, record.epoch)
                self._stage.say(
                    f"  kill -9   of worker {boot}: {len(segments)} segments are finished"
                )
                return Killed(boot, segments, record.audio)
        return None


async def _check(stage: Stage, job: AsyncJob, last: Chunk, listener: _Listener) -> None:
    record = await job.record()
    client = stage.client
    segments = await client.ledger.segments(client.namespace, ID, record.epoch)
    stored = wav.decode(await client.store.get(record.object))
    stage.claim(
        f"what was heard is what is stored, byte for byte: {last.seconds / 60:.0f} minutes",
        holds=bytes(last.audio) == bytes(stored.pcm),
    )
    stage.claim(f"{record.losses} worker was lost over it", holds=record.losses == 1)
    speakers = [who for _, event, who in record.story if event == "claim"]
    stage.claim(
        f"another worker went on: {' then '.join(who.rpartition(':')[0] for who in speakers)}",
        holds=len({who.rpartition(":")[0] for who in speakers}) > 1,
    )
    if (killed := listener.killed) is not None:
        stage.claim(
            f"none of the {len(killed.segments)} finished segments was asked for again",
            holds=segments[: len(killed.segments)] == killed.segments,
        )
        wanted = killed.kept if killed.audio > killed.kept else None
        stage.claim("only the unfinished one was rewound", holds=listener.rewound_to == wanted)
        terminals = await _terminal_entries(stage, record.epoch)
        stage.claim("the stream has its one terminal entry", holds=terminals == [True, False])
    usage = record.usage
    stage.claim(
        f"each character was paid for once: {usage.get('billed', 0):,} of "
        f"{usage.get('characters', 0):,}, {usage.get('cached', 0):,} from the cache",
        holds=usage["characters"]
        == usage.get("billed", 0) + usage.get("cached", 0)
        == sum(segment.text_end - segment.text_start for segment in segments),
    )


async def _terminal_entries(stage: Stage, epoch: int) -> list[bool]:
    """Of the stream's last two entries, last first: whether they are terminal."""
    stream = keys.JobKeys(stage.client.namespace, ID).stream(epoch)
    call = stage.client.connection.scripts.call
    found = await call("XREVRANGE", stream, "+", "-", "COUNT", 2)
    return [isinstance(decode(fields), Terminal) for _, fields in found]
