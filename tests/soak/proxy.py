"""A TCP proxy on loopback that cuts, stalls and refuses connections."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from speechfleet_worker.testing.listening import stop_listening

PIECE_BYTES = 65_536


@dataclass(eq=False)
class Pair:
    """The two ends of one proxied connection; ``silent``: nothing passes any more."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    silent: bool = False

    def abort(self) -> None:
        for end in (self.near, self.far):
            end.transport.abort()


class CuttingProxy:
    """Forward connections from a port of its own to a target, until told otherwise.

    ``refusing``: new connections are reset. `cut` resets all open ones, `silence` makes them
    half-open: they stay, and nothing passes. ``stalled`` holds all bytes back for a while.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._pairs: set[Pair] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.refusing = False
        self.accepted = 0

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def close(self) -> None:
        if self._server is not None:
            await stop_listening(self._server)
        self.cut()

    def cut(self) -> int:
        """Reset every open connection; return how many."""
        pairs = list(self._pairs)
        for pair in pairs:
            pair.abort()
        return len(pairs)

    def silence(self) -> int:
        """Make every open connection half-open; new ones work. Return how many."""
        for pair in self._pairs:
            pair.silent = True
        return len(self._pairs)

    def stall(self) -> None:
        """Hold every byte back until `flow`."""
        self._flowing.clear()

    def flow(self) -> None:
        """Let bytes pass again."""
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = Pair(writer, far_writer)
        self._pairs.add(pair)
        try:
            # Cancelled where the loop ends first, which asyncio would log as an error.
            with suppress(asyncio.CancelledError):
                await asyncio.gather(
                    self._copy(reader, far_writer, pair), self._copy(far_reader, writer, pair)
                )
        finally:
            self._pairs.discard(pair)
            pair.abort()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: Pair
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(PIECE_BYTES):
                await self._flowing.wait()
                if pair.silent:
                    continue
                writer.write(data)
                await writer.drain()
            with suppress(RuntimeError):
                writer.write_eof()
