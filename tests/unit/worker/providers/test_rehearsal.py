"""The first call of a provider, made before a job makes it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from speechfleet.settings import Endpoint, Settings
from speechfleet_worker.providers.rehearsal import rehearse
from speechfleet_worker.testing.openai_server import OpenAIServer

FIRST_CALL = """
import asyncio, os, sys
from importlib import import_module
from speechfleet.settings import Settings
from speechfleet.tts import Msg
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.rehearsal import rehearse

model, module, name = sys.argv[1:]
server = getattr(import_module(f"speechfleet_worker.testing.{module}"), name)()

async def call():
    async for _ in await registry.build(model, settings=Settings()).synthesize(Msg("", "Hello.")):
        pass

rehearse([model.partition("/")[0]], Settings())
with server.thread():
    os.environ.update(server.environment())
    known = set(sys.modules)
    asyncio.run(call())
print(sorted(set(sys.modules) - known))
"""


@pytest.mark.parametrize(
    ("model", "module", "server"),
    [
        ("openai/tts-1", "openai_server", "OpenAIServer"),
        ("gemini/gemini-3.8-flash-tts", "gemini_server", "GeminiServer"),
        ("elevenlabs/eleven_v3", "elevenlabs_server", "ElevenLabsServer"),
        ("dashscope/qwen3-tts-flash", "dashscope_server", "DashScopeServer"),
    ],
    ids=["openai", "gemini", "elevenlabs", "dashscope"],
)
def test_the_first_call_after_it_imports_nothing(model: str, module: str, server: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_CALL, model, module, server],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_nobody_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    server = OpenAIServer()
    with server.thread():
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        # An endpoint may have the name of a provider.
        endpoint = Endpoint(base_url=server.base_url, adapter="openai", key_env="OPENAI_API_KEY")
        for settings in (Settings(), Settings(endpoints={"openai": endpoint})):
            rehearse(["openai", "espeak"], settings)
    assert server.calls == []
