"""Every provider in the fleet, and every fault that its server knows: what end did the job take?

Real SDKs against the wire servers, called by a real worker. One of two ends is right: finished
after another attempt, with the whole audio and nothing appended to what the failed one gave; or
failed with the right code, at once. The documentation shows the table.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

import pytest

from speechfleet import AsyncClient
from speechfleet.audio import wav
from speechfleet.embedded import EmbeddedFleet
from speechfleet.errors import JobFailed
from speechfleet_worker.testing.dashscope_realtime_server import DashScopeRealtimeServer
from speechfleet_worker.testing.dashscope_server import DashScopeServer
from speechfleet_worker.testing.dashscope_task_server import DashScopeTaskServer
from speechfleet_worker.testing.elevenlabs_server import ElevenLabsServer
from speechfleet_worker.testing.gemini_server import GeminiServer
from speechfleet_worker.testing.openai_realtime_server import OpenAIRealtimeServer
from speechfleet_worker.testing.openai_server import OpenAIServer
from speechfleet_worker.testing.polly_server import PollyServer
from speechfleet_worker.testing.wire import Fault, WireServer, speech
from tests.support.documents import page

WAITED_FOR = ("slow_first_byte", "stall")
RETRIED = "retried"
FINE = "fine"

MODELS: dict[str, type[WireServer]] = {
    "openai/gpt-4o-mini-tts": OpenAIServer,
    "openai-realtime/gpt-realtime-2.1-mini": OpenAIRealtimeServer,
    "gemini/gemini-3.8-flash-tts": GeminiServer,
    "dashscope/qwen3-tts-flash": DashScopeServer,
    "dashscope/qwen3-tts-flash-realtime": DashScopeRealtimeServer,
    "dashscope/cosyvoice-v3-flash": DashScopeTaskServer,
    "elevenlabs/eleven_flash_v2_5": ElevenLabsServer,
    "polly/neural": PollyServer,
}

FAULTS: dict[str, tuple[Fault, str]] = {
    "HTTP 400": (Fault("status", 400, "invalid_parameter"), "request_rejected"),
    "HTTP 401": (Fault("status", 401, "invalid_api_key"), "authentication_failed"),
    "HTTP 403": (Fault("status", 403, "forbidden"), "authentication_failed"),
    "HTTP 404": (Fault("status", 404, "model_not_found"), "request_rejected"),
    "HTTP 429, Retry-After": (Fault("status", 429, "rate_limit", retry_after="1"), RETRIED),
    "HTTP 500": (Fault("status", 500, "internal"), RETRIED),
    "HTTP 503": (Fault("status", 503, "unavailable"), RETRIED),
    "connection dropped before the answer": (Fault("drop_before"), RETRIED),
    "connection dropped in mid-audio": (Fault("drop_middle"), RETRIED),
    "first byte never comes": (Fault("slow_first_byte"), RETRIED),
    "silence in mid-audio": (Fault("stall"), RETRIED),
    "a frame that does not parse": (Fault("malformed_frame"), RETRIED),
    "an error frame in mid-audio": (Fault("error_frame"), RETRIED),
    "clean end without the word for done": (Fault("early_end"), RETRIED),
    "200 with an error in JSON": (Fault("json_error_200"), RETRIED),
    "200 with an empty body": (Fault("empty_body"), RETRIED),
    "half a sample at the end": (Fault("odd_bytes"), RETRIED),
    "all audio in one frame": (Fault("giant_frame"), FINE),
    "another sample rate": (Fault("wrong_rate", rate=16_000), FINE),
}
TEXTS = (f"Sentence number {number} is spoken by a provider on loopback." for number in count())


def right_end(model: str, fault: str) -> str | None:
    """What should become of the job; None where the protocol has no such fault."""
    if FAULTS[fault][0].kind not in MODELS[model].faults:
        return None
    return FAULTS[fault][1]


SILENT = [fault for fault, (told, _) in FAULTS.items() if told.kind in WAITED_FOR]
"""Faults that only a time-out ends: whoever waits for it waits for all providers at once."""


@dataclass
class Setting:
    """A fleet of one worker, and the servers that its providers lead to."""

    fleet: EmbeddedFleet
    servers: dict[str, WireServer]


@dataclass
class Servers:
    """Servers by the models that they speak for, and what leads workers to them."""

    by_model: dict[str, WireServer]
    environ: dict[str, str]

    @contextmanager
    def setting(self, data: Path, patience_s: int) -> Iterator[Setting]:
        """A fleet that waits so long for audio."""
        waits = dict.fromkeys(("connect", "first_audio", "silence"), patience_s)
        environ = {**self.environ, "SPEECHFLEET_TIMEOUTS": json.dumps(waits)}
        with EmbeddedFleet(data, workers=1, environ=environ) as fleet:
            yield Setting(fleet, self.by_model)


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        servers: dict[str, WireServer] = {}
        environ = {"SPEECHFLEET_BACKOFF": "0.05", "SPEECHFLEET_MAX_ATTEMPTS": "3"}
        for model, kind in MODELS.items():
            servers[model] = stack.enter_context(kind(milliseconds=10).thread())
            environ |= servers[model].environment()
        endpoints = json.loads(environ["SPEECHFLEET_ENDPOINTS"])
        named: tuple[Literal["kokoro", "vllm"], ...] = ("kokoro", "vllm")
        for name in named:
            key = f"key-of-{name}"
            server = OpenAIServer(flavour=name, milliseconds=10, keys=[key])
            servers[f"{name}/any-name"] = stack.enter_context(server.thread())
            environ[f"{name.upper()}_KEY"] = key
            endpoints[name] = {"base_url": server.base_url, "key_env": f"{name.upper()}_KEY"}
        environ["SPEECHFLEET_ENDPOINTS"] = json.dumps(endpoints)
        yield Servers(servers, environ)


@pytest.fixture(scope="module")
def setting(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    """One that takes a slow machine for no fault."""
    with servers.setting(tmp_path_factory.mktemp("patient"), 100) as setting:
        yield setting


@pytest.fixture(scope="module")
def impatient(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with servers.setting(tmp_path_factory.mktemp("impatient"), 10) as setting:
        yield setting


def pairs() -> list[tuple[str, str]]:
    return [
        (model, fault)
        for model in MODELS
        for fault in FAULTS
        if right_end(model, fault) and fault not in SILENT
    ]


@pytest.mark.parametrize(("model", "name"), pairs())
async def test_a_fault_leads_to_the_right_end(setting: Setting, model: str, name: str) -> None:
    await leads_to_the_right_end(setting, model, name)


@pytest.mark.parametrize("name", SILENT)
async def test_a_silence_leads_to_another_call(impatient: Setting, name: str) -> None:
    async with asyncio.TaskGroup() as group:
        for model in MODELS:
            if right_end(model, name):
                group.create_task(leads_to_the_right_end(impatient, model, name))


async def leads_to_the_right_end(setting: Setting, model: str, name: str) -> None:
    server, fault, end = setting.servers[model], FAULTS[name][0], right_end(model, name)
    text = next(TEXTS)
    before = len(server.calls)
    server.script(fault)
    fleet = setting.fleet
    async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
        job = await client.submit(text, model=model)
        async with asyncio.timeout(240):
            if end not in (RETRIED, FINE):
                with pytest.raises(JobFailed) as failed:
                    await job.result()
                assert failed.value.code == end
                assert not failed.value.retryable
                assert len(server.calls) - before == 1
                return
            heard = b""
            async for chunk in job.stream():
                heard = bytes(chunk.audio)
            stored = wav.decode(await (await job.result()).read())
        record = await job.record()
    rate = fault.rate if fault.kind == "wrong_rate" else server.sample_rate
    assert heard == speech(text, rate, 10), "the whole reading, and nothing of a failed one"
    assert stored.pcm == heard
    assert stored.sample_rate == record.sample_rate == rate
    assert len(server.calls) - before == (2 if end == RETRIED else 1)
    assert record.attempts == (1 if end == RETRIED else 0)
    if fault.retry_after:
        told = {event: at for at, event, _ in record.history}
        assert told["claim"] - told["back_off"] >= 1000 * float(fault.retry_after)


@pytest.mark.parametrize("name", ["kokoro", "vllm"])
async def test_named_endpoints_stand_side_by_side(setting: Setting, name: str) -> None:
    server = setting.servers[f"{name}/any-name"]
    text = next(TEXTS)
    fleet = setting.fleet
    async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
        job = await client.submit(text, model=f"{name}/any-name", voice="af_heart")
        stored = await (await job.result(120)).read()
    assert wav.decode(stored).pcm == speech(text, 24_000, 10)
    assert [call.key for call in server.calls] == [f"key-of-{name}"]


@pytest.mark.parametrize("model", MODELS)
async def test_stored_segments_are_not_paid_for_again(setting: Setting, model: str) -> None:
    server = setting.servers[model]
    texts = [next(TEXTS) for _ in range(3)]
    before = len(server.calls)
    server.script(None, Fault("drop_middle"))
    fleet = setting.fleet
    async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
        job = await client.submit(" ".join(texts), model=model)
        speech_ = await job.result(120)
        pcm = wav.decode(await speech_.read()).pcm
    assert pcm == b"".join(speech(text, server.sample_rate, 10) for text in texts)
    asked = [call.text for call in server.calls[before:]]
    assert asked.count(texts[0]) == 1
    broken = [call.text for call in server.calls[before:] if call.outcome == "failed"]
    assert len(broken) == 1
    assert asked.count(broken[0]) == 2


@pytest.mark.parametrize("model", MODELS)
async def test_a_lasting_fault_ends_with_its_code(setting: Setting, model: str) -> None:
    server = setting.servers[model]
    before = len(server.calls)
    server.script(*[Fault("drop_middle")] * 3)
    fleet = setting.fleet
    async with AsyncClient(redis_url=fleet.redis_url, store=fleet.store_url) as client:
        job = await client.submit(next(TEXTS), model=model)
        with pytest.raises(JobFailed) as failed:
            await job.result(120)
    assert failed.value.code in ("provider_unavailable", "incomplete_audio")
    assert failed.value.retryable
    assert len(server.calls) - before == 3


def table() -> str:
    """The table of the documentation, in the order of MODELS."""
    rows = []
    for fault in FAULTS:
        ends = [right_end(model, fault) for model in MODELS]
        cells = ["–" if end is None else f"`{end}`" if "_" in end else end for end in ends]
        rows.append(f"| {fault} | {' | '.join(cells)} |")
    return "\n".join(rows)


def test_the_documentation_shows_the_table() -> None:
    assert table() in page("reference/provider-faults.md")
