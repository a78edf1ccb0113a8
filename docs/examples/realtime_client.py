"""Speak a text by OpenAI's realtime protocol, with OpenAI's own package."""

import asyncio
from base64 import b64decode
from pathlib import Path

from openai import AsyncOpenAI

from speechfleet.audio import wav


async def main() -> bytes:
    client = AsyncOpenAI(base_url="http://127.0.0.1:8080/v1", api_key="sf-...")
    pcm = b""
    async with client, client.realtime.connect(model="local") as connection:
        await connection.conversation.item.create(
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Hello from the fleet."}],
            }
        )
        await connection.response.create()
        async for event in connection:
            if event.type == "response.output_audio.delta":
                pcm += b64decode(event.delta)  # 24 kHz: play it
            elif event.type == "error":
                raise SystemExit(event.error.message)
            elif event.type == "response.done":
                break
    print(f"{len(pcm) / 2 / 24_000:.1f} s")
    return wav.encode(pcm, 24_000, 1)


Path("hello.wav").write_bytes(asyncio.run(main()))
