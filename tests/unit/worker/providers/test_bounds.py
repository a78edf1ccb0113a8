"""Bounds of what providers answer, and of what requests may ask them for."""

from __future__ import annotations

import json
import re
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from speechfleet import Msg, TTSResponse
from speechfleet.audio import wav
from speechfleet.audio.media_type import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, shape_of
from speechfleet.errors import (
    InvalidRequest,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    UnknownModel,
    UnknownOption,
)
from speechfleet.provider_values import MAX_RETRY_AFTER_S, bounded_delay, printable
from speechfleet.settings import Settings
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.base import Audio, Report, Utterance, bounded_count
from speechfleet_worker.providers.failures import (
    failure,
    retry_after,
    seconds_in,
    shown_address,
    unreachable,
)
from speechfleet_worker.providers.gemini import GeminiTTSModel
from speechfleet_worker.providers.openai import OpenAIOptions, OpenAITTSModel
from speechfleet_worker.providers.pcm import PcmReader

pytestmark = pytest.mark.usefixtures("rehearsed")

KEY = "sk-very-secret-key"


class Server:
    """Answers every request with one answer, and notes the bodies."""

    def __init__(self, status: int = 200, headers: dict[str, str] | None = None) -> None:
        bodies: list[dict[str, Any]] = []
        self.bodies = bodies

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Stay silent."""

            def do_POST(self) -> None:
                size = int(self.headers.get("content-length", 0))
                bodies.append(json.loads(self.rfile.read(size) or b"{}"))
                self.send_response(status)
                sent = {"content-type": "audio/pcm", "content-length": "4", **(headers or {})}
                for name, value in sent.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"\0\1\2\3")

            def do_GET(self) -> None:
                self.do_POST()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.mark.parametrize("rate", [1, MIN_SAMPLE_RATE - 1, MAX_SAMPLE_RATE + 1, 10**400])
@pytest.mark.parametrize("model", ["openai/tts-1"])
def test_a_request_asks_for_a_rate_of_speech(rate: int, model: str) -> None:
    environ = {"OPENAI_API_KEY": KEY}
    with pytest.raises(InvalidRequest, match="sample_rate"):
        registry.build(model, options={"sample_rate": rate}, settings=Settings(), environ=environ)
    assert OpenAIOptions(sample_rate=MAX_SAMPLE_RATE).sample_rate == MAX_SAMPLE_RATE


@pytest.mark.parametrize(
    "name", ["model", "input", "voice", "response_format", "stream_format", "Model", "stream"]
)
def test_extra_fields_replace_nothing_that_is_counted(name: str) -> None:
    with pytest.raises(InvalidRequest, match="extra_body"):
        registry.build(
            "openai/tts-1",
            options={"extra_body": {name: "other"}},
            settings=Settings(),
            environ={"OPENAI_API_KEY": KEY},
        )
    assert OpenAIOptions(extra_body={"cfg_scale": 2}).extra_body == {"cfg_scale": 2}


@pytest.mark.parametrize("rate", [0, 1, 7_999, 96_001, 2**32 - 1])
def test_a_server_tells_a_rate_of_speech(rate: int) -> None:
    with pytest.raises(RequestRejected, match="sample rate") as caught:
        PcmReader(f"audio/pcm;rate={rate}", 24_000)
    assert caught.value.code == "unsupported_audio"
    fields = (b"RIFF", 0, b"WAVE", b"fmt ", 16, 1, 1, rate, 0, 2, 16, b"data", 0)
    header = struct.pack("<4sI4s4sIHHIIHH4sI", *fields)
    with pytest.raises(RequestRejected, match="sample rate"):
        PcmReader("audio/wav", 24_000).feed(header + bytes(100))
    with pytest.raises(ValueError, match="sample rate"):
        wav.decode(header + bytes(100))
    with pytest.raises(RequestRejected, match="sample rate"):
        Utterance().take(Audio(bytes(4), rate))
    with pytest.raises(ValueError, match="channels"):
        shape_of("audio/pcm;channels=9")


def test_codes_and_ids_of_providers_are_short_and_printable() -> None:
    wild = "x\n\x1b[31m" * 100
    error = ProviderError("failed", provider_code=wild, request_id=wild)
    for value in (error.provider_code, error.request_id, printable(wild)):
        assert len(value) <= 64
        assert value.isprintable()
    call = Utterance()
    call.report(Report(request_id=wild))
    assert len(call.metadata["request_id"]) <= 64


def test_no_part_of_an_error_holds_the_key() -> None:
    error = failure(
        400,
        f"bad key {KEY}\nsecond line",
        provider_code=f"code {KEY}",
        request_id=KEY,
        secrets=(KEY, ""),
    )
    assert KEY not in f"{error.message}{error.provider_code}{error.request_id}"
    assert error.message == "bad key *** second line"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2.5", 2.5),
        ("-3", 0.0),
        ("31536000", MAX_RETRY_AFTER_S),
        ("inf", MAX_RETRY_AFTER_S),
        ("1e400", MAX_RETRY_AFTER_S),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Wed, 01 Jan 2200 00:00:00 GMT", MAX_RETRY_AFTER_S),
        ("Wed, 01 Jan 1990 00:00:00 GMT", 0.0),
        ("Wed, 99 Jan 99999 00:00:00 GMT", None),
    ],
    ids=[
        *("seconds", "negative", "a-year", "infinite", "overflowing", "nan", "word", "empty"),
        *("far-date", "past-date", "no-date"),
    ],
)
def test_a_pause_is_a_sane_number(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}) == seconds
    assert RateLimited("slow down", retry_after=seconds).retry_after == seconds


def test_a_pause_in_milliseconds_goes_first() -> None:
    assert retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after({"retry-after-ms": "nan", "retry-after": "9"}) == 9
    assert seconds_in(None) is None
    assert bounded_delay(None) is None


@pytest.mark.parametrize("value", ["abc", None, -5, float("nan"), float("inf"), [], 10**30])
def test_counts_of_a_server_are_bounded(value: object) -> None:
    assert 0 <= bounded_count(value) <= 10**9


@pytest.mark.parametrize("name", ["x#", "a/b", "%2e%2e%2f", "..", "x?y", "a b", ""])
def test_a_gemini_model_name_leads_to_no_other_address(name: str) -> None:
    if name == "..":  # of legal characters; the SDK refuses it, and so no request is made
        return
    with pytest.raises(UnknownModel):
        GeminiTTSModel("key", model_name=name)


def test_an_address_is_shown_without_secrets() -> None:
    assert shown_address("http://user:pass@host:8880/v1?key=1") == "http://host:8880/v1"
    assert shown_address("http://[bad") == "the server"


def test_a_refused_connection_names_the_address() -> None:
    error = unreachable("http://127.0.0.1:9/v1", ConnectionRefusedError(111, "no"))
    assert error.message == "http://127.0.0.1:9/v1 refused the connection"
    other = unreachable("http://h", OSError("no route"))
    assert "http://h cannot be reached (OSError)" in other.message


async def test_a_server_that_is_away_is_named() -> None:
    model = OpenAITTSModel("key", stream=False, base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ProviderUnavailable, match=re.escape("http://127.0.0.1:9/v1 refused")):
        await model.synthesize(Msg("", "Hello."))


async def test_redirects_are_not_followed(server: Server) -> None:
    hostile = Server(302, {"location": server.url})
    try:
        model = OpenAITTSModel("key", stream=False, base_url=hostile.url)
        with pytest.raises(RequestRejected, match="redirects"):
            await model.synthesize(Msg("", "Hello."))
    finally:
        hostile.close()
    assert server.bodies == []


async def test_keywords_of_a_call_reach_the_provider(server: Server) -> None:
    model = OpenAITTSModel("key", stream=False, base_url=server.url)
    await model.synthesize(Msg("", "Hello."), speed=1.5, voice="nova")
    await model.synthesize(Msg("", "Hello."))
    assert (server.bodies[0]["speed"], server.bodies[0]["voice"]) == (1.5, "nova")
    assert ("speed" in server.bodies[1], server.bodies[1]["voice"]) == (False, "alloy")
    with pytest.raises(UnknownOption, match="speed"):
        await model.synthesize(Msg("", "Hello."), sped=1.5)
    with pytest.raises(InvalidRequest, match="speed"):
        await model.synthesize(Msg("", "Hello."), speed=99)


async def test_no_message_is_no_stream(server: Server) -> None:
    response = await OpenAITTSModel("key", stream=True, base_url=server.url).synthesize(None)
    assert isinstance(response, TTSResponse)
    assert response.content is None
    assert server.bodies == []
