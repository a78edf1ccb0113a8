"""``/v1/audio/speech/stream``: text in by pieces over a WebSocket, audio out meanwhile.

The messages are those of vLLM-Omni's socket of this path, with extensions: the id of the job,
``session.interrupt``, and ``?resume=ID&offset=BYTES`` after a socket was lost.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.websockets import WebSocket

from speechfleet.errors import InvalidRequest, SpeechFleetError
from speechfleet.gateway.sockets.admission import SocketContext, admit
from speechfleet.gateway.sockets.error_messages import text_error
from speechfleet.gateway.sockets.json_socket import (
    INTERNAL,
    POLICY,
    TRY_LATER,
    JsonSocket,
    MessageRefused,
    NoMessage,
    SocketLeft,
)
from speechfleet.gateway.sockets.text_config import TextConfig
from speechfleet.gateway.sockets.utterance import Utterance
from speechfleet.json_numbers import is_whole_number

router = APIRouter()
MAX_UTTERANCES = 8
"""Utterances that may wait to be spoken."""


@router.websocket("/v1/audio/speech/stream")
async def speak_text(websocket: WebSocket, resume: str = "", offset: int = 0) -> None:
    """Speak text while it comes."""

    async def serve(context: SocketContext, socket: JsonSocket) -> None:
        await TextConversation(context, socket, resume, max(0, offset)).run()

    await admit(websocket, serve, text_error)


class TextConversation:
    """Read the messages of one socket, and speak its utterances one after another."""

    def __init__(
        self, context: SocketContext, socket: JsonSocket, resume: str, offset: int
    ) -> None:
        self._context = context
        self._socket = socket
        self._resume, self._offset = resume, offset
        self._config: TextConfig | None = None
        self._open: Utterance | None = None
        self._waiting: asyncio.Queue[Utterance] = asyncio.Queue()
        self._unfinished: list[Utterance] = []
        self._count = 0

    async def run(self) -> None:
        """Serve the socket until either side ends it."""
        tasks = [asyncio.create_task(work) for work in (self._read(), self._speak())]
        code = 1000
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for utterance in self._unfinished:
                await utterance.leave()
            broken = [each for each in results if isinstance(each, Exception)]
            broken = [each for each in broken if not isinstance(each, SocketLeft)]
            code = next((each for each in results if isinstance(each, int)), code)
            await self._socket.close(INTERNAL if broken else code)
        if broken:
            raise broken[0]

    # --- messages ---------------------------------------------------------------------------

    async def _read(self) -> int:
        """Return the code to close with."""
        settings = self._context.settings
        while True:
            is_configured = self._config is not None
            within = (
                settings.gateway_socket_idle if is_configured else settings.gateway_socket_config
            )
            try:
                await self._take(await self._socket.receive(within))
            except _Closed:
                return 1000
            except NoMessage as error:
                if is_configured and self._is_speaking:
                    continue
                await self._socket.send(text_error(error))
                return POLICY
            except SpeechFleetError as error:
                await self._socket.send(text_error(error))
                if self._config is None:
                    return TRY_LATER if error.retryable else POLICY

    @property
    def _is_speaking(self) -> bool:
        """Tell whether an utterance whose text is there is not spoken yet."""
        return any(utterance.is_complete for utterance in self._unfinished)

    async def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "session.config":
            await self._configure(message)
        elif self._config is None:
            raise MessageRefused(f"the first message must be session.config, not {kind[:40]!r}")
        elif kind == "input.text":
            await self._say(self._config, message.get("text"))
        elif kind == "input.done":
            await self._end_text(self._config)
        elif kind == "session.interrupt":
            await self._interrupt(message.get("played"))
        elif kind == "session.close":
            raise _Closed
        else:
            raise MessageRefused(f"there is no message {kind[:40]!r}")

    async def _configure(self, message: dict[str, Any]) -> None:
        if self._open is not None:
            raise MessageRefused(
                "session.config cannot come within an utterance: send input.done first",
                code="utterance_in_progress",
            )
        config = TextConfig.read(message)
        await config.session(self._context)  # names what is wrong with it
        if self._resume:
            utterance = self._begin(config)
            await utterance.resume(self._resume, self._offset)
            self._resume = ""
            self._open = None if utterance.is_complete else utterance
            self._add(utterance)
        self._config = config

    async def _say(self, config: TextConfig, text: object) -> None:
        if not isinstance(text, str):
            raise MessageRefused("input.text needs a 'text'")
        if not text:
            return
        if self._open is None:
            if len(self._unfinished) >= MAX_UTTERANCES:
                raise MessageRefused(
                    f"{MAX_UTTERANCES} utterances wait to be spoken: wait for session.done",
                    code="too_many_utterances",
                )
            self._open = self._begin(config)
            await self._open.open()
            self._add(self._open)
        await self._open.say(text)

    async def _end_text(self, config: TextConfig) -> None:
        utterance, self._open = self._open, None
        if utterance is None:  # nothing was said: answered in its turn
            utterance = self._begin(config)
            self._add(utterance)
        await utterance.complete()

    async def _interrupt(self, played: object) -> None:
        if not (played is None or (is_whole_number(played) and played >= 0)):
            raise InvalidRequest("'played' is a number of bytes of the utterance's PCM")
        self._open = None
        for place, utterance in enumerate(list(self._unfinished)):
            await utterance.interrupt(played if place == 0 else 0)

    # --- utterances -------------------------------------------------------------------------

    def _begin(self, config: TextConfig) -> Utterance:
        utterance = Utterance(self._context, self._socket, config, self._count)
        self._count += 1
        return utterance

    def _add(self, utterance: Utterance) -> None:
        self._unfinished.append(utterance)
        self._waiting.put_nowait(utterance)

    async def _speak(self) -> None:
        while True:
            utterance = await self._waiting.get()
            await utterance.speak()
            await utterance.leave()
            self._unfinished.remove(utterance)


class _Closed(Exception):
    """The client has asked for the end."""
