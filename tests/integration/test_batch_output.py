"""Output and error files of a batch, made from a manifest that crashes have written to."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from speechfleet.batch.manifest import as_lines
from speechfleet.batch.spool import as_line
from speechfleet.client import AsyncClient
from speechfleet.corpus.item import Item
from speechfleet.gateway.batches import batch_output
from speechfleet.gateway.batches.batch_output import BatchOutput, Links
from speechfleet.gateway.batches.file_listing import ERRORS, OUTPUT
from speechfleet.ledger import keys
from speechfleet.settings import Settings
from speechfleet.store import Store, layout

BATCH = "batch_" + "a1" * 16
BASE = "https://speech.example"
SPOKEN, FAILED = "SUCCEEDED", "FAILED"


@pytest.fixture
async def client(redis_url: str, tmp_path: Path) -> AsyncIterator[AsyncClient]:
    settings = Settings.load(redis_url=redis_url, store=tmp_path.as_uri())
    async with AsyncClient(settings) as client:
        yield client


def entry(id: str, state: str, **more: object) -> dict[str, Any]:
    place = {"object": f"audio/default/{id}/boot-1.mp3", "format": "mp3"}
    error = {"error": {"code": "request_rejected", "message": "no"}}
    base = {"id": id, "text": f"Text of {id}.", "state": state, "digest": "d", "bytes": 5}
    fields = place if state == SPOKEN else error
    return {**base, "duration": 1.0, "model": "a/b", "voice": "v", **fields, **more}


async def written(client: AsyncClient, ids: list[str], *parts: list[dict[str, Any]]) -> None:
    """A batch of these lines, whose manifest has these parts."""
    feeds, store, namespace = client.ledger.feeds, client.store, client.namespace
    corpus = b"".join(as_line(Item(id, f"Text of {id}."), {"model": "a/b"}) for id in ids)
    key = layout.corpus_object(namespace, BATCH, "x")
    await store.put(key, corpus, media_type="text/plain")
    await client.ledger.batches.open(namespace, BATCH, window=10)
    await feeds.open(namespace, BATCH, object=key, size=len(corpus), terms={})
    await client.ledger.connection.scripts.call("HSET", keys.HEARTBEATS, "boot", 1)
    feeding = await feeds.take(namespace, BATCH, "boot", "boot-1")
    assert feeding is not None
    for number, part in enumerate(parts):
        place = layout.manifest_object(namespace, BATCH, f"{number}")
        await store.put(place, as_lines(part), media_type="text/plain")
        await feeding.add_part(place)


async def lines(client: AsyncClient, kind: str, **links: Any) -> list[dict[str, Any]]:
    output = BatchOutput(client, BATCH, Links(BASE, **links))
    content = b""
    async with aclosing(output.pieces(kind)) as pieces:
        async for piece in pieces:
            content += piece
    assert await output.size(kind) == len(content)
    return [json.loads(line) for line in content.splitlines()]


async def test_each_line_is_put_out_once_as_it_ended_last(client: AsyncClient) -> None:
    await written(
        client,
        ["a b", "c", "d"],
        [entry("a b", SPOKEN), entry("c", FAILED)],
        [entry("c", SPOKEN), entry("a b", SPOKEN), entry("d", FAILED)],
    )
    good = await lines(client, OUTPUT)
    assert [line["custom_id"] for line in good] == ["c", "a b"]
    body = good[1]["response"]["body"]
    assert body["url"] == f"{BASE}/v1/batches/{BATCH}/audio/a%20b/boot-1.mp3"
    assert (body["job_id"], body["format"]) == (f"{BATCH}/a b", "mp3")
    assert [line["custom_id"] for line in await lines(client, ERRORS)] == ["d"]


async def test_failures_have_the_numbers_of_their_lines(client: AsyncClient) -> None:
    await written(client, ["one", "four"], [entry("four", FAILED, options={"speed": 2})])
    refused = [
        {"custom_id": f"{n}", "code": "empty_text", "message": "m", "line": n, "body": {"x": n}}
        for n in (2, 3)
    ]
    await client.store.put(
        layout.rejected_object(client.namespace, BATCH),
        b"".join(json.dumps(line).encode() + b"\n" for line in refused),
        media_type="text/plain",
    )
    bad = await lines(client, ERRORS)
    assert {line["custom_id"]: line["error"]["line"] for line in bad} == {
        "2": 2,
        "3": 3,
        "four": 4,
    }
    assert bad[0]["body"] == {"x": 2}
    assert bad[2]["body"] == {
        "model": "a/b",
        "voice": "v",
        "input": "Text of four.",
        "response_format": "wav",
        "speed": 2,
    }


async def test_links_are_presigned_where_the_store_can(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await written(client, ["a"], [entry("a", SPOKEN)])

    async def link(store: Store, key: str, expires: float) -> str:
        return f"https://bucket.example/{key}?for={expires:.0f}"

    [in_folder] = await lines(client, OUTPUT, presigned=True)
    assert in_folder["response"]["body"]["url"].startswith(BASE)
    monkeypatch.setattr(type(client.store), "link", link)
    [line] = await lines(client, OUTPUT, presigned=True)
    assert line["response"]["body"]["url"] == (
        "https://bucket.example/audio/default/a/boot-1.mp3?for=604800"
    )


async def test_only_small_audio_is_put_into_the_lines(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_output, "INLINE_BYTES", 5)
    await written(
        client,
        ["a", "b", "c"],
        [entry("a", SPOKEN), entry("b", SPOKEN, bytes=6), entry("c", SPOKEN)],
    )
    await client.store.put("audio/default/a/boot-1.mp3", b"audio", media_type="audio/mpeg")
    bodies = {
        line["custom_id"]: line["response"]["body"]
        for line in await lines(client, OUTPUT, inline=True)
    }
    assert b64decode(bodies["a"]["audio"]) == b"audio"
    assert "audio" not in bodies["b"]  # too large
    assert "audio" not in bodies["c"]  # deleted
