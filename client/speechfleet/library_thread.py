"""A thread of its own for a library that no two calls may enter at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class LibraryThread:
    """Calls functions one after the other, in the order of the calls.

    The thread starts with the first call, hence after any fork; a child that is forked later
    starts anew. ``forget`` drops there what the parent had loaded.
    """

    def __init__(self, name: str, forget: Callable[[], object]) -> None:
        self._name = name
        self._forget = forget
        self._executor = self._new_executor()
        os.register_at_fork(after_in_child=self._start_anew)

    def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call ``function`` in the thread."""
        return self._executor.submit(function, *args, **kwargs)

    def _start_anew(self) -> None:
        self._executor = self._new_executor()
        self._forget()

    def _new_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max_workers=1, thread_name_prefix=self._name)
