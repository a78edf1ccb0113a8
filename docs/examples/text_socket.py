"""Speak a text over a WebSocket while it is still being written: audio comes meanwhile."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from speechfleet.audio import wav

URL = "ws://127.0.0.1:8080/v1/audio/speech/stream"
KEY = "sf-..."


async def written() -> AsyncGenerator[str, None]:
    for word in "This is read aloud while it is written. Nobody waits for the end.".split():
        yield f"{word} "
        await asyncio.sleep(0.05)


async def write(socket: ClientConnection) -> None:
    async for text in written():
        await socket.send(json.dumps({"type": "input.text", "text": text}))
    await socket.send(json.dumps({"type": "input.done"}))


async def main() -> bytes:
    headers = {"authorization": f"Bearer {KEY}"}
    async with connect(URL, additional_headers=headers) as socket:
        config = {"model": "local", "response_format": "pcm", "stream_audio": True}
        await socket.send(json.dumps({"type": "session.config", **config}))
        writing = asyncio.create_task(write(socket))
        pcm, rate, job = b"", 0, ""
        async for message in socket:
            if isinstance(message, bytes):
                pcm += message  # play it
                continue
            event = json.loads(message)
            if event["type"] == "audio.start":
                rate, job = event["sample_rate"], event["job_id"]
            if event["type"] == "error":
                raise SystemExit(event["message"])
            if event["type"] == "session.done":
                break
        await writing
    print(f"{len(pcm) / 2 / rate:.1f} s of job {job}")
    return wav.encode(pcm, rate, 1)


Path("answer.wav").write_bytes(asyncio.run(main()))
