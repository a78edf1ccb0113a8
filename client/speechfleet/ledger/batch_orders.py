"""Batches with an input file that a gateway checks first, and with a completion window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from speechfleet.ledger import batch_keys as keys
from speechfleet.ledger.batch_keys import BatchKeys
from speechfleet.ledger.batch_status import BatchState, notes_as_fields
from speechfleet.ledger.batches import Batches
from speechfleet.ledger.connection import Connection

EXPIRED_CODE = "batch_expired"
EXPIRED_MESSAGE = "the completion window of the batch ended before this line was spoken"


class BatchOrders:
    """The part of a batch's life before its first item, and the end of its completion window."""

    def __init__(self, connection: Connection, batches: Batches) -> None:
        self._connection = connection
        self._scripts = connection.scripts
        self._batches = batches

    async def announce(
        self, namespace: str, id: str, about: Mapping[str, str], *, within_s: float
    ) -> None:
        """Make a batch whose input file is to be checked, and which expires after the seconds."""
        expires = await self._scripts.time() + within_s
        fields = ("expires", str(int(expires * 1000)), *notes_as_fields(about))
        await self._batches.become(namespace, id, BatchState.VALIDATING, *fields)

    async def take(self, lease_s: float) -> tuple[str, str] | None:
        """Return (namespace, batch) of one to check, for so long; None where there is none."""
        arguments = (int(lease_s * 1000),)
        name = await self._scripts.run("take_validating", (keys.VALIDATING,), *arguments)
        if name is None:
            return None
        batch = BatchKeys.parse(name.decode())
        return batch.namespace, batch.id

    async def keep(self, namespace: str, id: str, lease_s: float) -> None:
        """Renew the lease of a batch that is still validating; 0 seconds give it back."""
        until = int((await self._scripts.time() + lease_s) * 1000)
        name = BatchKeys(namespace, id).name
        await self._scripts.call("ZADD", keys.VALIDATING, "XX", until, name)

    async def refuse(
        self, namespace: str, id: str, code: str, message: str, about: Mapping[str, str]
    ) -> None:
        """Stop a batch before its first item, unless it was cancelled. It expires as any other."""
        fields = ("code", code, "message", message, *notes_as_fields(about))
        ttl = str(int(self._connection.settings.record_ttl * 1000))
        expected = (BatchState.VALIDATING,)
        await self._batches.become(
            namespace, id, BatchState.STOPPED, *fields, ttl=ttl, expected=expected
        )

    # --- the completion window --------------------------------------------------------------

    async def overdue(self, count: int = 100) -> Sequence[tuple[str, str]]:
        """List (namespace, batch) of those whose completion window has ended."""
        now = int(await self._scripts.time() * 1000)
        names = await self._scripts.call(
            "ZRANGEBYSCORE", keys.WINDOWS, "-inf", now, "LIMIT", 0, count
        )
        found = (BatchKeys.parse(name.decode()) for name in names)
        return [(batch.namespace, batch.id) for batch in found]

    async def expire(self, namespace: str, id: str) -> None:
        """Cancel the rest of an open batch: its time is over. Idempotent.

        One that is still validating expires once it is open, so that its lines are known.
        """
        fields = ("code", EXPIRED_CODE, "message", EXPIRED_MESSAGE)
        expected = (BatchState.OPEN,)
        if await self._batches.become(
            namespace, id, BatchState.EXPIRED, *fields, expected=expected
        ):
            await self._batches.cancel_items(namespace, id, EXPIRED_MESSAGE)

    # --- output files -----------------------------------------------------------------------

    async def unlisted(self, namespace: str) -> Sequence[str]:
        """List batches whose output files are in no list yet, running ones among them."""
        names = await self._scripts.call("SMEMBERS", keys.unlisted(namespace))
        return [unquote(name.decode()) for name in names]

    async def listed(self, namespace: str, id: str) -> None:
        """Note that the output files of a batch are listed, or that there will be none."""
        owned = BatchKeys(namespace, id)
        await self._scripts.call("SREM", keys.unlisted(namespace), owned.encoded)
