"""What clients of other makes send, and what they make of the answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from speechfleet.audio.formats import FORMATS
from tests.support.documents import ROOT
from tests.support.gateways import ESPEAK, code_of, gateway, http, order
from tests.support.stage import MODEL, Stage, staged

SENTENCE = "The quick brown fox jumps over the lazy dog, and then it sleeps for an hour."


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder) as running:
        yield running


@pytest.fixture(scope="module")
def url(stage: Stage, module_folder: Path) -> Iterator[str]:
    with gateway(stage.fleet, module_folder) as running:
        yield running


async def spoken(url: str, **fields: object) -> httpx.Response:
    async with http(url) as web:
        body = order(**{"input": SENTENCE, "response_format": "pcm", **fields})
        return await web.post("/v1/audio/speech", json=body)


@pytest.mark.parametrize("form", ["audio", "sse"])
async def test_an_answer_that_fails_does_not_end_like_a_whole_one(
    url: str, stage: Stage, form: str
) -> None:
    text = f"Cancelled while it is streamed as {form}."
    fields = {"model": MODEL, "voice": "", "response_format": "pcm", "pace": 0.05, "chunks": 400}
    body = order(input=text, stream_format=form, **fields)
    received = bytearray()

    async def receive(answer: httpx.Response) -> None:
        async for piece in answer.aiter_raw():
            if not received:
                id = answer.headers["x-job-id"]
                assert (await other.post(f"/jobs/{id}/cancel")).json() == {"cancelled": True}
            received.extend(piece)

    async with (
        http(url) as other,
        http(url) as web,
        web.stream("POST", "/v1/audio/speech", json=body) as answer,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await receive(answer)
    if form == "sse":
        *_, last, _ = received.decode().split("\n\n")
        event = json.loads(last.removeprefix("data: "))
        assert (event["type"], event["error"]["code"]) == ("error", "cancelled")


async def test_speed_shortens_what_espeak_says(url: str) -> None:
    plain, fast, slow = [await spoken(url, speed=speed) for speed in (1.0, 1.5, 0.7)]
    assert 0.5 < len(fast.content) / len(plain.content) < 0.85
    assert len(slow.content) / len(plain.content) > 1.1


@pytest.mark.parametrize(
    "fields",
    [
        {"instructions": "Softly."},
        {"voice": "alloy"},
        {"voice": "onyx"},
        {"voice": {"id": "nova"}},
        {"stream": True},
        {"user": "somebody", "lang_code": "a", "volume_multiplier": 1.0},
        {"speed": None, "voice": None, "response_format": None, "stream_format": None},
    ],
    ids=["instructions", "voice", "low-voice", "voice-object", "stream", "others", "nulls"],
)
async def test_what_clients_send_without_thinking_is_spoken(
    url: str, fields: dict[str, object]
) -> None:
    answer = await spoken(url, **fields)
    assert answer.status_code == 200, answer.text
    assert len(answer.content) > 10_000


@pytest.mark.parametrize("text", ["\U0001f44b", "...", "---", "."])
@pytest.mark.parametrize("format", ["mp3", "wav"])
async def test_a_piece_without_letters_is_a_moment_of_silence(
    url: str, text: str, format: str
) -> None:
    async with http(url) as web:
        body = order(input=text, response_format=format)
        answer = await web.post("/v1/audio/speech", json=body)
        assert answer.status_code == 200
        assert 0 < len(answer.content) < 20_000


async def test_a_text_of_nothing_is_refused(url: str) -> None:
    async with http(url) as web:
        answer = await web.post("/v1/audio/speech", json=order(input=" "))
    assert (answer.status_code, code_of(answer)) == (400, "empty_text")


async def test_a_model_is_found_as_sdks_ask_for_it(url: str) -> None:
    async with http(url) as web:
        for name in (ESPEAK, quote(ESPEAK, safe="")):
            assert (await web.get(f"/v1/models/{name}")).json()["id"] == ESPEAK
        lists = (await web.get("/v1/audio/models")).json()
        assert ESPEAK in {model["id"] for model in lists["models"]}
        assert lists["models"] == lists["data"]
        models = (await web.get("/v1/models")).json()
        assert not [model for model in models["data"] if model["id"].endswith("...")]
        assert "slow" in models["open_providers"]


async def test_states_are_taken_in_any_case(url: str) -> None:
    await spoken(url)
    async with http(url) as web:
        for state in ("SUCCEEDED", "succeeded", "Succeeded"):
            jobs = (await web.get("/jobs", params={"state": state})).json()["jobs"]
            assert {job["state"] for job in jobs} == {"SUCCEEDED"}


async def test_the_fleet_names_no_job(url: str) -> None:
    body = {"text": SENTENCE, "model": MODEL, "id": "patient-john-doe", "options": {"stall": True}}
    async with http(url) as web:
        assert (await web.post("/jobs", json=body)).status_code == 201
        running = {"state": "RUNNING"}
        while not (await web.get("/jobs", params=running)).json()["jobs"]:
            pass
        assert "john-doe" not in (await web.get("/fleet")).text
        await web.post("/jobs/patient-john-doe/cancel")


PAGES = ROOT / "docs" / "guides" / "clients"
_BLOCK = re.compile(r"^```http\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CALLS = {
    path.stem: [
        line for block in _BLOCK.findall(path.read_text("utf-8")) for line in block.split("\n")
    ]
    for path in sorted(PAGES.glob("*.md"))
    if path.stem != "index"
}
"""Name of a client -> what its page says that its code calls."""


@pytest.mark.parametrize("name", CALLS)
async def test_the_calls_of_a_documented_client_are_answered(url: str, name: str) -> None:
    async with http(url) as web:
        for line in filter(None, CALLS[name]):
            method, target, *body = line.split(" ", 2)
            content = json.loads(body[0]) if body else None
            answer = await web.request(method, target, json=content)
            assert answer.status_code == 200, (line, answer.text)
            kind = answer.headers["content-type"].partition(";")[0]
            if content is None:
                names = next(
                    answer.json()[key]
                    for key in ("voices", "models", "data")
                    if key in answer.json()
                )
                assert all({"id", "name"} <= row.keys() for row in names), line
                assert names == answer.json()["data"]
            elif content.get("stream_format") == "sse":
                assert "speech.audio.done" in answer.text
            else:
                format = FORMATS[content.get("response_format", "mp3")]
                assert kind == format.media_type.partition(";")[0], line
                assert len(answer.content) > 1000, line


def test_every_client_has_a_page_with_its_calls() -> None:
    index = (PAGES / "index.md").read_text("utf-8")
    assert set(re.findall(r"\]\(([\w-]+)\.md\)", index)) == CALLS.keys()
    assert all(CALLS.values())
