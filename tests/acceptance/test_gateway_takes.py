"""Dialogues and takes over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateways import ESPEAK, code_of, gateway, http
from tests.support.stage import Stage, staged

PARTS = [{"voice": "en-us", "text": "How are you?"}, {"voice": "en-gb", "text": "Fine."}]


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder) as running:
        yield running


@pytest.fixture(scope="module")
def url(stage: Stage, module_folder: Path) -> Iterator[str]:
    with gateway(stage.fleet, module_folder) as running:
        yield running


async def test_a_dialogue_is_spoken_and_one_part_of_it_again(stage: Stage, url: str) -> None:
    async with http(url) as web, stage.client() as client:
        answer = await web.post("/jobs", json={"id": "talk", "parts": PARTS, "model": ESPEAK})
        assert answer.status_code == 201, answer.text
        await client.job("talk").result(120)
        detail = (await web.get("/jobs/talk")).json()
        assert detail["text"] == "How are you?\n\nFine."
        assert [(s["text_start"], s["text_end"]) for s in detail["segments"]] == [
            (0, 12), (14, 19),
        ]  # fmt: skip
        order = {"segment": 1, "text": "Very well.", "voice": "en-us"}
        answer = await web.post("/jobs/talk/takes", json=order)
        assert answer.status_code == 201, answer.text
        takes = answer.json()["takes"]
        assert [(t["number"], t["chosen"], t["text"]) for t in takes] == [
            (0, False, ""), (1, True, "Very well."),
        ]  # fmt: skip
        await client.job("talk").result(120)
        answer = await web.put("/jobs/talk/takes/1", json={"take": 0})
        assert [t["chosen"] for t in answer.json()["takes"]] == [True, False]
        await client.job("talk").result(120)
        assert (await web.get("/jobs/talk/takes")).json() == answer.json()
        usage = (await client.job("talk").status()).usage
        assert usage["calls"] == 3


async def test_a_loudness_tells_its_gain(stage: Stage, url: str) -> None:
    async with http(url) as web, stage.client() as client:
        order = {"id": "loud", "text": "Loud.", "model": ESPEAK, "loudness": -30}
        assert (await web.post("/jobs", json=order)).status_code == 201
        await client.job("loud").result(120)
        assert (await web.get("/jobs/loud")).json()["gain"] < 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"text": "a", "parts": PARTS}, "invalid_request"),
        ({"parts": [{"text": " "}]}, "empty_text"),
        ({"text": ""}, "empty_text"),
        ({"text": "a", "speakable": "plain", "lexicon": {"a": "b a"}}, "invalid_request"),
        ({"text": "a [pause 600s]", "speakable": "plain"}, "pause_too_long"),
        ({"text": "a", "loudness": 3}, "invalid_request"),
    ],
    ids=["text and parts", "an empty part", "no text", "a lexicon that loops", "a long pause",
         "too loud"],
)  # fmt: skip
async def test_what_cannot_be_spoken_is_a_bad_request(
    url: str, fields: dict[str, object], code: str
) -> None:
    async with http(url) as web:
        answer = await web.post("/jobs", json={"model": ESPEAK, **fields})
        assert (answer.status_code, code_of(answer)) == (400, code)
