"""Speak an utterance over a WebSocket: a session, and its audio as messages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import aclosing
from typing import Any

from speechfleet.errors import IllegalText, SpeechFleetError, TextTooLong
from speechfleet.gateway.sockets.admission import SocketContext
from speechfleet.gateway.sockets.error_messages import text_error
from speechfleet.gateway.sockets.json_socket import JsonSocket
from speechfleet.gateway.sockets.sentence_events import SentenceEvents
from speechfleet.gateway.sockets.text_config import TextConfig
from speechfleet.session import AsyncSession

log = logging.getLogger(__name__)

FILE_TEXT = 10_000
"""Characters of an utterance that is sent as files, which are held until they are whole."""


class Utterance:
    """A text that is spoken while it comes. `open` it, then let `speak` run beside its text."""

    def __init__(
        self, context: SocketContext, socket: JsonSocket, config: TextConfig, index: int
    ) -> None:
        self._context = context
        self._socket = socket
        self._config = config
        self._index = index
        self._session: AsyncSession | None = None
        self._skip = 0
        self._complete = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._failure: SpeechFleetError | None = None
        self._is_failure_sent = False
        self._heard: int | None = None
        self._is_over = False

    @property
    def is_complete(self) -> bool:
        """Tell whether no further text comes."""
        return self._complete.is_set()

    # --- text -------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the session; a failure is sent by `speak`."""
        await self._open(await self._config.session(self._context))

    async def resume(self, id: str, offset: int) -> None:
        """Go on with the session of a socket that was lost. Raises what opening it raises."""
        session = await self._config.session(self._context, id)
        await session.open()
        self._session, self._skip = session, offset
        if not (await session.job.record()).request.open:
            self._complete.set()
        await self._announce("session.resumed", text=session.text, complete=self.is_complete)

    async def say(self, text: str) -> None:
        """Add text. A failed utterance takes no more; that was sent already.

        Raises TextTooLong, IllegalText, and the utterance goes on.
        """
        if self._session is None or self._failure is not None or self._heard is not None:
            return
        self._check_length(len(self._session.text) + len(text))
        try:
            await self._session.say(text)
        except (TextTooLong, IllegalText):
            raise
        except SpeechFleetError as error:
            await self._fail(error)

    async def complete(self) -> None:
        """End the text."""
        if self._session is not None and self._failure is None and self._heard is None:
            try:
                await self._session.complete()
            except SpeechFleetError as error:
                await self._fail(error)
        self._complete.set()

    def _check_length(self, length: int) -> None:
        """Raise TextTooLong where the text would be too long for this socket."""
        limit, setting = self._context.settings.gateway_text, "SPEECHFLEET_GATEWAY_TEXT"
        if not self._config.is_pcm_stream and limit > FILE_TEXT:
            limit, setting = FILE_TEXT, "more by stream_audio=true and response_format='pcm'"
        if length > limit:
            raise TextTooLong(
                f"the text of an utterance has at most {limit:,} characters here ({setting})"
            )

    async def _fail(self, error: SpeechFleetError) -> None:
        """Keep the first error for `speak` to send, and end the session."""
        self._failure = self._failure or error
        if self._session is not None:
            with contextlib.suppress(SpeechFleetError):
                await self._session.close()

    async def interrupt(self, played: int | None) -> None:
        """Stop it; ``played``: bytes of its PCM that were heard."""
        self._heard = 0
        self._settled.clear()
        try:
            if self._session is not None and not self._is_over:
                try:
                    self._heard = await self._session.interrupt(played)
                except SpeechFleetError as error:
                    await self._fail(error)
        finally:
            self._settled.set()
            self._complete.set()

    # --- audio ------------------------------------------------------------------------------

    async def speak(self) -> None:
        """Send all messages of the utterance, to ``session.done``. Raises SocketLeft."""
        events = SentenceEvents(
            self._socket, self._config, self._about, lambda: self._session_text,
            skip=self._skip, tenant=self._context.caller.namespace,
        )  # fmt: skip
        try:
            try:
                await self._send_audio(events)
            except SpeechFleetError as error:
                await self._fail(error)
            await self._send_failure(events)
            await self._complete.wait()  # of a session whose text was empty, or broke off
            await self._settled.wait()
            await self._send_failure(events)
            await events.end()
        finally:
            events.close()
        done: dict[str, Any] = {"total_sentences": events.sentences}
        if self._failure is not None:
            done["error"] = True
        if self._heard is not None:
            done |= {"interrupted": True, "heard": self._heard}
        self._is_over = True
        await self._socket.send({"type": "session.done", **self._about, **done})

    async def leave(self) -> None:
        """Free what it holds once its client is gone: a resumable session stays for a while."""
        session, is_over = self._session, self._is_over
        if session is None:
            return
        try:
            if self._config.resumable and not is_over and self._heard is None:
                await session.leave()
                return
            await session.close()
            if self.is_complete and not is_over and self._context.settings.gateway_cancel:
                await session.job.cancel("its listener left")
        except SpeechFleetError as error:
            log.warning("not freed: %s", error, extra={"job": session.id})

    @property
    def _about(self) -> dict[str, Any]:
        """Return what every message names."""
        job = {} if self._session is None else {"job_id": self._session.id}
        return {"utterance_index": self._index, **job}

    @property
    def _session_text(self) -> str:
        return self._session.text if self._session is not None else ""

    async def _open(self, session: AsyncSession) -> None:
        try:
            await session.open()
        except SpeechFleetError as error:
            await self._fail(error)
            return
        self._session = session
        if self._config.resumable:
            await self._announce("session.opened")

    async def _announce(self, type: str, **fields: object) -> None:
        await self._socket.send({"type": type, **self._about, **fields})

    async def _send_audio(self, events: SentenceEvents) -> None:
        if self._session is None:
            return
        chunks = self._session.listen()
        async with aclosing(chunks):
            async for chunk in chunks:
                if self._heard is not None:
                    break
                await events.take(chunk)

    async def _send_failure(self, events: SentenceEvents) -> None:
        """Send the failure, once, and end the sentence that it breaks off."""
        if self._failure is None or self._is_failure_sent:
            return
        self._is_failure_sent = True
        fields = {"partial_audio": True, "action": "discard"} if events.is_within_sentence else {}
        await self._socket.send({**text_error(self._failure), **self._about, **fields})
        await events.end(failed=True)
