"""The way of an AgentScope model or middleware to its fleet: a client, sessions, errors."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import Any

from speechfleet.chunks import Chunk
from speechfleet.client import AsyncClient
from speechfleet.errors import SpeechFleetError
from speechfleet.job import AsyncJob
from speechfleet.loop_client import shared_client
from speechfleet.session import AsyncSession
from speechfleet.tts import Msg

OF_STREAM = frozenset({"sample_rate", "first_audio_timeout"})
"""Keywords of a session that belong to the stream of a job."""
OF_SESSION = OF_STREAM | {"open_timeout", "name"}

log = logging.getLogger("speechfleet.integrations.agentscope")


class Speaking:
    """Makes the sessions of one model and voice. Nothing is connected before the first one.

    ``client``: used where it is given (and opened on the loop that speaks, if it is not yet);
    else the loop's `shared_client`, with ``overrides`` of its settings. ``keywords``: as for
    `AsyncClient.session`.
    """

    def __init__(
        self,
        model: str,
        voice: str,
        *,
        client: AsyncClient | None,
        strict: bool,
        overrides: dict[str, str | None] | None = None,
        **keywords: Any,
    ) -> None:
        # Language models write markdown.
        usual = {"model": model or None, "voice": voice, "speakable": "markdown"}
        self.keywords: dict[str, Any] = {**usual, **keywords}
        self._given = client
        self._overrides = overrides or {}
        self._strict = strict

    async def submit(self, text: str) -> tuple[AsyncJob, AsyncGenerator[Chunk, None]]:
        """Submit a text that is whole; return its job, and its audio, never taken back."""
        client = await self.client()
        of_job = {k: v for k, v in self.keywords.items() if k not in OF_SESSION}
        heard = {k: v for k, v in self.keywords.items() if k in OF_STREAM}
        job = await client.submit(Msg("", text), **of_job)
        return job, job.stream(linear=True, **heard)

    async def client(self) -> AsyncClient:
        """Return the client of the running loop, open. Raises SpeechFleetError."""
        if self._given is None:
            return await shared_client(**self._overrides)
        await self._given.open()
        return self._given

    async def open_session(self, id: str | None = None) -> AsyncSession:
        """Open a session that never takes audio back: players cannot un-hear."""
        client = await self.client()
        session = client.session(id=id, linear=True, **self.keywords)
        await session.open()
        return session

    def give_up(self, error: SpeechFleetError) -> None:
        """Log an error, because the words matter more than their sound; raise it if strict."""
        if self._strict:
            raise error
        log.warning("the reply goes on without speech: %s: %s", error.code, error)


async def leave(session: AsyncSession, *, heard: bool) -> None:
    """End a session: what was not heard to its end is wanted by nobody."""
    try:
        if not heard:
            await session.interrupt()
    finally:
        await session.close()
