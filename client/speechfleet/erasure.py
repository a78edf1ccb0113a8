"""Erases from the store what a deleted job has left there, and nothing that others use."""

from __future__ import annotations

import json
from typing import Any

from speechfleet.audio import wav
from speechfleet.errors import ObjectExists, ObjectMissing
from speechfleet.ledger.deletions import Leftovers
from speechfleet.ledger.ledger import Ledger
from speechfleet.lifecycle import State
from speechfleet.segment_store import read_segment
from speechfleet.store import Store, layout


async def sweep_deleted(ledger: Ledger, store: Store, namespace: str, id: str) -> bool:
    """Sweep the store once more; False where a new job of the same id still runs.

    Idempotent. Raises StoreError; the sweep can be repeated then.
    """
    leftovers = await ledger.deletions.leftovers(namespace, id)
    record = await ledger.jobs.find(namespace, id)
    if record is None:
        await erase_objects(store, namespace, id, leftovers)
        return True
    if record.state is State.SUCCEEDED:
        await erase_objects(store, namespace, id, leftovers, keep=record.object)
        return True
    await _delete_segments(store, namespace, leftovers)
    return record.state.terminal


async def erase_objects(
    store: Store, namespace: str, id: str, leftovers: Leftovers, *, keep: str | None = None
) -> None:
    """Delete a job's audio objects, and its segments that no other job uses."""
    prefix = layout.objects_of(namespace, id)
    for hash in leftovers.used:
        await _detach_segment(store, namespace, hash, prefix)
    await store.sweep(prefix, keep=keep)
    await _delete_segments(store, namespace, leftovers)


async def _delete_segments(store: Store, namespace: str, leftovers: Leftovers) -> None:
    for hash in leftovers.unused:
        await store.delete(layout.segment_object(namespace, hash))
        await store.delete(layout.words_object(namespace, hash))


async def _detach_segment(store: Store, namespace: str, hash: str, prefix: str) -> None:
    """Store the audio of a segment under its own key, where a note points below ``prefix``."""
    key = layout.segment_object(namespace, hash)
    try:
        data = await store.get(key)
        if not _points_below(data, prefix):
            return
        audio = await read_segment(store, namespace, hash)
    except (ObjectMissing, ValueError):
        return  # nobody can read it any more
    whole = wav.encode(bytes(audio.pcm), audio.sample_rate, audio.channels, audio.words)
    await store.delete(key)
    try:
        await store.put(key, whole, media_type="application/octet-stream")
    except ObjectExists:
        return  # another job has just stored the same segment


def _points_below(data: bytes, prefix: str) -> bool:
    if data[:1] != b"{":
        return False
    note: Any = json.loads(data)
    return isinstance(note, dict) and str(note.get("object", "")).startswith(prefix)


async def delete_expired_files(ledger: Ledger, store: Store) -> None:
    """Delete the files of clients whose time is over. Idempotent. Raises StoreError."""
    for namespace, id in await ledger.files.expired():
        await store.sweep(layout.file_object(namespace, id))
        await ledger.files.forget(namespace, id)
