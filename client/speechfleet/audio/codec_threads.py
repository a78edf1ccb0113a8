"""Run the steps of a codec in threads: one step of a codec at a time, tenants in turn.

A codec of FFmpeg that is closed or used by one thread while another works in it ends the whole
process. So a codec belongs to one `CodecSteps`, which alone touches it: steps run one after
the other, and the release of the codec is a step like any other, behind whatever runs.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress


class FairThreads:
    """A few threads, shared by tenants in turn (round robin).

    A tenant with a hundred waiting steps delays another tenant's step by one step, not by a
    hundred.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()
        self._pool: ThreadPoolExecutor | None = None

    def run(self, step: Callable[[], None], tenant: str = "") -> None:
        """Run ``step`` in a thread, when it is the tenant's turn; it must not raise."""
        with self._lock:
            self._waiting.setdefault(tenant, deque()).append(step)
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="codec")
            self._pool.submit(self._run_next)

    def forget_threads(self) -> None:
        """Start anew in a forked child, which has none of its parent's threads."""
        self._lock = threading.Lock()
        self._waiting.clear()
        self._pool = None

    def _run_next(self) -> None:
        with self._lock:
            tenant, steps = self._waiting.popitem(last=False)
            step = steps.popleft()
            if steps:  # behind the other tenants
                self._waiting[tenant] = steps
        step()


CODEC_THREADS = FairThreads(max(2, os.cpu_count() or 1))
"""The threads of this process in which audio is encoded and resampled."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=CODEC_THREADS.forget_threads)


class CodecSteps:
    """The steps of one codec, run in order, never two at once; then its release.

    `close` may be called at any time, from any thread, any number of times, and never waits.
    """

    def __init__(
        self, release: Callable[[], None], tenant: str = "", threads: FairThreads = CODEC_THREADS
    ) -> None:
        self._release = release
        self._tenant = tenant
        self._threads = threads
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[bytes], Callable[[], bytes]]] = deque()
        self._is_running = False
        self._is_closed = False
        self.released: Future[None] = Future()
        """Done once the codec is released."""

    def submit(self, step: Callable[[], bytes]) -> Future[bytes]:
        """Queue a step; RuntimeError once the codec is closed."""
        future: Future[bytes] = Future()
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the encoder is closed")
            self._waiting.append((future, step))
            if self._is_running:
                return future
            self._is_running = True
        self._threads.run(self._run_one, self._tenant)
        return future

    def close(self) -> None:
        """Drop the steps that have not begun, and release the codec after the one that has."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            dropped = [future for future, _ in self._waiting]
            self._waiting.clear()
            is_free = not self._is_running
        for future in dropped:
            future.cancel()
        if is_free:
            self._release_codec()

    def _run_one(self) -> None:
        with self._lock:
            future, step = self._waiting.popleft() if self._waiting else (None, None)
        if future is not None and step is not None and future.set_running_or_notify_cancel():
            try:
                future.set_result(step())
            except Exception as error:  # noqa: BLE001 # raised where the step is awaited
                future.set_exception(error)
        with self._lock:
            has_more = bool(self._waiting)
            self._is_running = has_more
            is_last = self._is_closed and not has_more
        if has_more:
            self._threads.run(self._run_one, self._tenant)
        elif is_last:
            self._release_codec()

    def _release_codec(self) -> None:
        with suppress(Exception):  # a codec that broke is gone in any case
            self._release()
        self.released.set_result(None)
