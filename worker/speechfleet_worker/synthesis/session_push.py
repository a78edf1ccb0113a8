"""Push a session's text into a model that decides by itself when to speak."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from speechfleet.errors import InvalidRequest, SpeechFleetError
from speechfleet.ledger.lease import Written
from speechfleet.request import Request
from speechfleet.settings import Timeouts
from speechfleet.tts import Msg, TTSModelBase, TTSResponse
from speechfleet_worker.segmentation import TextSegment
from speechfleet_worker.synthesis.look_ahead import InFlightSegment, SegmentSource
from speechfleet_worker.synthesis.model_cache import Voice
from speechfleet_worker.synthesis.model_driver import audio_piece, foreign, speak
from speechfleet_worker.synthesis.session_text import SessionText

log = logging.getLogger(__name__)

AUDIO_POLL_INTERVAL_S = 0.1
"""Between questions for a model's audio while no text comes: it only answers to a push."""


def check_push_mode(request: Request, voice: Voice) -> None:
    """Refuse what would have no effect on a text that the provider cuts. Raises InvalidRequest."""
    without_effect = [
        *(["a lexicon"] if request.form.lexicon else []),
        *(["a speed beyond the provider's own"] if voice.stretch != 1.0 else []),
    ]
    if without_effect:
        raise InvalidRequest(
            f"{request.model} cuts the text of this session itself (mode='server_commit'), so "
            f"{' and '.join(without_effect)} cannot be applied: leave it out, or take "
            "mode='commit'",
            code="not_in_push_mode",
        )


class SessionPush(SegmentSource):
    """Makes the whole text one segment, which is finished when all of it is.

    Text and audio are aligned nowhere before that, so another attempt begins at the beginning.
    ``hash`` computes the hash of the text once it is complete.
    """

    def __init__(
        self,
        model: TTSModelBase,
        read: Callable[[int, float], Coroutine[Any, Any, Written]],
        text: SessionText,
        timeouts: Timeouts,
        hash: Callable[[str], str],
    ) -> None:
        super().__init__(self._talk, 0)
        self._model = model
        self._read = read
        self._text = text
        self._timeouts = timeouts
        self._hash = hash
        self._id = uuid.uuid4().hex
        self._given_bytes = 0
        self._has_warned = False

    async def __aiter__(self) -> AsyncGenerator[InFlightSegment, None]:
        self._begin(TextSegment(index=0, start=0, end=0, text=""), is_last=True)
        yield self._under_way[0]
        self._under_way.popleft()

    def fill(self) -> None:
        """Start no further segment: there is only one."""

    async def _talk(self, item: InFlightSegment) -> None:
        try:
            async with self._model as model:
                item.spoken.is_called = True
                await self._push(model, item)
                spoken = self._text.spoken
                end = len(self._text.text)
                item.segment = TextSegment(index=0, start=0, end=end, text=spoken)
                item.spoken.hash = self._hash(spoken)
                await self._synthesize(model, item)
        except (SpeechFleetError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise foreign(error) from error

    def _msg(self) -> Msg:
        return Msg(name="", content=self._text.spoken, id=self._id)

    async def _push(self, model: TTSModelBase, item: InFlightSegment) -> None:
        while self._text.open:
            written = await self._read(self._text.size, AUDIO_POLL_INTERVAL_S)
            self._text.take(written.tail, open=written.open)
            if self._text.pauses and not self._has_warned:
                self._has_warned = True
                log.warning(
                    "a pause in the text of a session is left out: %s cuts the text itself",
                    self._model.model_name,
                )
            if self._text.spoken and self._text.open:
                self._give(item, await model.push(self._msg()))

    async def _synthesize(self, model: TTSModelBase, item: InFlightSegment) -> None:
        at = 0
        async with aclosing(speak(model, self._msg(), self._timeouts)) as pieces:
            async for piece in pieces:
                new = piece.pcm[max(0, self._given_bytes - at) :]
                at += len(piece.pcm)
                item.spoken.usage = piece.usage or item.spoken.usage
                item.spoken.request_id = piece.request_id
                if new:
                    item.give(piece._replace(pcm=new))

    def _give(self, item: InFlightSegment, response: TTSResponse) -> None:
        new = bytes(response.audio_from(self._given_bytes)) if response.media_type else b""
        if new:
            self._given_bytes += len(new)
            item.give(audio_piece(response, new))
