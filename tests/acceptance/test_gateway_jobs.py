"""Jobs over HTTP: their routes, their events, their audio, and listeners that leave or stall."""

from __future__ import annotations

import asyncio
import base64
import json
import select
import socket
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from speechfleet import AsyncClient
from speechfleet.audio import wav
from speechfleet.lifecycle import State
from tests.support.gateways import ESPEAK, TEXT, code_of, gateway, http, order
from tests.support.stage import MODEL, Stage, staged

ODD_ID = "a/b c?#%2F <b>ü</b>/audio"


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder) as running:
        yield running


@pytest.fixture(scope="module")
def url(stage: Stage, module_folder: Path) -> Iterator[str]:
    with gateway(stage.fleet, module_folder, slow=10.0) as running:
        yield running


@pytest.fixture
async def client(stage: Stage) -> AsyncGenerator[AsyncClient, None]:
    async with stage.client() as opened:
        yield opened


def at(id: str, rest: str = "") -> str:
    return f"/jobs/{quote(id, safe='')}{rest}"


async def submitted(web: httpx.AsyncClient, **fields: object) -> dict[str, Any]:
    answer = await web.post("/jobs", json={"text": TEXT, "model": ESPEAK, **fields})
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    assert answer.headers["location"] == at(told["id"])
    return told


async def events(web: httpx.AsyncClient, id: str, **how: Any) -> list[dict[str, Any]]:
    """Every event to the terminal one: ``id``, ``event`` and the fields of ``data``."""
    async with web.stream("GET", at(id, "/events"), **how) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [event async for event in blocks(answer)]


async def blocks(answer: httpx.Response) -> AsyncGenerator[dict[str, Any], None]:
    event: dict[str, Any] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if name in ("id", "event"):
            event[name] = value
        elif name == "data":
            event["data"] = json.loads(value)
        elif not line and event:
            yield event
            event = {}


@pytest.mark.parametrize("id", [ODD_ID, "-", "x" * 256])
async def test_a_job_of_any_id_from_submit_to_erasure(url: str, id: str) -> None:
    async with http(url) as web:
        told = await submitted(web, id=id, voice="en-us", name="someone", options={"pitch": 60})
        assert told["id"] == id
        assert (await submitted(web, id=id, voice="en-us", options={"pitch": 60}))["id"] == id
        assert [event["event"] for event in await events(web, id)][-1] == "finished"
        detail = (await web.get(at(id))).json()
        assert (detail["state"], detail["text"]) == ("SUCCEEDED", TEXT)
        assert detail["options"] == {"pitch": 60}
        assert [one["event"] for one in detail["transitions"]] == ["submit", "claim", "finish"]
        assert detail["segments"][-1]["text_end"] == len(TEXT)
        assert detail["usage"]["characters"] == len(TEXT) - 1
        assert id in {one["id"] for one in (await web.get("/jobs?count=200")).json()["jobs"]}
        assert (await web.post(at(id, "/cancel"))).json() == {"cancelled": False}
        assert (await web.delete(at(id))).status_code == 204
        gone = await web.get(at(id))
        assert (gone.status_code, code_of(gone)) == (404, "job_not_found")


@pytest.mark.parametrize("model", [None, "local"], ids=["none", "local"])
async def test_without_a_model_the_language_chooses_the_voice(url: str, model: str | None) -> None:
    async with http(url) as web:
        text = "Guten Tag, mein Herr."
        answer = await web.post("/jobs", json={"text": text, "model": model})
        assert answer.status_code == 201, answer.text
        id = answer.json()["id"]
        assert [event["event"] for event in await events(web, id)][-1] == "finished"
        job = (await web.get(at(id))).json()
        assert (job["model"], job["spoken_by"]) == ("local/auto", ["espeak/espeak-ng (de)"])
        [first, *_] = (await web.get("/v1/models")).json()["data"]
        assert first["id"] == "local/auto"


async def test_another_order_under_the_same_id_is_a_conflict(url: str) -> None:
    async with http(url, idempotency_key="taken") as web:
        await submitted(web)
        other = await web.post("/jobs", json={"text": "Other.", "model": ESPEAK})
    assert (other.status_code, code_of(other)) == (409, "conflict")


async def test_lists_are_paged_and_by_state(url: str, client: AsyncClient) -> None:
    async with http(url) as web:
        for number in range(5):
            await submitted(web, id=f"listed {number}", lane="batch", model="nobody/paced")
        first = (await web.get("/jobs?state=QUEUED&count=2")).json()
        rest = (await web.get("/jobs?state=QUEUED&count=2&offset=2")).json()
        both = (await web.get("/jobs?state=QUEUED&state=SUCCEEDED&count=3&offset=3")).json()
        ids = [one["id"] for page in (first, rest) for one in page["jobs"]]
        assert ids == [f"listed {number}" for number in (4, 3, 2, 1)]
        assert [one["id"] for one in both["jobs"]][:2] == ["listed 1", "listed 0"]
        assert first["counts"]["QUEUED"] == 5
        wanted = "/jobs?state=QUEUED&model=nobody&since=0&lane=batch&count=3"
        page = (await web.get(wanted)).json()
        last = (await web.get(f"{wanted}&after={page['next']}")).json()
        ids = [one["id"] for one in (*page["jobs"], *last["jobs"])]
        assert ids == [f"listed {number}" for number in (4, 3, 2, 1, 0)]
        assert last["next"] == ""
        for refused in ("lane=fast", "after=x", "offset=1&model=nobody", "since=nan"):
            assert (await web.get(f"/jobs?{refused}")).status_code in (400, 422), refused
        assert {one["waiting"] for one in first["jobs"]} == {"no_worker"}
        fleet = (await web.get("/fleet")).json()
        line = next(line for line in fleet["queues"] if line["provider"] == "nobody")
        assert (line["lane"], line["waiting"], line["depth"]) == ("batch", 5, 5)
        assert 0 <= line["oldest"] < 240
        assert fleet["unfinished"] >= 5
        assert fleet["workers"][0]["heartbeats"] >= 1
        for number in range(5):
            assert (await web.post(at(f"listed {number}", "/cancel"))).json()["cancelled"]


async def test_events_are_the_stream_and_go_on_where_they_broke_off(url: str) -> None:
    async with http(url) as web:
        await submitted(web, id="told", model=MODEL, text="One sentence. And another one.")
        whole = await events(web, "told")
        kinds = [event["event"] for event in whole]
        assert kinds[0] == "started"
        assert kinds[-1] == "finished"
        audio = b"".join(
            base64.b64decode(event["data"]["data"]) for event in whole if event["event"] == "audio"
        )
        assert len(audio) == whole[-1]["data"]["bytes"]
        seen = whole[3]["id"]
        assert await events(web, "told", headers={"last-event-id": seen}) == whole[4:]
        bare = await events(web, "told", params={"audio": "false"})
        assert [event["event"] for event in bare] == kinds
        assert not any(event["data"].get("data") for event in bare)
        assert await events(web, "told", headers={"last-event-id": "nonsense"}) == whole


async def test_a_retried_job_is_told_as_a_rewind(url: str, client: AsyncClient) -> None:
    async with http(url) as web:
        options = {"fail": "rejected", "failures": 1}
        await submitted(web, id="again", model=MODEL, text="Once more.", options=options)
        first = await events(web, "again")
        assert first[-1]["event"] == "failed"
        assert (await web.post(at("again", "/retry"))).status_code == 200
        more = await events(web, "again", headers={"last-event-id": first[-1]["id"]})
    assert [more[0]["event"], more[-1]["event"]] == ["rewind", "finished"]
    assert more[0]["data"]["offset"] == 0


async def test_audio_streams_while_it_is_made_and_has_ranges_afterwards(
    url: str, stage: Stage, tmp_path: Path
) -> None:
    text = "A text that is listened to while it is spoken."
    release = tmp_path / "release"
    options = {"held": str(release), "chunks": 8}
    async with http(url) as web:
        await submitted(web, id="heard", model=MODEL, text=text, options=options)
        params = {"format": "pcm"}
        async with web.stream("GET", at("heard", "/audio"), params=params) as answer:
            assert answer.headers["content-type"] == "audio/pcm;rate=24000"
            assert answer.headers["x-sample-rate"] == "24000"
            pieces = answer.aiter_raw()
            live = await anext(pieces)
            assert not stage.ledger.calls("end", [text])
            release.touch()
            live += b"".join([piece async for piece in pieces])
        await events(web, "heard")
        whole = await web.get(at("heard", "/audio"))
        assert whole.headers["content-length"] == str(len(whole.content))
        assert bytes(wav.decode(whole.content).pcm) == live
        for asked, start, end in (
            ("bytes=0-", 0, None), ("bytes=100-199", 100, 200), ("bytes=-10", -10, None),
        ):  # fmt: skip
            part = await web.get(at("heard", "/audio"), headers={"range": asked})
            assert (part.status_code, part.content) == (206, whole.content[start:end])
            assert part.headers["content-range"].endswith(f"/{len(whole.content)}")
        beyond = await web.get(at("heard", "/audio"), headers={"range": "bytes=9999999-"})
        assert (beyond.status_code, code_of(beyond)) == (416, "range_not_satisfiable")
        same = {"if-none-match": whole.headers["etag"]}
        assert (await web.get(at("heard", "/audio"), headers=same)).status_code == 304
        head = await web.head(at("heard", "/audio"))
        assert head.headers["content-length"] == whole.headers["content-length"]
        saved = await web.get(at("heard", "/audio"), params={"download": "true", "format": "mp3"})
        assert "heard.mp3" in saved.headers["content-disposition"]
        assert saved.headers["content-type"] == "audio/mpeg"


async def test_a_listener_that_leaves_cancels_what_only_it_wanted(
    url: str, stage: Stage, client: AsyncClient
) -> None:
    text = "Nobody will hear the end of this."
    long = order(model=MODEL, voice="", input=text, pace=0.05, chunks=400)
    async with http(url) as web, web.stream("POST", "/v1/audio/speech", json=long) as answer:
        id = answer.headers["x-job-id"]
        await anext(answer.aiter_raw())
    await stage.ledger.until("closed", [text])
    assert (await client.job(id).status()).state is State.CANCELLED


async def test_one_that_leaves_before_the_first_byte_cancels_too(url: str, stage: Stage) -> None:
    text = "Nobody will hear the beginning of this."
    late = order(model=MODEL, voice="", input=text, pace=30.0)
    async with http(url) as web:
        asking = asyncio.create_task(web.post("/v1/audio/speech", json=late))
        await stage.ledger.until("start", [text])
        asking.cancel()
    await stage.ledger.until("closed", [text])


async def test_what_somebody_else_hears_goes_on(url: str, client: AsyncClient) -> None:
    slow = order(model=MODEL, voice="", input="Two hear this.", pace=0.05, chunks=20)
    async with http(url) as web, http(url) as other:
        async with web.stream("POST", "/v1/audio/speech", json=slow) as answer:
            job = client.job(answer.headers["x-job-id"])
            async with other.stream("GET", at(job.id, "/audio?format=pcm")) as second:
                await answer.aclose()
                heard = await second.aread()
        assert len(heard) == 20 * 4800
        assert (await job.result(timeout=120)).size > 20 * 4800


async def test_what_has_a_name_goes_on(url: str, client: AsyncClient) -> None:
    """Its maker may come back for it."""
    slow = order(model=MODEL, voice="", input="Kept for later.", pace=0.05, chunks=20)
    async with http(url, idempotency_key="kept") as web:
        asked = web.stream("POST", "/v1/audio/speech", json=slow)
        async with asked as answer:
            assert answer.status_code == 200
    assert (await client.job("kept").result(timeout=120)).size > 20 * 4800


async def test_one_that_takes_nothing_is_cut_off_and_holds_up_nobody(url: str) -> None:
    async with http(url) as web:
        text = TEXT * 400  # some 40 MB of audio, more than all buffers on the way
        await submitted(web, id="long", text=text, voice="en-us")
        stalled = await asyncio.to_thread(stall, url, at("long", "/audio?format=pcm"))
        try:
            whole = await web.get(at("long", "/audio"), params={"format": "pcm"})
            assert len(whole.content) > 20_000_000
            assert await asyncio.to_thread(cut_off, stalled)
        finally:
            stalled.close()


def stall(url: str, path: str) -> socket.socket:
    """A connection that has asked and reads no further than the first bytes."""
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: {address.netloc}\r\n\r\n".encode())
    assert connection.recv(16).startswith(b"HTTP/1.1 200")
    return connection


def cut_off(connection: socket.socket) -> bool:
    """Whether the other side gave the connection up, without anything being read from it."""
    poll = select.poll()
    poll.register(connection, 0)  # hang-ups and errors are always told
    return bool(poll.poll(120_000))
