"""What the adapters of OpenAI and Gemini cost over the bare SDKs, on the same wire servers.

    python -m tests.benchmarks.bench_adapters

Either way the caller ends up with all the audio, as any caller wants to.

The floors: the first audio at most 3 ms later (p50), at most 1.3 times the CPU a call, and 100
streams at once in at most 100 MB more memory. Exit status 1 where one is not kept.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode
from json import loads

import httpx2
from google import genai
from google.genai import types
from openai import AsyncOpenAI

from speechfleet_worker.providers.gemini import GeminiTTSModel
from speechfleet_worker.providers.openai import OpenAIOptions, OpenAITTSModel
from tests.benchmarks.measure import TEXT, Speak, by_adapter, compare, print_head, wire_servers

CALLS = 200
KEY = "sk-bench"


def by_openai_sdk(client: AsyncOpenAI, *, events: bool = False) -> Speak:
    async def speak() -> tuple[float, int]:
        start, first, audio = time.perf_counter(), 0.0, bytearray()
        async with client.audio.speech.with_streaming_response.create(
            model="gpt-4o-mini-tts",
            input=TEXT,
            voice="alloy",
            response_format="pcm",
            stream_format="sse" if events else "audio",
        ) as response:
            if events:
                async for line in response.iter_lines():
                    event = loads(line.removeprefix("data: ") or "{}")
                    if "audio" in event:
                        audio += b64decode(event["audio"])
                        first = first or time.perf_counter() - start
            else:
                async for data in response.iter_bytes():
                    first = first or time.perf_counter() - start
                    audio += data
        return first, len(audio)

    return speak


def by_gemini_sdk(client: genai.Client) -> Speak:
    voice = types.VoiceConfig(prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name="Kore"))
    config = types.GenerateContentConfig(
        response_modalities=["AUDIO"], speech_config=types.SpeechConfig(voice_config=voice)
    )

    async def speak() -> tuple[float, int]:
        start, first, audio = time.perf_counter(), 0.0, bytearray()
        async for answer in await client.aio.models.generate_content_stream(
            model="gemini-3.8-flash-tts", contents=TEXT, config=config
        ):
            candidate = (answer.candidates or [])[0]
            for part in (candidate.content and candidate.content.parts) or []:
                assert part.inline_data is not None
                audio += part.inline_data.data or b""
                first = first or time.perf_counter() - start
        return first, len(audio)

    return speak


async def main() -> int:
    async with wire_servers() as environment, httpx2.AsyncClient() as connections:
        print_head()
        base_url = environment["OPENAI_BASE_URL"]
        openai = AsyncOpenAI(api_key=KEY, base_url=base_url, max_retries=0)
        raw = OpenAITTSModel(KEY, base_url=base_url)
        # Another account: the hundred idle connections of the row before would be looked through.
        sse = OpenAITTSModel(
            f"{KEY}-sse", base_url=base_url, options=OpenAIOptions(stream_format="sse")
        )
        base_url = environment["GOOGLE_GEMINI_BASE_URL"]
        http = types.HttpOptions(base_url=base_url, httpx_async_client=connections)
        google = genai.Client(api_key=KEY, http_options=http)
        gemini = GeminiTTSModel(KEY, base_url=base_url)
        kept = [
            await compare("openai", CALLS, by_adapter(raw), by_openai_sdk(openai)),
            await compare(
                "openai sse", CALLS, by_adapter(sse), by_openai_sdk(openai, events=True)
            ),
            await compare("gemini", CALLS, by_adapter(gemini), by_gemini_sdk(google)),
        ]
        await openai.close()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
