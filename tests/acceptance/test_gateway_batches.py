"""`/v1/files` and `/v1/batches`, as OpenAI's own package uses them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types import Batch

from speechfleet.audio import wav
from speechfleet.embedded.gateway_process import GatewayProcess
from speechfleet.gateway.batches.batch_checks import LEASE_S
from speechfleet.gateway.batches.batch_input import ENDPOINT
from speechfleet.gateway.batches.batch_view import Notes
from speechfleet.ledger.batch_keys import WINDOWS, BatchKeys
from tests.support.free_ports import free_port
from tests.support.gateways import code_of
from tests.support.stage import MODEL, Stage, gather, sentences, spoken, staged

POLL_S = 0.05
UNDER_WAY = ("validating", "in_progress", "finalizing", "cancelling")


class Gateways:
    """A gateway on one port, which can be killed and started again."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._environ = {**os.environ, **stage.fleet.environ}
        self._log = folder / "gateway.log"
        self._port = free_port()
        self.start()

    def start(self) -> None:
        self.process = GatewayProcess(self._port, environ=self._environ, log=self._log, grace=5.0)

    @property
    def url(self) -> str:
        return self.process.url


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    with staged(module_folder, workers=1) as stage:
        yield stage


@pytest.fixture(scope="module")
def gateways(stage: Stage, module_folder: Path) -> Iterator[Gateways]:
    gateways = Gateways(stage, module_folder)
    yield gateways
    gateways.process.stop()
    print((module_folder / "gateway.log").read_text()[-8000:])  # noqa: T201 # where a test fails


@pytest.fixture
async def client(gateways: Gateways) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{gateways.url}/v1", api_key="none") as client:
        yield client


def line(id: str, text: str, **body: object) -> dict[str, Any]:
    asked = {"model": MODEL, "voice": "", "input": text, "response_format": "wav", **body}
    return {"custom_id": id, "method": "POST", "url": ENDPOINT, "body": asked}


async def uploaded(client: openai.AsyncOpenAI, lines: list[Any]) -> str:
    content = "".join(
        (each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines
    )
    file = await client.files.create(file=("in.jsonl", content.encode()), purpose="batch")
    assert (file.bytes, file.filename) == (len(content.encode()), "in.jsonl")
    return file.id


async def begun(client: openai.AsyncOpenAI, file: str, **more: Any) -> Batch:
    return await client.batches.create(
        input_file_id=file,
        endpoint=ENDPOINT,  # type: ignore[arg-type] # not in the package's list; it is passed on
        completion_window="24h",
        **more,
    )


async def ended(client: openai.AsyncOpenAI, id: str) -> Batch:
    """A batch at its end; a gateway that is away is asked again."""
    async with asyncio.timeout(120):
        while True:
            try:
                batch = await client.batches.retrieve(id)
            except openai.APIConnectionError:
                batch = None
            if batch and batch.status not in UNDER_WAY:
                return batch
            await asyncio.sleep(POLL_S)


async def lines_of(client: openai.AsyncOpenAI, file: str | None, **more: Any) -> dict[str, Any]:
    assert file is not None
    content = (await client.files.content(file, **more)).text
    lines = [json.loads(each) for each in content.splitlines()]
    assert len({each["id"] for each in lines}) == len(lines)
    return {each["custom_id"]: each for each in lines}


async def batches_with_files(client: openai.AsyncOpenAI) -> set[str]:
    """The batches whose error files are listed."""
    files = [file async for file in client.files.list(purpose="batch_output")]
    return {f.filename.removesuffix("_errors.jsonl") for f in files}


async def test_a_file_is_spoken_and_its_lines_are_fetched(client: openai.AsyncOpenAI) -> None:
    texts = sentences("the batch of a file", 5)
    lines = [line(f"id {n}/{n}", text) for n, text in enumerate(texts)]
    lines[1] = line("refused", "Hello.", pitch=3)
    lines[3]["body"]["fail"] = "rejected"
    file = await uploaded(client, lines)
    begun_batch = await begun(client, file, metadata={"for": "the test"})
    assert begun_batch.status == "validating"
    batch = await ended(client, begun_batch.id)
    assert (batch.status, batch.metadata) == ("completed", {"for": "the test"})
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": 5, "completed": 3, "failed": 2}
    assert batch.in_progress_at is not None
    assert batch.expires_at == batch.created_at + 86_400

    good = await lines_of(client, batch.output_file_id)
    assert set(good) == {"id 0/0", "id 2/2", "id 4/4"}
    body = good["id 2/2"]["response"]["body"]
    assert (body["object"], body["format"], body["job_id"]) == (
        "audio.speech", "wav", f"{batch.id}/id 2/2",
    )  # fmt: skip
    async with httpx.AsyncClient() as http:
        answer = await http.get(body["url"])
        part = await http.get(body["url"], headers={"range": "bytes=0-3"})
        other = await http.get(body["url"] + "x")
    assert len(answer.content) == body["bytes"]
    assert wav.decode(answer.content).pcm == spoken(texts[2:3])
    assert (part.status_code, part.content) == (206, b"RIFF")
    assert (other.status_code, code_of(other)) == (404, "object_missing")
    inline = await lines_of(client, batch.output_file_id, extra_query={"audio": "base64"})
    assert inline["id 2/2"]["response"]["body"]["audio"]

    bad = await lines_of(client, batch.error_file_id)
    told = {id: (each["error"]["code"], each["error"]["line"]) for id, each in bad.items()}
    assert told == {"refused": ("unknown_option", 2), "id 3/3": ("request_rejected", 4)}
    assert bad["refused"]["body"] == lines[1]["body"]
    again = await ended(client, (await begun(client, str(batch.error_file_id))).id)
    assert again.request_counts is not None
    assert again.request_counts.total == 2

    for id in (batch.output_file_id, batch.error_file_id):
        described = await client.files.retrieve(str(id))
        content = (await client.files.content(str(id))).content
        assert (described.bytes, described.purpose) == (len(content), "batch_output")
    await client.files.delete(str(batch.output_file_id))
    with pytest.raises(openai.NotFoundError, match="no file"):
        await client.files.retrieve(str(batch.output_file_id))
    assert (await client.batches.retrieve(batch.id)).output_file_id == batch.output_file_id
    with pytest.raises(openai.NotFoundError, match="no file"):
        await client.files.content(str(batch.output_file_id))


async def test_an_invalid_file_fails_with_the_numbers_of_its_lines(
    client: openai.AsyncOpenAI,
) -> None:
    wrong = [
        line("one", "First."),
        "{no json",
        {**line("x", "Text."), "method": "GET"},
        line("one", "Again."),
        {**line("y", "Text."), "url": "/v1/embeddings"},
    ]
    batch = await ended(client, (await begun(client, await uploaded(client, wrong))).id)
    assert (batch.status, batch.output_file_id) == ("failed", None)
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert [(each.line, each.code) for each in batch.errors.data] == [
        (2, "invalid_json_line"),
        (3, "invalid_method"),
        (4, "duplicate_custom_id"),
        (5, "invalid_url"),
    ]
    for order, code in (
        ({"input_file_id": "file-unknown", "endpoint": ENDPOINT}, "file_not_found"),
        ({"input_file_id": batch.input_file_id, "endpoint": "/v1/x"}, "invalid_request"),
    ):
        with pytest.raises(openai.APIStatusError) as refused:
            await client.post("/batches", body=order, cast_to=Batch)
        assert refused.value.code == code


async def test_a_cancelled_batch_keeps_what_was_spoken(
    client: openai.AsyncOpenAI, stage: Stage
) -> None:
    first, *rest = sentences("the cancelled batch", 4)
    lines = [line("first", first), *(line(f"{n}", t, stall=True) for n, t in enumerate(rest))]
    batch = await begun(client, await uploaded(client, lines))
    async with asyncio.timeout(120):
        while True:
            counts = (await client.batches.retrieve(batch.id)).request_counts
            if counts is not None and counts.completed == 1:
                break
            await asyncio.sleep(POLL_S)
    assert (await client.batches.cancel(batch.id)).status in ("cancelling", "cancelled")
    batch = await ended(client, batch.id)
    assert (batch.status, batch.error_file_id) == ("cancelled", None)
    assert set(await lines_of(client, batch.output_file_id)) == {"first"}
    assert (await client.batches.cancel(batch.id)).status == "cancelled"


async def test_lists_are_paged_and_files_deleted(client: openai.AsyncOpenAI) -> None:
    files = [await uploaded(client, [line("a", f"File {n}.")]) for n in range(3)]
    newest_first = [file.id async for file in client.files.list(limit=2, purpose="batch")]
    assert newest_first[:3] == files[::-1]
    oldest_first = [file.id async for file in client.files.list(order="asc", purpose="batch")]
    assert oldest_first == newest_first[::-1]
    batches = [(await begun(client, file)).id for file in files]
    for batch in batches:
        await ended(client, batch)
    assert [batch.id async for batch in client.batches.list(limit=2)][:3] == batches[::-1]
    outputs = [file.id async for file in client.files.list(purpose="batch_output", limit=2)]
    assert len(outputs) == len(set(outputs)) >= 3
    assert (await client.files.delete(files[0])).deleted
    assert files[0] not in [file.id async for file in client.files.list()]
    with pytest.raises(openai.NotFoundError):
        await client.files.content(files[0])


async def test_a_batch_outlives_its_gateway_and_its_worker(
    client: openai.AsyncOpenAI, stage: Stage, gateways: Gateways
) -> None:
    texts = sentences("the batch that outlives", 24)
    lines = [line(f"{n:02}", text) for n, text in enumerate(texts)]
    batch = await begun(client, await uploaded(client, lines))
    await stage.ledger.until("end", texts, count=4)
    gateways.process.kill()
    stage.fleet.workers[0].kill()
    await gather(stage.off_loop(stage.fleet.start_worker), stage.off_loop(gateways.start))
    batch = await ended(client, batch.id)
    assert batch.status == "completed"
    good = await lines_of(client, batch.output_file_id, extra_query={"audio": "base64"})
    assert set(good) == {each["custom_id"] for each in lines}
    assert batch.request_counts is not None
    assert batch.request_counts.completed == 24


async def test_a_batch_whose_gateway_dies_while_it_checks_the_file_is_spoken(
    client: openai.AsyncOpenAI, stage: Stage, gateways: Gateways
) -> None:
    texts = sentences("the checked batch", 3)
    file = await uploaded(client, [line(f"{n}", text) for n, text in enumerate(texts)])
    gateways.process.kill()
    id = f"batch_{'c4' * 16}"
    async with stage.client() as fleet:  # the gateway took the batch, and died
        orders, about = fleet.ledger.batch_orders, Notes(file, "in.jsonl", None).as_about()
        await orders.announce(fleet.namespace, id, about, within_s=3600)
        assert await orders.take(LEASE_S) == (fleet.namespace, id)
    await stage.off_loop(gateways.start)
    batch = await ended(client, id)
    assert batch.status == "completed"
    assert set(await lines_of(client, batch.output_file_id)) == {"0", "1", "2"}


async def test_a_batch_expires_with_what_was_spoken_and_its_files_are_listed(
    client: openai.AsyncOpenAI, stage: Stage
) -> None:
    first, *rest = sentences("the batch that expires", 4)
    lines = [line("first", first), *(line(f"{n}", t, stall=True) for n, t in enumerate(rest))]
    lines.insert(1, line("refused", "Hello.", pitch=3))
    batch = await begun(client, await uploaded(client, lines))
    await stage.ledger.until("end", [first], count=1)
    async with stage.client() as fleet:
        name = BatchKeys(fleet.namespace, batch.id).name
        await fleet.ledger.connection.scripts.call("ZADD", WINDOWS, "XX", 1, name)
        async with asyncio.timeout(120):
            while (await fleet.ledger.batches.get(fleet.namespace, batch.id)).outstanding:  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)
    async with asyncio.timeout(120):
        while batch.id not in await batches_with_files(client):  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
    batch = await client.batches.retrieve(batch.id)
    assert batch.status == "expired"
    assert batch.expired_at is not None
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": 5, "completed": 1, "failed": 4}
    assert set(await lines_of(client, batch.output_file_id)) == {"first"}
    bad = await lines_of(client, batch.error_file_id)
    assert {id: (each["error"]["code"], each["error"]["line"]) for id, each in bad.items()} == {
        "refused": ("unknown_option", 2),
        **{f"{n}": ("batch_expired", n + 3) for n in range(3)},
    }
    assert bad["1"]["body"]["input"] == rest[1]
    assert bad["1"]["body"]["stall"] is True
