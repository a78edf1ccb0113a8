"""The gateway as OpenAI's own package, curl and a browser's audio element use it."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import openai
import pytest

from speechfleet.audio import wav
from speechfleet.audio.formats import FORMATS
from tests.support.gateways import ESPEAK, TEXT, code_of, gateway, http, order
from tests.support.stage import Stage, staged


@pytest.fixture(scope="module")
def wire() -> Iterator[dict[str, str]]:
    """The environment of workers that speak with the test servers."""
    command = [sys.executable, "-m", "speechfleet_worker.testing"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        environ = {}
        while (line := process.stdout.readline().strip()) != "ready":
            name, _, value = line.partition("=")
            environ[name] = value
        yield environ
        process.terminate()


@pytest.fixture(scope="module")
def stage(module_folder: Path, wire: dict[str, str]) -> Iterator[Stage]:
    with staged(module_folder, {**wire, "SPEECHFLEET_MAX_ATTEMPTS": "2"}) as running:
        yield running


@pytest.fixture(scope="module")
def url(stage: Stage, module_folder: Path) -> Iterator[str]:
    aliases = '{"house-voice": "espeak/espeak-ng"}'
    with gateway(stage.fleet, module_folder, aliases=aliases) as running:
        yield running


def decoded(data: bytes) -> tuple[str, float]:
    """(codec, seconds) of a file, as FFmpeg reads it."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.audio[0]
        samples = 0
        for frame in container.decode(stream):
            assert isinstance(frame, av.AudioFrame)
            samples += frame.samples
        return stream.codec_context.codec.canonical_name, samples / stream.rate


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "pcm"])
async def test_openais_client_gets_every_format_whole(url: str, format: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        answer = await client.audio.speech.create(
            model=ESPEAK,
            voice="en-us",
            input=TEXT,
            response_format=format,  # type: ignore[arg-type]  # of the table
        )
    codec, seconds = decoded(answer.content)
    encoder = FORMATS[format].codec or "pcm_s16le"
    assert codec == av.Codec(encoder, "w").canonical_name
    async with http(url) as raw:
        whole = (await raw.post("/v1/audio/speech", json=order())).content
    assert seconds == pytest.approx(len(wav.decode(whole).pcm) / 2 / 22_050, abs=0.15)


def test_openais_synchronous_client_streams(url: str, tmp_path: Path) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    with client.audio.speech.with_streaming_response.create(
        model="house-voice", voice="en-us", input=TEXT, response_format="mp3"
    ) as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        answer.stream_to_file(tmp_path / "speech.mp3")
    client.close()
    assert decoded((tmp_path / "speech.mp3").read_bytes())[1] > 2


async def test_bytes_flow_while_the_provider_still_speaks(
    url: str, stage: Stage, tmp_path: Path
) -> None:
    """The first bytes are there before the model has said its last chunk."""
    text, end = "A sentence that takes its time.", tmp_path / "end"
    async with (
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client,
        client.audio.speech.with_streaming_response.create(
            model="slow/paced",
            voice="low",
            input=text,
            response_format="pcm",
            extra_body={"held": str(end), "chunks": 10},
        ) as answer,
    ):
        pieces = answer.iter_bytes(4800)
        first = await anext(pieces)
        assert not stage.ledger.calls("end", [text]), "it was not spoken to its end by then"
        end.touch()
        rest = [piece async for piece in pieces]
    assert len(first) + sum(map(len, rest)) == 10 * 4800


async def test_events_carry_audio_and_what_it_cost(url: str) -> None:
    """A bare name is a model of OpenAI's; a worker speaks with a server of that protocol."""
    async with (
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client,
        client.audio.speech.with_streaming_response.create(
            model="gpt-4o-mini-tts",
            voice="alloy",
            input="Some words.",
            instructions="Calmly.",
            response_format="pcm",
            stream_format="sse",
            speed=1.5,
        ) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        body = (await answer.read()).decode()
    events = [httpx.Response(200, text=line[6:]).json() for line in body.split("\n\n") if line]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert sum(len(base64.b64decode(event["audio"])) for event in events[:-1]) > 4800
    usage = events[-1]["usage"]
    assert events[-1]["type"] == "speech.audio.done"
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


async def test_raw_pcm_has_openais_rate(url: str) -> None:
    async with http(url) as client:
        plain = await client.post("/v1/audio/speech", json=order(response_format="pcm"))
        whole = await client.post("/v1/audio/speech", json=order())
    seconds = len(wav.decode(whole.content).pcm) / 22_050
    assert len(plain.content) / 24_000 == pytest.approx(seconds, abs=0.01)


async def test_the_idempotency_key_is_the_msg_id(url: str) -> None:
    async with http(url, idempotency_key="greeting of today") as client:
        one = await client.post("/v1/audio/speech", json=order())
        two = await client.post("/v1/audio/speech", json=order())
        other = await client.post("/v1/audio/speech", json=order(input="Another text."))
    assert one.content == two.content
    assert one.headers["x-job-id"] == two.headers["x-job-id"] == "greeting of today"
    assert (other.status_code, code_of(other)) == (409, "conflict")


async def test_models_and_voices_are_those_of_the_workers(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        models = {model.id async for model in client.models.list()}
        assert {ESPEAK, "openai/gpt-4o-mini-tts"} <= models
        assert (await client.models.retrieve("house-voice")).id == ESPEAK
    async with http(url) as raw:
        voices = (await raw.get("/v1/audio/voices", params={"model": ESPEAK})).json()
        assert "en-us" in {voice["id"] for voice in voices["voices"]}
        unknown = await raw.get("/v1/audio/voices", params={"model": "espaek/espeak-ng"})
        assert unknown.status_code == 404
        assert ESPEAK in unknown.json()["error"]["message"], "near matches"


@pytest.mark.parametrize(
    ("fields", "error", "code"),
    [
        ({"voice": "en-xx"}, openai.BadRequestError, "unknown_voice"),
        ({"model": "espaek/espeak-ng"}, openai.NotFoundError, "unknown_model"),
        ({"input": "   "}, openai.BadRequestError, "empty_text"),
        ({"input": "x" * 100_001}, openai.BadRequestError, "text_too_long"),
        ({"input": "a\x00b"}, openai.BadRequestError, "illegal_text"),
        ({"speed": 9}, openai.BadRequestError, "invalid_request"),
        ({"response_format": "mp4"}, openai.BadRequestError, "invalid_request"),
        ({"extra_body": {"pich": 3}}, openai.BadRequestError, "unknown_option"),
        ({"extra_body": {"lane": "batch"}}, openai.BadRequestError, "unknown_option"),
        ({"extra_body": {"self": 1}}, openai.BadRequestError, "unknown_option"),
        (
            {"model": "slow/paced", "extra_body": {"fail": "rejected", "failures": 9}},
            openai.BadRequestError,
            "request_rejected",
        ),
        (
            {"model": "slow/paced", "extra_body": {"fail": "unavailable", "failures": 99}},
            openai.InternalServerError,
            "provider_unavailable",
        ),
        ({"model": "nobody/paced"}, openai.InternalServerError, "no_worker"),
    ],
)
async def test_errors_are_openais(
    url: str, fields: dict[str, object], error: type[openai.APIStatusError], code: str
) -> None:
    wanted: dict[str, Any] = {"model": ESPEAK, "voice": "en-us", "input": "Words.", **fields}
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        with pytest.raises(error) as caught:
            await client.audio.speech.create(**wanted)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'"\\ud800"', 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b'{"model": 3, "input": [], "voice": {}}', 400),
        (b'{"model": "espeak/espeak-ng", "input": "\\ud800", "voice": ""}', 400),
        (b'{"model": "espeak/espeak-ng", "input": "x", "\\ud800": 1}', 400),
        (b'{"model": "espeak/espeak-ng", "input": "x", "rate": NaN}', 400),
        (b'{"model": "a\\r\\nb/c", "input": "x", "voice": "d"}', 400),
        (b"x" * 3_000_000, 413),
    ],
)
async def test_bad_bodies_are_refused_in_openais_form(url: str, body: bytes, status: int) -> None:
    async with http(url, content_type="application/json") as client:
        answer = await client.post("/v1/audio/speech", content=body)
    assert answer.status_code == status
    assert code_of(answer)
    assert not str(answer.json()["error"]["param"]).isdigit(), "an offset is no parameter"
