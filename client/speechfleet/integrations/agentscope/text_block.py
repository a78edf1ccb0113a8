"""Speak a text block of a reply while it is written."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

from speechfleet.chunks import Chunk
from speechfleet.errors import SpeechFleetError
from speechfleet.integrations.agentscope.speaking import Speaking, leave
from speechfleet.integrations.agentscope.wav_deltas import HELD_BACK_S, WavDeltas
from speechfleet.session import AsyncSession


class TextBlock:
    """A session that the first text opens. Once the fleet has failed it, it is mute."""

    def __init__(self, speaking: Speaking, id: str | None = None) -> None:
        self._speaking = speaking
        self._id = id
        self._session: AsyncSession | None = None
        self._deltas = WavDeltas()
        self._mute = False

    async def push(self, text: str) -> bytes:
        """Say more; return the audio that there is meanwhile, if it is enough for a delta."""
        chunk = await self.say(text)
        return b"" if chunk is None else self._deltas.after(chunk, at_least_s=HELD_BACK_S)

    async def say(self, text: str) -> Chunk | None:
        """Say more; None where the block is mute, or ``text`` empty."""
        if self._mute or not text:
            return None
        try:
            if self._session is None:
                self._session = await self._speaking.open_session(self._id)
            return await self._session.say(text)
        except SpeechFleetError as error:
            self._give_up(error)
            return None

    async def complete(self) -> None:
        """Note that the text is whole."""
        if self._session is not None and not self._mute:
            try:
                await self._session.complete()
            except SpeechFleetError as error:
                self._give_up(error)

    async def rest(self) -> AsyncGenerator[bytes, None]:
        """Complete the text, and yield the rest of the audio; whoever leaves does not want it."""
        await self.complete()
        async with aclosing(self.audio()) as deltas:
            async for data in deltas:
                yield data

    async def audio(self) -> AsyncGenerator[bytes, None]:
        """Yield what was not given yet, to the end of a text that may still be written."""
        if self._session is None or self._mute:
            await self.leave()
            return
        heard = False
        try:
            async with aclosing(self._deltas.all_after(self._session.listen())) as deltas:
                async for data in deltas:
                    yield data
            heard = True
        except SpeechFleetError as error:
            self._give_up(error)
        finally:
            await self.leave(heard=heard)

    async def leave(self, *, heard: bool = False) -> None:
        """End it; what was not heard to its end falls silent now. Idempotent."""
        session, self._session, self._mute = self._session, None, True
        if session is not None:
            with contextlib.suppress(SpeechFleetError):
                await leave(session, heard=heard)

    def _give_up(self, error: SpeechFleetError) -> None:
        self._mute = True
        self._speaking.give_up(error)
