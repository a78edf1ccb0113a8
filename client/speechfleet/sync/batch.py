"""A batch, for programs without an event loop. Generated: see `make sync`."""

from __future__ import annotations

from collections.abc import Generator

from speechfleet.batch.batch import AsyncBatch
from speechfleet.batch.manifest import Entry
from speechfleet.batch.summary import Summary
from speechfleet.ledger import BatchStatus
from speechfleet.sync.base import SyncHandle


class Batch(SyncHandle[AsyncBatch]):
    """Speak many texts, each once; `Client.batch` makes it. Run it once at a time.

    `results` feeds the fleet while it is read, lazily and within the window, so that memory
    stays flat however many items there are. Whatever ends a run, the next one with the same
    ``out`` (or id) resumes: what the manifest has is not spoken again.
    """

    @property
    def id(self) -> str:
        """Return the id that was given, or the folder's, or a new one."""
        return self._async.id

    @property
    def summary(self) -> Summary:
        """Return the counts of this run so far."""
        return self._async.summary

    def run(self) -> Summary:
        """Speak all items; see `results`."""
        return self._loop.run(self._async.run())

    def results(self) -> Generator[Entry, None, None]:
        """Feed the items and yield the manifest's entries, in the order in which they end.

        An item that fails has its entry, with ``error``. An entry is in the manifest before it
        is yielded. Raises BatchStopped (with the cause) where an error of the account, or
        somebody, stopped the batch; InvalidRequest with its place where an item is wrong, after
        what was in flight has ended; OSError where the folder cannot be written.
        """
        yield from self._loop.iterate(self._async.results())

    def detach(self) -> str:
        """Leave the items to the fleet, which feeds them from the store; return the batch's id.

        Idempotent: the same items under the same id resume, whatever ended them, and those that
        failed are tried again. Without id and ``out`` the id is made of the items. Raises as
        `results` does before anything is spoken, and InvalidRequest where a client feeds it.
        """
        return self._loop.run(self._async.detach())

    def status(self) -> BatchStatus:
        """Return what the fleet has counted. Raises BatchNotFound."""
        return self._loop.run(self._async.status())

    def fed_by(self) -> str:
        """Return the boot id of the worker that feeds a detached batch.

        "the fleet" while no worker does; "" for a batch that its own command feeds.
        """
        return self._loop.run(self._async.fed_by())

    def entries(self) -> Generator[Entry, None, None]:
        """Yield the entries of the manifest, then the results that it does not have yet.

        The manifest of a detached batch is in the store, of another in its folder, if that is on
        this machine. Of several entries of one id the last counts. Raises BatchNotFound.
        """
        yield from self._loop.iterate(self._async.entries())

    def cancel(self, reason: str = "cancelled by a client") -> int:
        """Stop what waits and what runs; return how many items. Raises BatchNotFound."""
        return self._loop.run(self._async.cancel(reason))

    def retry_failed(self) -> int:
        """Speak the items that failed again; return how many.

        The next run writes down how they end.
        """
        return self._loop.run(self._async.retry_failed())
