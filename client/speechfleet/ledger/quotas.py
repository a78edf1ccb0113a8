"""Quotas of namespaces: their limits, and what the scripts of jobs count beside them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from speechfleet.errors import MisconfiguredError
from speechfleet.ledger import keys, tenant_keys
from speechfleet.ledger.connection import Connection
from speechfleet.lifecycle import State
from speechfleet.names import encode
from speechfleet.quotas import (
    EVERY_NAMESPACE,
    NamespaceQuotaExceeded,
    Quota,
    QuotaStatus,
    day_number,
    month_number,
)

_NANO = 1e9
"""Money is summed in units of 1e-9."""
_BY_SETTING = "by_setting"
"""Marks limits that come from SPEECHFLEET_QUOTAS, and go when they go from there."""


class Quotas:
    """The quotas of all namespaces; the scripts of jobs keep to them."""

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    async def set(self, namespace: str, quota: Quota, prices: Mapping[str, int]) -> None:
        """Limit a namespace from now on, or every other one (`EVERY_NAMESPACE`).

        ``prices``: of a billed unit, by model or provider, in 1e-9; see `unit_prices`.
        """
        await self._write(namespace, quota.limits(), prices)

    async def remove(self, namespace: str) -> bool:
        """Take the limits of a namespace away; False where it has none of its own."""
        return bool(await self._scripts.call("HDEL", tenant_keys.QUOTAS, _field(namespace)))

    async def follow_setting(
        self, quotas: Mapping[str, Quota] | None, prices: Mapping[str, int]
    ) -> None:
        """Set the quotas of the setting, and remove those that an earlier value has set.

        None: nothing is set, so nothing is removed. Prices are renewed where there are limits.
        """
        held = await self._scripts.call("HGETALL", tenant_keys.QUOTAS)
        if quotas is not None:
            wanted = {_field(namespace) for namespace in quotas}
            for field, limits in held.items():
                if field.decode() not in wanted and _BY_SETTING in json.loads(limits):
                    await self._scripts.call("HDEL", tenant_keys.QUOTAS, field)
            for namespace, quota in quotas.items():
                await self._write(namespace, {**quota.limits(), _BY_SETTING: 1}, prices)
        elif held:
            await self._write_prices(prices)

    async def all(self) -> dict[str, Quota]:
        """Return the limits of all namespaces that have their own, and the default's."""
        raw = await self._scripts.call("HGETALL", tenant_keys.QUOTAS)
        return {unquote(name.decode()): _decode(limits) for name, limits in raw.items()}

    async def status(self, namespace: str) -> QuotaStatus | None:
        """Return a namespace's limits and what is taken of them; None where it has none."""
        call = self._scripts.call
        own, default = await call("HMGET", tenant_keys.QUOTAS, _field(namespace), EVERY_NAMESPACE)
        if own is None and default is None:
            return None
        sums, queued, time = await asyncio.gather(
            call("HGETALL", tenant_keys.quota_sums(namespace)),
            call("ZCARD", keys.index(namespace, State.QUEUED)),
            self._scripts.time(),
        )
        get = {name.decode(): int(value) for name, value in sums.items()}.get
        today = day_number(time) <= get("day", 0)
        this_month = month_number(time) <= get("month", 0)
        characters = float(get("reserved", 0))
        return QuotaStatus(
            namespace,
            _decode(default if own is None else own),
            used={
                "queued": int(queued),
                "streams": 0,
                "characters_day": get("characters_day", 0) if today else 0,
                "characters_month": get("characters_month", 0) if this_month else 0,
                "money_day": get("money_day", 0) / _NANO if today else 0.0,
                "store_bytes": get("store_bytes", 0),
            },
            reserved={
                "queued": 0,
                "streams": get("streams", 0),
                "characters_day": characters,
                "characters_month": characters,
                "money_day": get("reserved_money", 0) / _NANO,
                "store_bytes": 0,
            },
            time=time,
            by_default=own is None,
            refused={name: int(get(f"refused_{name}", 0)) for name in Quota.model_fields},
        )

    async def statuses(self, most: int) -> Sequence[QuotaStatus]:
        """Return the limits of namespaces, with those that have the default's and used some."""
        quotas = await self.all()
        names = [name for name in quotas if name != EVERY_NAMESPACE]
        if EVERY_NAMESPACE in quotas:
            names = list(dict.fromkeys([*names, *await self._namespaces()]))
        found = [await self.status(name) for name in names[:most]]
        return [status for status in found if status is not None]

    # --- what is in the store ---------------------------------------------------------------

    async def storing(self) -> Sequence[str]:
        """List the namespaces whose bytes in the store are limited."""
        quotas = await self.all()
        names = set(quotas) - {EVERY_NAMESPACE}
        default = quotas.get(EVERY_NAMESPACE)
        if default is not None and default.store_bytes is not None:
            others = set(await self._namespaces()) - names
            return sorted([*others, *_limited(quotas, names)])
        return sorted(_limited(quotas, names))

    async def begin_recount(self, namespace: str, token: str, lease_s: float) -> int | None:
        """Return the bytes counted so far, or None where another worker measures them.

        Until the lease is over, no other one begins.
        """
        call, key = self._scripts.call, tenant_keys.quota_recount(namespace)
        if await call("SET", key, token, "NX", "PX", int(lease_s * 1000)) is None:
            return None
        counted = await call("HGET", tenant_keys.quota_sums(namespace), "store_bytes")
        return int(counted or 0)

    async def end_recount(self, namespace: str, token: str, change: int, rest_s: float) -> bool:
        """Correct the bytes counted by what was measured, and rest; False after the lease."""
        owned = (tenant_keys.quota_recount(namespace), tenant_keys.quota_sums(namespace))
        return bool(
            await self._scripts.run("quota_recount", owned, token, change, int(rest_s * 1000))
        )

    async def _namespaces(self) -> Sequence[str]:
        """List the namespaces of which anything was counted."""
        pattern, found, cursor = tenant_keys.all_quota_sums(), list[str](), b"0"
        while True:
            cursor, names = await self._scripts.call(
                "SCAN", cursor, "MATCH", pattern, "COUNT", 1000
            )
            found += [unquote(name.decode().rpartition(":")[2]) for name in names]
            if int(cursor) == 0:
                return found

    async def _write(
        self, namespace: str, limits: Mapping[str, Any], prices: Mapping[str, int]
    ) -> None:
        await self._write_prices(prices)
        await self._scripts.call("HSET", tenant_keys.QUOTAS, _field(namespace), json.dumps(limits))

    async def _write_prices(self, prices: Mapping[str, int]) -> None:
        pairs = [item for pair in prices.items() for item in pair]
        await self._scripts.call("HSET", tenant_keys.UNIT_PRICES, *pairs)


def check_refusal(namespace: str, model: str, reply: Any) -> None:
    """Raise the error of a script's reply that is a quota's refusal; see `quotas.lua`."""
    outcome = reply[0] if reply else b""
    if outcome == b"quota":
        _, limit, *numbers = reply
        value, taken, asked, milliseconds = map(float, numbers)
        raise NamespaceQuotaExceeded.of(
            namespace, limit.decode(), value, taken, asked, milliseconds / 1000
        )
    if outcome == b"unpriced":
        raise MisconfiguredError(
            f"the money of namespace {namespace!r} is limited, and no price is known for "
            f"{model}: set one in SPEECHFLEET_PRICES of the workers"
        )


def _limited(quotas: Mapping[str, Quota], names: Iterable[str]) -> list[str]:
    return [name for name in names if quotas[name].store_bytes is not None]


def _field(namespace: str) -> str:
    return EVERY_NAMESPACE if namespace == EVERY_NAMESPACE else encode(namespace)


def _decode(limits: bytes) -> Quota:
    known = json.loads(limits)
    return Quota(**{name: known[name] for name in Quota.model_fields if name in known})
