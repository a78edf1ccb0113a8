"""Which of several replies a model object serves: AgentScope does not tell them apart."""

from __future__ import annotations

import asyncio
from weakref import WeakSet


class Replies:
    """Admits a reply at a time, known by the task that began it; others meanwhile are mute."""

    def __init__(self) -> None:
        self._owner: asyncio.Task[object] | None = None
        self._mute: WeakSet[asyncio.Task[object]] = WeakSet()
        self._abandoned = 0

    @property
    def began(self) -> bool:
        return self._owner is not None

    def begin(self) -> bool:
        """Begin a reply; False where another one is being spoken.

        A task that begins another one has left the first: that is only noticed later, when
        the garbage collector finds its generator.
        """
        task = asyncio.current_task()
        if self._owner is not None:
            if self._owner is not task and not self._owner.done():
                if task is not None:
                    self._mute.add(task)
                return False
            self._abandoned += 1
        self._owner = task
        return True

    def end(self) -> bool:
        """End the calling task's reply; False where that one had no sound."""
        task = asyncio.current_task()
        if task is not None and task in self._mute:
            self._mute.discard(task)
            return False
        self._owner = None
        return True

    def is_mute(self) -> bool:
        """Tell whether the calling task's reply has no sound."""
        return asyncio.current_task() in self._mute

    def was_abandoned(self, kind: type[BaseException] | None) -> bool:
        """Tell whether it is the end of a reply that another one has followed already."""
        if kind is GeneratorExit and self._abandoned:
            self._abandoned -= 1
            return True
        return False
