"""Erases from the store what a deleted job has left there, and nothing that others use."""

from __future__ import annotations

from speechfleet.ledger.deletions import Leftovers
from speechfleet.ledger.ledger import Ledger
from speechfleet.lifecycle import State
from speechfleet.segment_store import SegmentStore
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
    await _delete_segments(SegmentStore(store, namespace), leftovers)
    return record.state.terminal


async def erase_objects(
    store: Store, namespace: str, id: str, leftovers: Leftovers, *, keep: str | None = None
) -> None:
    """Delete a job's audio objects, and its segments that no other job uses."""
    prefix = layout.objects_of(namespace, id)
    segments = SegmentStore(store, namespace)
    for hash in leftovers.used:
        await segments.detach(hash, prefix)
    await store.sweep(prefix, keep=keep)
    await _delete_segments(segments, leftovers)


async def _delete_segments(segments: SegmentStore, leftovers: Leftovers) -> None:
    for hash in leftovers.unused:
        await segments.delete(hash)


async def delete_expired_files(ledger: Ledger, store: Store) -> None:
    """Delete the files of clients whose time is over. Idempotent. Raises StoreError."""
    for namespace, id in await ledger.files.expired():
        await store.sweep(layout.file_object(namespace, id))
        await ledger.files.forget(namespace, id)
