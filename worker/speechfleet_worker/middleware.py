"""Hooks around the jobs of a worker: a user's own code before, within and after a job.

Subclass `Middleware` and override the methods you need. Register the class by the entry point
group ``speechfleet.middleware`` or by SPEECHFLEET_MIDDLEWARE="package.module:Class,...".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from speechfleet.errors import MisconfiguredError, SpeechFleetError
from speechfleet.settings import Settings

log = logging.getLogger(__name__)

GROUP = "speechfleet.middleware"
HOOK_TIMEOUT_S = 30.0
"""Seconds after which a hook is given up: it holds up its job."""


class MiddlewareFailed(SpeechFleetError):
    """A `before_call` hook raised an error; the attempt is made again later."""

    code = "middleware_failed"
    retryable = True


@dataclass(frozen=True)
class JobInfo:
    """A job as hooks see it. ``attempt`` counts from 1; of a session ``text`` is empty."""

    namespace: str
    id: str
    name: str
    model: str
    voice: str
    lane: str
    format: str
    text: str
    attempt: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentInfo:
    """A finished segment: its part of the text, what was spoken, and what it cost.

    ``start`` and ``end`` are code points of the job's text. ``cached``: no provider was called.
    """

    index: int
    start: int
    end: int
    text: str
    spoken_text: str
    duration_s: float
    cached: bool
    request_id: str
    usage: Mapping[str, int]


@dataclass(frozen=True)
class JobOutcome:
    """The end of one attempt. ``state``: succeeded, failed, retry, suspended, handed_over,
    cancelled or lost; ``code`` and ``message`` are those of the error, else empty.
    """

    state: str
    code: str = ""
    message: str = ""


class Middleware:
    """Override any of these methods; each does nothing by itself.

    One object serves all jobs of a worker process, many of them at once, on one event loop:
    never block it. An error in a hook is logged with the hook's name, and the job goes on; an
    error in `before_call` ends the attempt as ``middleware_failed``, to be tried again. Raise a
    `SpeechFleetError` of your own in `before_job` or `before_call` to refuse the job.
    """

    async def before_job(self, job: JobInfo) -> None:
        """Look at a job that this worker has taken, before anything is spoken."""

    async def before_call(self, job: JobInfo, text: str) -> str:
        """Return the text to send to the provider instead of ``text``.

        It decides under which key the audio is stored and found again, so the same text must
        always give the same result. It must not be empty, nor longer than the model takes.
        """
        return text

    async def after_segment(self, job: JobInfo, segment: SegmentInfo) -> None:
        """Look at a segment that is spoken to its end and published."""

    async def after_job(self, job: JobInfo, outcome: JobOutcome) -> None:
        """Look at how the attempt ended."""


class MiddlewareStack:
    """Call the hooks of all registered classes, in the order of their registration.

    `after_segment` and `after_job` are called in reverse order, as layers around a job.
    """

    def __init__(
        self, layers: Sequence[Middleware] = (), *, timeout: float = HOOK_TIMEOUT_S
    ) -> None:
        self._layers = tuple(layers)
        self._timeout = timeout

    @classmethod
    def load(cls, settings: Settings) -> MiddlewareStack:
        """Import and build the registered classes. Raises MisconfiguredError naming the class."""
        points = [f"{point.module}:{point.attr}" for point in entry_points(group=GROUP)]
        targets = dict.fromkeys([*points, *settings.middleware])
        return cls([_build(target) for target in targets])

    async def before_job(self, job: JobInfo) -> None:
        """Call the hooks. Raises the SpeechFleetError with which one refuses the job."""
        for layer in self._layers:
            if (error := await self._observed(layer, "before_job", job)) is not None:
                raise error

    async def before_call(self, job: JobInfo, text: str) -> str:
        for layer in self._layers:
            name = f"{type(layer).__name__}.before_call"
            try:
                async with asyncio.timeout(self._timeout):
                    changed = await layer.before_call(job, text)
            except SpeechFleetError:
                raise
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
                raise MiddlewareFailed(f"the hook {name} failed: {said}") from error
            if not isinstance(changed, str) or not changed.strip():
                raise MiddlewareFailed(
                    f"the hook {name} returned {changed!r}: it must return the text to speak",
                    retryable=False,
                )
            text = changed
        return text

    async def after_segment(self, job: JobInfo, segment: SegmentInfo) -> None:
        for layer in reversed(self._layers):
            await self._observed(layer, "after_segment", job, segment)

    async def after_job(self, job: JobInfo, outcome: JobOutcome) -> None:
        for layer in reversed(self._layers):
            await self._observed(layer, "after_job", job, outcome)

    def __bool__(self) -> bool:
        return bool(self._layers)

    async def _observed(
        self, layer: Middleware, hook: str, job: JobInfo, *arguments: object
    ) -> SpeechFleetError | None:
        """Call a hook that changes nothing; log its error, and return it if it is one of ours."""
        try:
            async with asyncio.timeout(self._timeout):
                await getattr(layer, hook)(job, *arguments)
        except Exception as error:
            name = f"{type(layer).__name__}.{hook}"
            log.exception("the hook %s failed", name, extra={"job": job.id})
            return error if isinstance(error, SpeechFleetError) else None
        return None


def _build(target: str) -> Middleware:
    module, _, name = target.partition(":")
    try:
        kind = getattr(import_module(module), name)
        layer = kind()
    except Exception as error:
        raise MisconfiguredError(
            f"SPEECHFLEET_MIDDLEWARE: {target}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(layer, Middleware):
        raise MisconfiguredError(
            f"SPEECHFLEET_MIDDLEWARE: {target} is no subclass of "
            "speechfleet_worker.middleware.Middleware"
        )
    return layer
