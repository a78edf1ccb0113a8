"""The base of the wire servers: speech that can be foretold, a ledger, and faults by script.

    WireServer                     what every protocol shares: speech, pace, ledger, script
    ├── http_server.HttpServer     HTTP/1.1 on bare sockets: OpenAI, Gemini, DashScope
    └── dashscope_realtime_server  WebSocket

A server listens on loopback at a free port. Each spoken call takes the next entry of the
script (None: nothing goes wrong) and is written into the ledger, so that a test can count what
a provider would have billed and see when a client went away.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from array import array
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from math import pi, sin
from types import TracebackType
from typing import Any, ClassVar, Literal, Protocol, Self

HTTP_FAULTS = frozenset(
    {
        *("status", "drop_before", "json_error_200", "empty_body"),
        *("slow_first_byte", "stall", "drop_middle", "early_end", "odd_bytes"),
        *("malformed_frame", "error_frame", "giant_frame", "wrong_rate"),
    }
)
HARMLESS = frozenset({"slow_first_byte", "giant_frame", "wrong_rate"})
UNCUT = HARMLESS | {"none", "odd_bytes"}
"""Any other kind strikes after ``after`` bytes."""


@dataclass(frozen=True)
class Fault:
    """A fault of one call.

    | kind | the server |
    |---|---|
    | ``status`` | answers ``status`` with the provider's error body and ``retry_after`` |
    | ``drop_before`` | closes the connection before it answers |
    | ``drop_middle`` | resets it after ``after`` bytes of audio |
    | ``stall`` | falls silent after ``after`` bytes, connection open, until the client leaves |
    | ``slow_first_byte`` | sends the first audio only after ``seconds`` |
    | ``malformed_frame`` | sends a frame that does not parse after ``after`` bytes |
    | ``error_frame`` | sends the protocol's own error message after ``after`` bytes |
    | ``early_end`` | ends after ``after`` bytes without the protocol's word for "done" |
    | ``giant_frame`` | sends all audio in one frame (make the text long: > 512 KiB on the wire) |
    | ``wrong_rate`` | speaks, and says that it speaks, at ``rate`` |
    | ``json_error_200`` | answers 200 with an error in JSON |
    | ``empty_body`` | answers 200 with nothing |
    | ``odd_bytes`` | ends in the middle of a sample |

    A protocol may know further kinds: `WireServer.faults`.
    """

    kind: str
    status: int = 500
    code: str = ""
    message: str = "scripted fault"
    retry_after: str | None = None
    after: int = 4800
    seconds: float = float("inf")
    rate: int = 48_000


class Dropped(Exception):
    """Raised by a handler: the connection is reset without another byte."""


@lru_cache(maxsize=4096)
def _tone(character: str, sample_rate: int, milliseconds: int) -> bytes:
    count = sample_rate * milliseconds // 1000
    if character.isspace():
        return bytes(2 * count)
    step = 2 * pi * (200 + ord(character) * 37 % 1800) / sample_rate
    # Fades in and out over the character, so that joints do not click.
    wave = (int(8000 * sin(pi * i / count) * sin(step * i)) for i in range(count))
    return array("h", wave).tobytes()


def speech(text: str, sample_rate: int = 24_000, milliseconds: int = 60) -> bytes:
    """Make the s16le mono PCM that every wire server speaks for ``text``.

    ``milliseconds`` a character; the audio of a text begins with the audio of its prefixes.
    """
    return b"".join(_tone(character, sample_rate, milliseconds) for character in text)


@dataclass
class Call:
    """Notes a spoken call in the ledger. Used as a context manager by the handler that answers it.

    ``characters`` are in the provider's billing unit; they count once ``billed``, which is
    when speaking begins. ``outcome``: ``finished`` as the protocol wants it, ``failed`` by a
    fault, ``aborted`` because the client went away.
    """

    request: dict[str, Any]
    text: str
    characters: int
    key: str = ""
    fault: Fault | None = None
    billed: bool = False
    bytes_sent: int = 0
    outcome: Literal["open", "finished", "failed", "aborted"] = "open"
    _changed: Callable[[], None] = field(default=lambda: None, repr=False)

    def hit_by(self, *kinds: str) -> bool:
        return self.fault is not None and self.fault.kind in kinds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        spoiled = self.fault is not None and self.fault.kind not in HARMLESS
        if kind is None:
            self.outcome = "failed" if spoiled else "finished"
        else:
            self.outcome = "failed" if issubclass(kind, Dropped) else "aborted"
        self._changed()


class Limit(Protocol):
    """The limit of an account; see `speechfleet_worker.testing.limit`."""

    def fault(self) -> Fault | None:
        """Choose the fault of the next call: None where it is allowed."""


class WireServer(ABC):
    """A provider on loopback. ``async with Server() as server``, or ``with Server().thread()``.

    ``milliseconds`` of speech a character; ``pace``: seconds of wall time a second of audio
    takes (1.0 real time, 0 at once); ``latency``: seconds before the first audio; ``keys``: who
    may call, empty for anybody; ``limit``: what refuses calls beyond it. While ``may_speak`` is
    cleared, calls wait for their first audio. Holds hundreds of connections at once.
    """

    faults: ClassVar[frozenset[str]] = HTTP_FAULTS

    def __init__(
        self,
        *,
        milliseconds: int = 60,
        pace: float = 0.0,
        latency: float = 0.0,
        sample_rate: int = 24_000,
        chunk_milliseconds: int = 100,
        keys: Collection[str] = (),
        port: int = 0,
        limit: Limit | None = None,
    ) -> None:
        self.milliseconds = milliseconds
        self.pace = pace
        self.latency = latency
        self.sample_rate = sample_rate
        self.chunk_milliseconds = chunk_milliseconds
        self.keys = frozenset(keys)
        self.port = port
        self.limit = limit
        self.may_speak = asyncio.Event()
        self.may_speak.set()
        self.calls: list[Call] = []
        self._script: deque[Fault | None] = deque()
        self._waiting: set[asyncio.Event] = set()

    # --- life

    @abstractmethod
    async def start(self) -> None:
        """Listen on 127.0.0.1 and set ``port``."""

    @abstractmethod
    async def stop(self) -> None:
        """Close every connection and stop listening; idempotent."""

    @property
    def url(self) -> str:
        """Return the root of the server, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a worker to this server."""
        return {}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @contextlib.contextmanager
    def thread(self) -> Iterator[Self]:
        """Run the server on a loop and a thread of its own, for programs that are not async."""
        loop = self._thread_loop = asyncio.new_event_loop()
        runner = threading.Thread(target=loop.run_forever, name=type(self).__name__, daemon=True)
        runner.start()
        try:
            asyncio.run_coroutine_threadsafe(self.start(), loop).result(60)
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self.stop(), loop).result(60)
            asyncio.run_coroutine_threadsafe(_end_tasks(), loop).result(60)
            loop.call_soon_threadsafe(loop.stop)
            runner.join(60)
            loop.close()

    # --- the ledger and the script

    def script(self, *faults: Fault | None) -> None:
        """Give the next calls these faults, one each; later calls go well again."""
        for fault in faults:
            if fault is not None and fault.kind not in self.faults:
                raise ValueError(f"{type(self).__name__} has no fault {fault.kind!r}")
        self._script.extend(faults)

    @property
    def characters(self) -> int:
        """Billed so far, in the provider's unit."""
        return sum(call.characters for call in self.calls if call.billed)

    def count(self, text: str) -> int:
        """Count in the billing unit: code points, unless a protocol counts otherwise."""
        return len(text)

    def begin(self, request: dict[str, Any], text: str, key: str = "") -> Call:
        """Begin a new entry of the ledger, with the next fault of the script."""
        fault = self._script.popleft() if self._script else None
        if self.limit is not None and fault is None:
            fault = self.limit.fault()
        call = Call(request, text, self.count(text), key, fault, _changed=self._notify)
        self.calls.append(call)
        self._notify()
        return call

    async def until(self, condition: Callable[[Self], bool], timeout: float = 60.0) -> None:
        """Wait for the ledger to fulfil ``condition``; TimeoutError. On the server's loop."""
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            async with asyncio.timeout(timeout):
                while not condition(self):
                    changed.clear()
                    await changed.wait()
        finally:
            self._waiting.discard(changed)

    def wait(self, condition: Callable[[Self], bool], timeout: float = 60.0) -> None:
        """`until`, for a program that is not async and runs the server by `thread`."""
        waiting = self.until(condition, timeout)
        asyncio.run_coroutine_threadsafe(waiting, self._thread_loop).result()

    def _notify(self) -> None:
        for changed in self._waiting:
            changed.set()

    # --- speech

    def rate(self, call: Call) -> int:
        return call.fault.rate if call.fault and call.hit_by("wrong_rate") else self.sample_rate

    async def pieces(self, call: Call, text: str | None = None) -> AsyncGenerator[bytes, None]:
        """Yield the call's speech in pieces, at the pace, as far as its fault allows.

        Raises Dropped. After ``early_end``, ``malformed_frame``, ``error_frame`` and a
        protocol's own faults it just ends: what to send in place of the rest is its matter.
        """
        rate, fault = self.rate(call), call.fault or Fault("none")
        audio = speech(call.text if text is None else text, rate, self.milliseconds)
        call.billed = True
        if fault.kind == "odd_bytes":
            audio = audio[:-1]
        end = len(audio) if fault.kind in UNCUT else min(fault.after, len(audio))
        step = end if fault.kind == "giant_frame" else 2 * rate * self.chunk_milliseconds // 1000
        await self.may_speak.wait()
        await asyncio.sleep(self.latency)
        if fault.kind == "slow_first_byte":
            await _sleep(fault.seconds)
        for start in range(0, end, step or 1):
            piece = audio[start : min(start + step, end)]
            call.bytes_sent += len(piece)
            yield piece
            self._notify()
            if self.pace:
                await asyncio.sleep(self.pace * len(piece) / (2 * rate))
        if fault.kind == "drop_middle":
            raise Dropped
        if fault.kind == "stall":
            await _sleep(float("inf"))


async def _sleep(seconds: float) -> None:
    """For ever where ``seconds`` is infinite: until the client's leaving cancels the handler."""
    if seconds == float("inf"):
        await asyncio.Event().wait()
    await asyncio.sleep(seconds)


class NoServer(WireServer):
    """Stands where a provider has no server: a voice on this machine, a model in tests."""

    faults = frozenset()

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass


class DeafServer(WireServer):
    """Listens and never accepts: connecting to it hangs until the connect time-out.

    Linux drops the SYNs of a listener whose queue of connections is full.
    """

    faults = frozenset()

    async def start(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(0)
        self.port = self._listener.getsockname()[1]
        self._waiting_in_line = [socket.socket() for _ in range(2)]
        for client in self._waiting_in_line:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", self.port))

    async def stop(self) -> None:
        for each in (*self._waiting_in_line, self._listener):
            each.close()


async def _end_tasks() -> None:
    """End what still serves a connection: nobody would close its socket after the loop."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
