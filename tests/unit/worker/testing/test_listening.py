"""`stop_listening`: no connection is lost that was accepted just before."""

from __future__ import annotations

import asyncio
import socket

from speechfleet_worker.testing.listening import stop_listening

CLIENTS = 20


async def test_a_connection_that_was_just_accepted_meets_its_callback() -> None:
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(
        lambda _, writer: writers.append(writer), "127.0.0.1", 0, backlog=CLIENTS
    )
    address = server.sockets[0].getsockname()
    # The kernel takes them; the loop accepts them in one of its next turns.
    clients = [socket.create_connection(address) for _ in range(CLIENTS)]
    for _ in range(2):
        await asyncio.sleep(0)
    await stop_listening(server)
    assert len(writers) == CLIENTS
    for writer in writers:
        writer.transport.abort()
    for client in clients:
        client.close()
    await server.wait_closed()
