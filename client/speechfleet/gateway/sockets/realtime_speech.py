"""Speak a response of the realtime protocol: a job, and its audio as events."""

from __future__ import annotations

import uuid
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

from speechfleet.errors import EmptyText, JobCancelled, JobFailed, SpeechFleetError
from speechfleet.gateway.sockets.error_messages import realtime_error
from speechfleet.gateway.sockets.json_socket import FRAME_BYTES
from speechfleet.job import AsyncJob

RATE = 24_000
"""The sample rate of audio/pcm in this protocol."""
DELTA_BYTES = FRAME_BYTES // 4 * 3
"""Bytes of PCM in one event: whole samples, and whole groups of base64."""

Send = Callable[..., Awaitable[None]]
"""Sends an event of a type, with fields."""


class RealtimeSpeech:
    """Speaks one text as a response. ``start`` submits the job."""

    def __init__(self, send: Send, text: str, metadata: object = None) -> None:
        self._send = send
        self._text = text
        self._metadata = metadata
        self._item = f"item_{uuid.uuid4().hex[:24]}"
        self._sent_text = 0
        self.id = f"resp_{uuid.uuid4().hex[:24]}"
        self.bytes = 0

    async def run(self, start: Callable[[], Awaitable[AsyncJob]]) -> None:
        """Send all events of the response, to ``response.done``. Raises SocketLeft."""
        place = {"response_id": self.id, "output_index": 0}
        part = {**place, "item_id": self._item, "content_index": 0}
        await self._send("response.created", response=self._response("in_progress"))
        await self._send("response.output_item.added", **place, item=self._item_of("in_progress"))
        empty = {"type": "audio", "transcript": ""}
        await self._send("response.content_part.added", **part, part=empty)
        status, details, job = "completed", None, None
        try:
            job = await start()
            await self._speak(job, part)
        except JobCancelled:
            status, details = "cancelled", {"type": "cancelled", "reason": "client_cancelled"}
        except SpeechFleetError as error:
            if not (isinstance(error, JobFailed) and error.code == EmptyText.code):
                message = realtime_error(error)
                status, details = "failed", {"type": "failed", "error": message["error"]}
                await self._send("error", error=message["error"])
        transcript = self._text if status == "completed" else self._text[: self._sent_text]
        await self._send("response.output_audio.done", **part)
        await self._send("response.output_audio_transcript.done", **part, transcript=transcript)
        spoken = {"type": "audio", "transcript": transcript}
        await self._send("response.content_part.done", **part, part=spoken)
        item = self._item_of("completed" if status == "completed" else "incomplete", transcript)
        await self._send("response.output_item.done", **place, item=item)
        usage = await self._usage(job)
        done = self._response(status, output=[item], status_details=details, usage=usage)
        await self._send("response.done", response=done)

    async def _speak(self, job: AsyncJob, part: dict[str, Any]) -> None:
        chunks = job.stream(accumulate=False, linear=True, sample_rate=RATE)
        async with aclosing(chunks):
            async for chunk in chunks:
                for mark in chunk.marks:
                    if mark.text_end > self._sent_text:
                        delta = self._text[self._sent_text : mark.text_end]
                        self._sent_text = mark.text_end
                        kind = "response.output_audio_transcript.delta"
                        await self._send(kind, **part, delta=delta)
                for at in range(0, len(chunk.delta), DELTA_BYTES):
                    piece = chunk.delta[at : at + DELTA_BYTES]
                    self.bytes += len(piece)
                    delta = b64encode(piece).decode("ascii")
                    await self._send("response.output_audio.delta", **part, delta=delta)

    async def _usage(self, job: AsyncJob | None) -> dict[str, int]:
        usage = {}
        if job is not None:
            try:
                usage = dict((await job.record()).usage)
            except SpeechFleetError:
                usage = {}
        tokens = [int(usage.get(kind, 0)) for kind in ("tokens_in", "tokens_out")]
        return {"input_tokens": tokens[0], "output_tokens": tokens[1], "total_tokens": sum(tokens)}

    def _response(self, status: str, **fields: Any) -> dict[str, Any]:
        base = {"output": [], "status_details": None, "usage": None, "metadata": self._metadata}
        modalities = {"output_modalities": ["audio"]}
        return {"id": self.id, "object": "realtime.response", "status": status, **modalities,
                **base, **fields}  # fmt: skip

    def _item_of(self, status: str, transcript: str | None = None) -> dict[str, Any]:
        content = [] if transcript is None else [{"type": "audio", "transcript": transcript}]
        base = {"id": self._item, "object": "realtime.item", "type": "message"}
        return {**base, "role": "assistant", "status": status, "content": content}
