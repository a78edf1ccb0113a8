"""Random submits, sessions, batches and listeners, and what each of them must end in."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from speechfleet import AsyncClient, Msg, SpeechFleetError, State
from speechfleet.errors import (
    Conflict,
    FleetFull,
    FleetUnavailable,
    IllegalTransition,
    JobCancelled,
    JobNotFound,
    ObjectMissing,
    StoreDenied,
    StoreUnavailable,
)
from tests.soak.stage import NAMESPACES, FailingOver, SoakStage
from tests.support.stage import MODEL, sentences, spoken

log = logging.getLogger(__name__)

PASSING = (FleetUnavailable, StoreUnavailable, StoreDenied, FleetFull)
"""Errors that a client may see while a fault lasts; it tries again. StoreDenied: a client that
opens while the folder is away cannot know that it was ever there."""
CHUNKS = 5
ACTORS = 10
OPEN_S = 180.0
"""Seconds in which a worker takes a session: it may have to start first, on a busy machine."""
LISTEN_S = 120.0
"""Seconds in which whoever listens to a job that has ended has heard it to the end."""
MAX_RUNS = 100
"""Of one batch: each ends at a fault, and the next resumes."""


@dataclass
class Plan:
    """One job: its text as sentences, and the ends that are right for it."""

    namespace: str
    id: str
    lines: list[str]
    ends: set[State] = field(default_factory=lambda: {State.SUCCEEDED})
    deleted: bool = False
    heard: list[bytes] = field(default_factory=list)
    """What listeners have heard whose audio only the finished job can tell."""

    @property
    def audio(self) -> bytes:
        """The PCM that an undisturbed run gives."""
        return spoken(self.lines, CHUNKS)


@dataclass
class Load:
    """Everything that was asked of the fleet, and the violations that listeners saw."""

    stage: SoakStage
    seed: int
    plans: dict[tuple[str, str], Plan] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def count(self, name: str, number: int = 1) -> None:
        self.counts[name] += number

    def plan(self, random: random.Random, kind: str, *namespaces: str) -> Plan:
        """Return a new job of one to six sentences that no other job has."""
        number = next(self._numbers)
        lines = sentences(f"{kind} {number} of soak {self.seed}", random.randint(1, 6))
        plan = Plan(random.choice(namespaces or NAMESPACES), f"{kind}-{number}", lines)
        self.plans[plan.namespace, plan.id] = plan
        return plan

    async def run(self, until: asyncio.Event) -> None:
        """Let every actor work until the event; return when the last has ended its work."""
        kinds: tuple[Callable[[random.Random], Awaitable[None]], ...] = (
            self._job, self._job, self._job, self._http, self._session, self._batch,
        )  # fmt: skip

        async def actor(number: int) -> None:
            own = random.Random(self.seed * 1000 + number)
            while not until.is_set():
                kind = own.choice(kinds)
                try:
                    await kind(own)
                except Exception as error:
                    # Whatever a program would not expect is a violation; the soak goes on.
                    log.exception("an actor broke")
                    name = kind.__name__.strip("_")
                    self.violations.append(f"{name}: {type(error).__name__}: {error}")

        async with asyncio.TaskGroup() as group:
            for number in range(ACTORS):
                group.create_task(actor(number))

    # --- jobs -------------------------------------------------------------------------------

    async def _job(self, random: random.Random) -> None:
        plan = self.plan(random, "job")
        pace = random.choice([0.0, 0.01, 0.05])
        async with self._open(plan.namespace) as client:
            await again(lambda: self._submit(client, plan, pace))
            self.count("submitted")
            if random.random() < 0.15:
                await again(lambda: self._submit(client, plan, pace))
                self.count("submitted twice")
            end = random.random()
            listeners = [self._listen(plan, random) for _ in range(random.randint(0, 2))]
            others: list[Awaitable[None]] = []
            if end < 0.1:
                others.append(self._cancel(client, plan, random))
            elif end < 0.2:
                others.append(self._delete(client, plan, random))
            await asyncio.gather(*listeners, *others)
            if not plan.deleted:
                await self._ended(client, plan)

    async def _submit(self, client: AsyncClient, plan: Plan, pace: float) -> None:
        msg = Msg("", " ".join(plan.lines), id=plan.id)
        options = {"pace": pace, "chunks": CHUNKS}
        await client.submit(msg, model=MODEL, options=options)

    async def _cancel(self, client: AsyncClient, plan: Plan, random: random.Random) -> None:
        plan.ends = {State.SUCCEEDED, State.CANCELLED}
        await asyncio.sleep(random.random())
        await again(lambda: client.job(plan.id).cancel())
        self.count("cancelled")
        if random.random() < 0.5:
            with suppress(IllegalTransition):
                await again(lambda: client.job(plan.id).retry())
                self.count("retried")

    async def _delete(self, client: AsyncClient, plan: Plan, random: random.Random) -> None:
        plan.deleted = True
        await asyncio.sleep(random.random())
        await again(lambda: client.job(plan.id).delete())
        self.count("deleted")

    async def _ended(self, client: AsyncClient, plan: Plan) -> bool:
        """Wait for the end, whatever it is; tell whether it came, which the invariants judge.

        On a busy machine the process of an isolated job starts in half a minute.
        """
        try:
            await again(lambda: client.job(plan.id).result(timeout=120))
        except TimeoutError:  # ResultTimeout is one as well
            return False
        except SpeechFleetError:
            return True
        return True

    # --- listeners --------------------------------------------------------------------------

    async def _listen(self, plan: Plan, random: random.Random) -> None:
        """Follow a job to its end; every chunk continues what came before it."""
        leaves = random.random() < 0.2
        async with self._open(plan.namespace) as client:
            heard = await self._hear(client, plan, plan.audio, 10_000 if leaves else None)
        if heard is None:
            self._unless(plan.deleted or State.CANCELLED in plan.ends, plan, "cancelled")
            return
        if leaves and len(heard) > 10_000:
            self.count("left early")
            return
        self._unless(heard == plan.audio or plan.deleted, plan, "heard less than all")
        self.count("heard by client")

    async def _hear(
        self, client: AsyncClient, plan: Plan, expected: bytes | None, most: int | None
    ) -> bytes | None:
        """Return what a listener hears, up to ``most`` bytes; None where the job was withdrawn.

        ``expected``: what it must be the beginning of, at any moment, where that is known.
        """
        while True:
            heard = b""
            try:
                async with aclosing(client.job(plan.id).stream()) as chunks:
                    async for chunk in chunks:
                        self.count("chunks")
                        if chunk.rewound:
                            self.count("rewinds")
                            heard = heard[: chunk.offset]
                        if chunk.offset != len(heard):
                            self._violated(plan, f"a gap at {len(heard)}: {chunk.offset}")
                        heard += chunk.delta
                        if expected is not None and not expected.startswith(heard):
                            self._violated(plan, f"wrong audio before {len(heard)}")
                        if most is not None and len(heard) > most:
                            break
                return heard
            except (*PASSING, TimeoutError):
                await asyncio.sleep(0.2)
            except (JobCancelled, JobNotFound):
                return None

    async def _http(self, random: random.Random) -> None:
        """Post a text to the gateway and read its audio, or leave in the middle."""
        plan, leaves = self.plan(random, "http", "default"), random.random() < 0.2
        body = {
            "model": MODEL, "input": " ".join(plan.lines), "response_format": "pcm",
            "pace": 0.01, "chunks": CHUNKS,
        }  # fmt: skip
        headers = {"idempotency-key": plan.id}
        timeout = httpx.Timeout(120.0)
        async with httpx.AsyncClient(base_url=self.stage.gateway.url, timeout=timeout) as http:
            for _ in range(60):
                with suppress(httpx.HTTPError):
                    heard = await self._post(http, body, headers, 2_000 if leaves else None)
                    if heard is not None:
                        if not leaves and plan.audio != heard:
                            self._violated(plan, f"heard {len(heard)} of {len(plan.audio)}")
                        self.count("left early" if leaves else "heard by HTTP")
                        return
                await asyncio.sleep(0.5)

    async def _post(
        self, http: httpx.AsyncClient, body: object, headers: dict[str, str], most: int | None
    ) -> bytes | None:
        """Return the audio, or its beginning; None where the gateway was not able."""
        url = "/v1/audio/speech"
        async with http.stream("POST", url, json=body, headers=headers) as answer:
            if answer.status_code != 200:
                return None
            heard = b""
            async for piece in answer.aiter_bytes():
                heard += piece
                if most is not None and len(heard) >= most:
                    return heard
            return heard

    # --- sessions and batches ---------------------------------------------------------------

    async def _session(self, random: random.Random) -> None:
        plan = self.plan(random, "session")
        text, delay = " ".join(plan.lines), random.choice([0.0, 0.02, 0.1])
        async with self._open(plan.namespace) as client:
            options = {"pace": 0.02, "chunks": CHUNKS}
            session = client.session(model=MODEL, id=plan.id, options=options, open_timeout=OPEN_S)
            try:
                await again(session.open, within=2 * OPEN_S)
            except Conflict:  # an answer was lost, and the session is there
                session = client.session(
                    model=MODEL, id=plan.id, options=options, open_timeout=OPEN_S, resume=True
                )
                await again(session.open, within=2 * OPEN_S)
            hearing = asyncio.create_task(self._hear(client, plan, None, None))
            try:
                for end in range(10, len(text) + 10, 10):
                    await again(lambda end=end: session.push(text[:end]))  # type: ignore[misc]
                    await asyncio.sleep(delay)
                await again(lambda: session.complete(text))
                self.count("sessions")
                if await self._ended(client, plan):
                    await self._heard(plan, hearing)
            finally:
                hearing.cancel()
                with suppress(SpeechFleetError):
                    await session.close()

    async def _heard(self, plan: Plan, hearing: asyncio.Task[bytes | None]) -> None:
        """Note what was heard of a session that has ended, or that its end was not heard."""
        try:
            async with asyncio.timeout(LISTEN_S):
                heard = await hearing
        except TimeoutError:
            self._violated(plan, f"its end was not heard within {LISTEN_S:g} s")
            return
        if heard is not None:
            plan.heard.append(heard)
            self.count("heard by session")

    async def _batch(self, random: random.Random) -> None:
        number, size = next(self._numbers), random.randint(3, 30)
        namespace = random.choice(NAMESPACES)
        lines = sentences(f"batch {number} of soak {self.seed}", size)
        out = self.stage.folder / "out" / str(number)
        for _ in range(MAX_RUNS):
            try:
                async with self._open(namespace) as client:
                    batch = client.batch(
                        [(str(n), line) for n, line in enumerate(lines)], id=f"batch-{number}",
                        out=out, model=MODEL, options={"pace": 0.0, "chunks": CHUNKS},
                    )  # fmt: skip
                    summary = await batch.run()
            except (*PASSING, TimeoutError):
                await asyncio.sleep(0.5)
                continue
            except ObjectMissing:
                # An end that only the lost primary knew: the item was spoken again, and the
                # next run is told of that. Without a failover nothing may be missing.
                if not isinstance(self.stage, FailingOver):
                    raise
                self.count("ends lost")
                continue
            if summary.failed:
                self.violations.append(f"batch {number}: {summary.failed} items failed")
            break
        else:
            self.violations.append(f"batch {number} did not end in {MAX_RUNS} runs")
        await asyncio.to_thread(self._check_files, out, lines)
        self.count("batches")
        self.count("items", size)

    def _check_files(self, out: Path, lines: list[str]) -> None:
        for number, line in enumerate(lines):
            file = out / "wavs" / f"{number}.wav"
            if not file.exists() or not file.read_bytes().endswith(spoken([line], CHUNKS)):
                self.violations.append(f"{file}: not the audio of its text")

    # --- violations -------------------------------------------------------------------------

    def _open(self, namespace: str) -> PatientClient:
        return PatientClient(self.stage, namespace)

    def _unless(self, right: bool, plan: Plan, why: str) -> None:
        if not right:
            self._violated(plan, why)

    def _violated(self, plan: Plan, why: str) -> None:
        self.violations.append(f"{plan.namespace}/{plan.id}: {why}")


class PatientClient:
    """A client that opens once the fleet is there."""

    def __init__(self, stage: SoakStage, namespace: str) -> None:
        self._stage, self._namespace = stage, namespace

    async def __aenter__(self) -> AsyncClient:
        while True:
            client = self._stage.client(self._namespace)
            try:
                return await client.__aenter__()
            except PASSING:
                await asyncio.sleep(0.2)
                continue
            finally:
                self._client = client

    async def __aexit__(self, *_: object) -> None:
        with suppress(SpeechFleetError):
            await self._client.close()


async def again(call: Callable[[], Awaitable[object]], within: float = 120.0) -> None:
    """Repeat a call until no passing error comes; every call of ours is idempotent."""
    async with asyncio.timeout(within):
        while True:
            try:
                await call()
            except PASSING:
                await asyncio.sleep(0.2)
            except JobNotFound:
                return
            else:
                return
