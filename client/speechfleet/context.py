"""The context: settings, ledger and store that the handles of one namespace share."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from speechfleet.ledger.ledger import Ledger
from speechfleet.request import check_id
from speechfleet.settings import Settings
from speechfleet.store import Store, open_store


class LazyStore:
    """Open the object store once in each process, when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: Store | None = None
        self._process = os.getpid()

    def open(self) -> Store:
        """Return the store. Raises MisconfiguredError, MissingExtra."""
        if self._store is None or self._process != os.getpid():  # its threads are the parent's
            self._store = open_store(self._settings.required_store)
            self._process = os.getpid()
        return self._store

    async def close(self) -> None:
        """Close the store if it was opened."""
        store, self._store = self._store, None
        if store is not None and self._process == os.getpid():
            await store.close()


@dataclass(frozen=True)
class Context:
    """Hold everything that a handle (job, session, batch) needs of its client.

    Contexts of several namespaces share one ledger and one store; whoever made the first one
    closes them.
    """

    settings: Settings
    namespace: str
    ledger: Ledger
    lazy_store: LazyStore = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Context:
        """Make a context; nothing is connected yet. Raises MisconfiguredError, IllegalId."""
        namespace = check_id(settings.namespace)
        return cls(settings, namespace, Ledger(settings), LazyStore(settings))

    @property
    def store(self) -> Store:
        """The object store. Raises MisconfiguredError, MissingExtra."""
        return self.lazy_store.open()

    def within(self, namespace: str) -> Context:
        """Return the same context in another namespace. Raises IllegalId."""
        return replace(self, namespace=check_id(namespace))

    async def close(self) -> None:
        """Close the ledger and the store."""
        await self.ledger.close()
        await self.lazy_store.close()
