"""``/v1/realtime``: the part of OpenAI's realtime protocol that turns text into audio.

The text of a response is spoken word for word. There is no conversation, no audio in and no tool.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.websockets import WebSocket

from speechfleet.errors import InvalidRequest, SpeechFleetError
from speechfleet.gateway.offered_models import ModelInfo
from speechfleet.gateway.sockets.admission import SocketContext, admit
from speechfleet.gateway.sockets.error_messages import new_event_id, realtime_error
from speechfleet.gateway.sockets.json_socket import (
    INTERNAL,
    POLICY,
    JsonSocket,
    MessageRefused,
    NoMessage,
    SocketLeft,
)
from speechfleet.gateway.sockets.realtime_speech import RATE, RealtimeSpeech
from speechfleet.gateway.speech_order import check_text, openai_options, resolve_model
from speechfleet.gateway.voice_aliases import resolve_voice
from speechfleet.job import AsyncJob
from speechfleet.json_numbers import is_number

log = logging.getLogger(__name__)
router = APIRouter()
TEXT_PARTS = ("input_text", "text", "output_text")
"""Types of content that hold a text."""


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket, model: str = "") -> None:
    """Speak the texts of a realtime client."""

    async def serve(context: SocketContext, socket: JsonSocket) -> None:
        name = model or context.settings.default_model
        name = resolve_model(name, context.settings.gateway_aliases)
        described = (await context.models()).describe(name)
        await RealtimeConversation(context, socket, model, described).run()

    await admit(websocket, serve, realtime_error)


class RealtimeConversation:
    """Answer the events of one socket."""

    def __init__(
        self, context: SocketContext, socket: JsonSocket, asked: str, model: ModelInfo
    ) -> None:
        self._context = context
        self._socket = socket
        self._model = model
        self._session = _new_session(asked or model.name)
        self._items: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_speaking = False
        self._job: AsyncJob | None = None
        self._is_cancelled = False

    async def run(self) -> None:
        """Serve the socket until either side ends it."""
        code = 1000
        try:
            await self._send("session.created", session=self._session)
            code = await self._read()
        except SocketLeft:
            pass
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._socket.close(code)

    async def _send(self, type: str, **fields: Any) -> None:
        if type == "response.done":  # the next one may be asked for as soon as this is read
            self._is_speaking = False
        await self._socket.send({"type": type, "event_id": new_event_id(), **fields})

    # --- events of the client ---------------------------------------------------------------

    async def _read(self) -> int:
        """Return the code to close with."""
        while True:
            event: dict[str, Any] = {}
            try:
                event = await self._socket.receive(self._context.settings.gateway_socket_idle)
                await self._take(event)
            except NoMessage as error:
                if self._is_speaking:
                    continue
                await self._socket.send(realtime_error(error))
                return POLICY
            except SpeechFleetError as error:
                await self._socket.send(realtime_error(error, event.get("event_id")))

    async def _take(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                self._update(_object(event, "session"))
                await self._send("session.updated", session=self._session)
            case "conversation.item.create":
                await self._add_item(_object(event, "item"), event.get("previous_item_id"))
            case "conversation.item.delete":
                id = str(event.get("item_id"))
                self._items.pop(id, None)
                await self._send("conversation.item.deleted", item_id=id)
            case "conversation.item.truncate":
                fields = {name: event.get(name) for name in ("item_id", "content_index",
                                                             "audio_end_ms")}  # fmt: skip
                await self._send("conversation.item.truncated", **fields)
            case "response.create":
                await self._respond(_object(event, "response") if event.get("response") else {})
            case "response.cancel":
                await self._cancel()
            case "input_audio_buffer.clear":
                await self._send("input_audio_buffer.cleared")
            case other:
                raise MessageRefused(
                    f"{other[:60]!r} is not served here: this gateway speaks texts, and takes "
                    "session.update, conversation.item.create, response.create, response.cancel"
                )

    def _update(self, changes: Mapping[str, Any]) -> None:
        output = _output_of(changes)
        _check_format(output.get("format"))
        self._keywords(output)  # names what is wrong with voice and speed
        known = {key: value for key, value in changes.items() if key not in ("id", "object")}
        audio = self._session["audio"]
        known["audio"] = {**audio, "output": {**audio["output"], **output}}
        known["model"] = self._session["model"]
        self._session |= known

    async def _add_item(self, item: Mapping[str, Any], previous: object) -> None:
        id = str(item.get("id") or f"item_{uuid.uuid4().hex[:24]}")
        if item.get("role", "user") != "system":
            text = _text_of(item)
            size = sum(map(len, self._items.values())) + len(text)
            check_text(" " * size, self._context.settings)
            self._items[id] = text
        shown = {**item, "id": id, "object": "realtime.item", "status": "completed"}
        for kind in ("conversation.item.added", "conversation.item.done"):
            await self._send(kind, previous_item_id=previous, item=shown)

    async def _respond(self, order: Mapping[str, Any]) -> None:
        if self._is_speaking:
            raise MessageRefused(
                "a response is under way: cancel it, or wait for response.done",
                code="conversation_already_has_active_response",
            )
        output = _output_of(order)
        _check_format(output.get("format"))
        keywords = self._keywords({**self._session["audio"]["output"], **output})
        if isinstance(items := order.get("input"), list):
            text = "\n\n".join(self._input_text(item) for item in items)
        else:
            text, self._items = "\n\n".join(self._items.values()), {}
        check_text(text, self._context.settings)
        if not text.strip():
            raise InvalidRequest(
                "there is nothing to say: put a text into response.input, or create an item "
                "before; instructions are not spoken"
            )
        speech = RealtimeSpeech(self._send, text, order.get("metadata"))
        self._job, self._is_cancelled = None, False
        self._is_speaking = True
        task = asyncio.create_task(self._speak(speech, text, keywords))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _input_text(self, item: object) -> str:
        if not isinstance(item, dict):
            raise InvalidRequest("response.input is a list of items")
        if item.get("type") == "item_reference":
            return self._items.get(str(item.get("id")), "")
        return _text_of(item) if item.get("role", "user") != "system" else ""

    async def _speak(self, speech: RealtimeSpeech, text: str, keywords: dict[str, Any]) -> None:
        async with contextlib.AsyncExitStack() as stack:

            async def start() -> AsyncJob:
                context = self._context
                self._job = job = await context.client.submit(text, **keywords)
                cancel = context.settings.gateway_cancel
                listening = context.gateway.listeners.listening(context.client, job, cancel=cancel)
                await stack.enter_async_context(listening)
                if self._is_cancelled:
                    await job.cancel("cancelled by its client")
                return job

            try:
                await speech.run(start)
            except SocketLeft:
                return  # the reader learns of it as well
            except Exception:
                log.exception("a response broke")
                await self._socket.close(INTERNAL)

    async def _cancel(self) -> None:
        if not self._is_speaking:
            raise MessageRefused("no response is under way", code="response_cancel_not_active")
        self._is_cancelled = True
        if self._job is not None:
            await self._job.cancel("cancelled by its client")

    def _keywords(self, output: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keywords of `AsyncClient.submit`. Raises InvalidRequest."""
        settings, voice, speed = self._context.settings, output.get("voice"), output.get("speed")
        if isinstance(voice, dict):
            voice = voice.get("id")
        if not isinstance(voice, str | None) or not (speed is None or is_number(speed)):
            raise InvalidRequest("voice is a name, and speed a number")
        options = openai_options({}, self._model, instructions=None, speed=speed or 1.0,
                                 ignored=())  # fmt: skip
        name = resolve_voice(voice or "", self._model, settings.gateway_voices)
        return {"model": self._model.name, "voice": name, "lane": "live", "options": options}


def _new_session(model: str) -> dict[str, Any]:
    output = {"format": {"type": "audio/pcm", "rate": RATE}, "speed": 1.0}
    source = {"format": {"type": "audio/pcm", "rate": RATE}, "turn_detection": None}
    return {
        "id": f"sess_{uuid.uuid4().hex[:24]}",
        "object": "realtime.session",
        "type": "realtime",
        "model": model,
        "output_modalities": ["audio"],
        "instructions": "",
        "tools": [],
        "tool_choice": "none",
        "audio": {"input": source, "output": output},
    }


def _object(event: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = event.get(name)
    if not isinstance(value, dict):
        raise MessageRefused(f"{event['type']} needs an object {name!r}")
    return value


def _output_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``audio.output``; {} where there is none. Raises InvalidRequest."""
    audio = fields.get("audio") or {}
    output = (audio.get("output") or {}) if isinstance(audio, dict) else None
    if not isinstance(output, dict):
        raise InvalidRequest("audio and audio.output are objects")
    return output


def _check_format(format: object) -> None:
    """Raise InvalidRequest for any format but raw PCM at the usual rate."""
    if format is None or format == "pcm16":
        return
    rate = format.get("rate", RATE) if isinstance(format, dict) else None
    if isinstance(format, dict) and (format.get("type"), rate) == ("audio/pcm", RATE):
        return
    raise InvalidRequest(f"audio is sent as audio/pcm at {RATE} Hz, and in no other format")


def _text_of(item: Mapping[str, Any]) -> str:
    """Return the text of an item. Raises InvalidRequest."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise InvalidRequest("an item has a list of parts as its content")
    texts = [part.get("text") for part in content if part.get("type") in TEXT_PARTS]
    if not all(isinstance(text, str) for text in texts):
        raise InvalidRequest("a part of type input_text has a 'text'")
    return "\n\n".join(map(str, texts))
