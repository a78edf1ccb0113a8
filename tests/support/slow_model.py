"""Somebody's own model class, as the tests of faults need it: paced, predictable, on record.

Registered for the workers by ``SPEECHFLEET_PROVIDERS=slow=tests.support.slow_model:SlowModel``.
Its audio follows from the text alone (`audio`), so that what a fleet delivers after an accident
can be compared byte for byte with what it would have delivered without one. Every call is told
to the pipe that ``SLOW_MODEL_LEDGER`` names: what the provider was asked, by whom, and how it
ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, ClassVar

from speechfleet import AudioBlock, Msg, TTSModelBase, TTSResponse
from speechfleet.errors import ProviderUnavailable, RateLimited, RequestRejected
from speechfleet_worker.providers.base import Capabilities

LEDGER = "SLOW_MODEL_LEDGER"
RATE = 24_000
CHUNK = 4_800
"""Bytes of audio in a chunk: 0.1 s."""
HELD_POLL_S = 0.02
FAILURES = {
    "unavailable": ProviderUnavailable("the provider is down"),
    "limited": RateLimited("too many requests", retry_after=0.05),
    "rejected": RequestRejected("these words are not spoken here"),
}
TUTORIAL = (*range(20_480, 286_721, 20_480), 291_840, 291_840)
"""Lengths of the base64 that AgentScope's tutorial prints for one streamed message."""


def audio(text: str, size: int) -> bytes:
    """The ``size`` bytes that the model says for ``text``."""
    return hashlib.shake_256(text.encode()).digest(size)


def tell(event: str, text: str) -> None:
    """One line to the ledger, at once; lines this short are never mixed up."""
    if path := os.environ.get(LEDGER):
        line = json.dumps({"event": event, "text": text, "pid": os.getpid()}) + "\n"
        ledger = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(ledger, line.encode())
        os.close(ledger)


class SlowModel(TTSModelBase):
    """Says ``chunks`` chunks, ``pace`` seconds before each.

    ``fail`` names what the first ``failures`` calls for a text in this process end in.
    After the first chunk: ``die``, end the whole process, by ``"signal"`` 9 or by ``"exit"``;
    ``stall``, never say another word. ``held``: a file that must be there before the last chunk
    is said, of the texts that begin with ``held_start``. ``words``: tell their times, see
    `times_of_words`. Model names: ``paced``, or ``tutorial`` for AgentScope's own lengths.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(input_limit=10_000, sample_rate=RATE)
    _failed: ClassVar[Counter[str]] = Counter()

    def __init__(
        self,
        model_name: str,
        stream: bool = True,
        voice: str = "",
        *,
        pace: float = 0.02,
        chunks: int = 5,
        fail: str = "",
        failures: int = 1_000_000,
        die: str = "",
        stall: bool = False,
        held: str = "",
        held_start: str = "",
        words: bool = False,
    ) -> None:
        super().__init__(model_name, stream)
        self._pace = pace
        self._sizes = [CHUNK * (n + 1) for n in range(chunks)]
        if model_name == "tutorial":
            self._sizes = [length // 4 * 3 for length in TUTORIAL]
        self._fail, self._failures = fail, failures
        self._die, self._stall = die, stall
        self._held, self._held_start = held, held_start
        self._words = words

    async def synthesize(
        self, msg: Msg | None = None, **kwargs: Any
    ) -> TTSResponse | AsyncGenerator[TTSResponse, None]:
        assert msg is not None
        return self._say(msg.text())

    async def _say(self, text: str) -> AsyncGenerator[TTSResponse, None]:
        tell("start", text)
        last = False
        try:
            if self._fail and self._failed[text] < self._failures:
                self._failed[text] += 1
                raise FAILURES[self._fail]
            for number, size in enumerate(self._sizes):
                await asyncio.sleep(self._pace)
                if last := number == len(self._sizes) - 1:
                    await self._released(text)
                    tell("end", text)
                response = _response(audio(text, size), is_last=last)
                if self._words and last:
                    response.metadata = {"words": times_of_words(text, size)}
                yield response
                if self._die == "signal":
                    os.kill(os.getpid(), signal.SIGKILL)
                if self._die == "exit":
                    sys.exit(3)
                if self._stall:
                    await asyncio.Event().wait()
        except (GeneratorExit, asyncio.CancelledError):
            if not last:
                tell("closed", text)
            raise

    async def _released(self, text: str) -> None:
        """Wait for the file; there is no channel from a test into a worker."""
        if not text.startswith(self._held_start):
            return
        while self._held and not Path(self._held).exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(HELD_POLL_S)


def times_of_words(text: str, size: int) -> list[list[float]]:
    """[text_start, text_end, start, end] of each word: code points, and seconds of the audio."""
    words = [match.span() for match in re.finditer(r"\w+", text)]
    each = size / 2 / RATE / len(words)
    return [[*span, n * each, (n + 1) * each] for n, span in enumerate(words)]


def _response(pcm: bytes, *, is_last: bool) -> TTSResponse:
    data = b64encode(pcm).decode()
    return TTSResponse(
        AudioBlock(
            type="audio",
            source={"type": "base64", "media_type": f"audio/pcm;rate={RATE}", "data": data},
        ),
        is_last=is_last,
    )
