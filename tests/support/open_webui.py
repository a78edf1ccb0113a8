"""Open WebUI's speech engine ``openai-realtime``, message for message as its release 0.12 sends.

It connects by aiohttp, waits for one event before it sends the next message, takes the audio of
the response that it has begun alone, and gives up at the first error.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import aiohttp

WITHIN_S = 120
FORMAT = {"type": "audio/pcm", "rate": 24_000}
PROMPT = "Read the text aloud exactly as it is written."


class GaveUp(Exception):
    """Open WebUI answers its user with the status 502."""


async def speak(url: str, text: str, *, model: str, voice: str, key: str) -> bytes:
    """The PCM of a text. ``url``: what the admin types as the base, with ``/v1``."""
    address = f"{url.replace('http', 'ws', 1)}/realtime"
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        asyncio.timeout(WITHIN_S),
        aiohttp.ClientSession() as http,
        http.ws_connect(address, params={"model": model}, headers=headers) as socket,
    ):
        return await _spoken(socket, text, voice)


async def _spoken(socket: aiohttp.ClientWebSocketResponse, text: str, voice: str) -> bytes:
    pcm, response = b"", None
    async for message in socket:
        event: dict[str, Any] = message.json()
        match event["type"]:
            case "error":
                raise GaveUp(event["error"]["code"])
            case "session.created":
                await socket.send_json({"type": "session.update", "session": _session(voice)})
            case "session.updated":
                await socket.send_json({"type": "response.create", "response": _response(text)})
            case "response.created":
                response = event["response"]["id"]
            case "response.output_audio.delta" if event.get("response_id") == response:
                pcm += base64.b64decode(event["delta"], validate=True)
            case "response.done" if event["response"]["id"] == response:
                if event["response"]["status"] != "completed" or not pcm or len(pcm) % 2:
                    raise GaveUp(event["response"]["status"])
                return pcm
    raise GaveUp("closed")


def _session(voice: str) -> dict[str, Any]:
    return {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {
            "input": {"turn_detection": None, "transcription": None},
            "output": {"format": FORMAT, "voice": voice},
        },
        "tools": [],
        "tool_choice": "none",
        "instructions": PROMPT,
    }


def _response(text: str) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {
        "conversation": "none",
        "output_modalities": ["audio"],
        "tools": [],
        "tool_choice": "none",
        "instructions": PROMPT,
        "input": [{"type": "message", "role": "user", "content": content}],
    }
