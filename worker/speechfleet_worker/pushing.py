"""A session's text pushed into a model as it comes, where the model decides when to speak."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from speechfleet.errors import SpeechFleetError
from speechfleet.ledger.lease import Written
from speechfleet.settings import Timeouts
from speechfleet.tts import Msg, TTSModelBase, TTSResponse
from speechfleet_worker.live_text import LiveText
from speechfleet_worker.lookahead import Ahead, SpokenAhead
from speechfleet_worker.segments import Segment
from speechfleet_worker.speaking import Piece, foreign, parse_media_type, speak

LOOK_EVERY = 0.1
"""Seconds between looks at a model's audio while no text comes: it tells only who asks."""


class Pushed(SpokenAhead):
    """The whole text as one segment, which is finished when all of it is.

    Text and audio align nowhere before that, so another attempt begins at the beginning.
    ``hash``: of the text, once it is all there.
    """

    def __init__(
        self,
        model: TTSModelBase,
        read: Callable[[int, float], Coroutine[Any, Any, Written]],
        text: LiveText,
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
        self._given = 0

    async def __aiter__(self) -> AsyncGenerator[Ahead, None]:
        self._begin(Segment(index=0, start=0, end=0, text=""), is_last=True)
        yield self._under_way[0]
        self._under_way.popleft()

    def fill(self) -> None:
        """There is no other."""

    async def _talk(self, item: Ahead) -> None:
        try:
            async with self._model as model:
                await self._push(model, item)
                text = self._text.text
                item.segment = Segment(index=0, start=0, end=len(text), text=text)
                item.spoken.hash = self._hash(text)
                await self._synthesize(model, item)
        except (SpeechFleetError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise foreign(error) from error

    def _msg(self) -> Msg:
        return Msg(name="", content=self._text.text, id=self._id)

    async def _push(self, model: TTSModelBase, item: Ahead) -> None:
        while self._text.open:
            written = await self._read(self._text.size, LOOK_EVERY)
            self._text.take(written.tail, open=written.open)
            if self._text.text and self._text.open:
                self._give(item, await model.push(self._msg()))

    async def _synthesize(self, model: TTSModelBase, item: Ahead) -> None:
        at = 0
        async with aclosing(speak(model, self._msg(), self._timeouts)) as pieces:
            async for piece in pieces:
                new = piece.pcm[max(0, self._given - at) :]
                at += len(piece.pcm)
                item.spoken.usage = piece.usage or item.spoken.usage
                item.spoken.request_id = piece.metadata.get("request_id", "")
                if new:
                    item.give(piece._replace(pcm=new))

    def _give(self, item: Ahead, response: TTSResponse) -> None:
        new = bytes(response.audio_from(self._given)) if response.media_type else b""
        if new:
            self._given += len(new)
            shape = parse_media_type(response.media_type)
            item.give(Piece(new, *shape, response.usage, response.metadata or {}))
