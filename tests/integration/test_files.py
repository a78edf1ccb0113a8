"""Files of clients: their records, their expiry, and uploads that did not end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from speechfleet.erasure import delete_expired_files
from speechfleet.ledger.batch_keys import EXPIRING_FILES, FileKeys
from speechfleet.ledger.files import UNKNOWN_SIZE, StoredFile
from speechfleet.ledger.ledger import Ledger
from speechfleet.settings import Settings
from speechfleet.store import Store, layout, open_store

NAMESPACE = "a tenant"


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(Settings.load(redis_url=redis_url))
    await ledger.open()
    yield ledger
    await ledger.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(tmp_path.as_uri())
    yield store
    await store.close()


async def stored(ledger: Ledger, store: Store, id: str, lifetime: float) -> StoredFile:
    await ledger.files.begin(NAMESPACE, id)
    await store.put(layout.file_object(NAMESPACE, id), b"{}\n", media_type="application/jsonl")
    now = await ledger.files.now()
    file = StoredFile(id, "a.jsonl", "batch", 3, now, now + lifetime)
    await ledger.files.add(NAMESPACE, file)
    return file


async def overdue(ledger: Ledger, id: str) -> None:
    """Its time is over."""
    name = FileKeys(NAMESPACE, id).name
    assert await ledger.connection.scripts.call("ZADD", EXPIRING_FILES, "XX", "CH", 1, name)


async def test_what_has_expired_leaves_nothing(ledger: Ledger, store: Store) -> None:
    kept = await stored(ledger, store, "kept", 3600)
    await stored(ledger, store, "old", 3600)
    await ledger.files.begin(NAMESPACE, "broken off")
    await store.put(layout.file_object(NAMESPACE, "broken off"), b"{", media_type="text/plain")
    await delete_expired_files(ledger, store)
    assert len(await store.list("files/")) == 3
    await overdue(ledger, "old")
    await overdue(ledger, "broken off")
    await delete_expired_files(ledger, store)
    assert await store.list("files/") == [layout.file_object(NAMESPACE, "kept")]
    assert await ledger.files.ids(NAMESPACE) == ["kept"]
    assert await ledger.files.find(NAMESPACE, "kept") == kept
    assert await ledger.files.find(NAMESPACE, "old") is None
    assert await ledger.files.find("another tenant", "kept") is None


async def test_a_record_expires_by_itself(ledger: Ledger, store: Store) -> None:
    await stored(ledger, store, "gone", -1)
    assert await ledger.files.find(NAMESPACE, "gone") is None
    assert await ledger.files.get_all(NAMESPACE, ["gone"]) == []
    assert await ledger.files.ids(NAMESPACE) == []


async def test_a_deleted_output_is_not_made_again(ledger: Ledger) -> None:
    file = StoredFile("file-x", "x.jsonl", "batch_output", UNKNOWN_SIZE, 1.0)
    assert await ledger.files.register(NAMESPACE, file) == file
    sized = await ledger.files.resize(NAMESPACE, file, 7)
    assert sized == replace(file, bytes=7)
    assert await ledger.files.register(NAMESPACE, file) == sized
    await ledger.files.remove(NAMESPACE, sized)
    assert await ledger.files.find(NAMESPACE, "file-x") is None
    assert (await ledger.files.register(NAMESPACE, file)).deleted
    assert await ledger.files.get_all(NAMESPACE, ["file-x"]) == []
