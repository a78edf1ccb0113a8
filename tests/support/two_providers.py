"""Two providers of a test's own, one of which fails as it is told, and workers that use them.

Their classes live in this process. Audio follows from text and voice alone, so that what a job
delivers after a change of voice can be compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from speechfleet import Msg, TTSModelBase, TTSResponse
from speechfleet.audio.buffer import AudioBuffer
from speechfleet.audio.media_type import media_type_for
from speechfleet.client import AsyncClient
from speechfleet.ledger import Lease, keys
from speechfleet.ledger.keys import JobKeys
from speechfleet.request import Lane
from speechfleet.settings import Settings
from speechfleet_worker.middleware import JobOutcome
from speechfleet_worker.providers.base import Capabilities
from speechfleet_worker.slots import Slots
from speechfleet_worker.worker import Worker

PROVIDERS = (
    "first=tests.support.two_providers:First,second=tests.support.two_providers:Second,"
    "third=tests.support.two_providers:Third"
)
MS_A_CHARACTER = 10


class Scripted(TTSModelBase):
    """Speaks a text; raises ``error`` from the call number ``fails_from`` on.

    ``calls``: (voice, text) of every call. ``cut_off``: the error comes in the middle of the
    audio, not before it.
    """

    rate: ClassVar[int] = 24_000
    error: ClassVar[Exception | None] = None
    fails_from: ClassVar[int] = 0
    cut_off: ClassVar[bool] = False
    calls: ClassVar[list[tuple[str, str]]] = []
    capabilities: ClassVar[Capabilities] = Capabilities(input_limit=1000)

    def __init__(
        self, model_name: str, stream: bool = True, voice: str = "", *, pitch: int = 0
    ) -> None:
        super().__init__(model_name, stream)
        self.voice = voice

    @classmethod
    def reset(cls) -> None:
        """Speak without failure from now on."""
        cls.error, cls.fails_from, cls.cut_off, cls.calls = None, 0, False, []

    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> AsyncGenerator[TTSResponse, None]:
        assert msg is not None
        return self._responses(msg.text())

    async def _responses(self, text: str) -> AsyncGenerator[TTSResponse, None]:
        kind = type(self)
        kind.calls.append((self.voice, text))
        fails = kind.error is not None and len(kind.calls) > kind.fails_from
        buffer, media_type = AudioBuffer(), media_type_for(kind.rate, 1)
        audio = audio_of(kind, text)
        if not fails or kind.cut_off:
            buffer.append(audio[: len(audio) // 4 * 2])
            yield TTSResponse.of(buffer, media_type, is_last=False)
        if fails and kind.error is not None:
            raise kind.error
        buffer.append(audio[len(audio) // 4 * 2 :])
        yield TTSResponse.of(buffer, media_type, is_last=True)


class First(Scripted):
    """The provider that fails."""


class Second(Scripted):
    """Another one, at another rate, with fewer characters in a call."""

    rate = 16_000
    capabilities = Capabilities(input_limit=30, sample_rate=16_000, voices=("alloy", "nova"))


class Third(Scripted):
    """One more."""


def audio_of(kind: type[Scripted], text: str) -> bytes:
    """Return what a provider says for a text."""
    size = kind.rate * MS_A_CHARACTER * len(text) // 1000
    sample = hashlib.sha1(f"{kind.__name__}".encode()).digest()[:1]  # noqa: S324 # no secret
    return (sample + b"\x05") * size


class Workers:
    """Workers of one fleet, in this process. ``settings`` are those of all of them."""

    def __init__(self, settings: Settings, client: AsyncClient) -> None:
        self.settings = settings
        self.client = client
        self._workers: list[Worker] = []

    async def start(
        self, providers: Iterable[str], lane: Lane = Lane.LIVE, **changes: Any
    ) -> Worker:
        """Register a worker that serves these providers."""
        names = list(providers)
        settings = self.settings.model_copy(update=changes)
        queues = [queue for name in names for queue in keys.queues(lane, name)]
        slots = Slots(settings, [lane], names)
        boot = f"boot{len(self._workers)}"
        worker = Worker(settings, boot, queues, dict.fromkeys(names, ""), slots)
        await worker.context.ledger.open()
        await worker.context.ledger.workers.register(worker.describe())
        # It sends no further heartbeat, and its jobs may take longer than a silent one is listed.
        await worker.context.ledger.connection.scripts.call("PERSIST", keys.boot(boot))
        self._workers.append(worker)
        return worker

    async def run(self, worker: Worker, id: str) -> JobOutcome:
        """Let a worker run a job until it ends or leaves."""
        scripts = worker.context.ledger.connection.scripts
        job = JobKeys(self.client.namespace, id)
        lease = Lease(scripts, job, worker._new_token(), worker.boot)
        claim = await lease.claim()
        assert claim.outcome == "granted", claim
        return await worker.jobs.run(lease, claim)

    async def close(self) -> None:
        """Close all of them."""
        for worker in self._workers:
            await worker.context.close()


@asynccontextmanager
async def two_providers(
    redis_url: str, store_url: str, **settings: Any
) -> AsyncGenerator[Workers, None]:
    """Give a client and workers of a fleet of these providers."""
    for kind in (First, Second, Third):
        kind.reset()
    loaded = Settings.load(
        redis_url=redis_url, store=store_url, providers=PROVIDERS, backoff=0.01,
        fallback_patience=1.0, **settings,
    )  # fmt: skip
    async with AsyncClient(loaded) as client:
        workers = Workers(loaded, client)
        try:
            yield workers
        finally:
            await workers.close()
