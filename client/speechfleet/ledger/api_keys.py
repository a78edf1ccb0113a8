"""API keys of the gateway that Redis keeps: by their hash, with a name, scopes and an end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from speechfleet.ledger import tenant_keys as keys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.skip_on_error import skip_on_error

SPEAK, READ, ADMIN, METRICS = "speak", "read", "admin", "metrics"
SCOPES = (SPEAK, READ, ADMIN, METRICS)
"""``speak``: make and change jobs; ``read``: see jobs, audio, lists and usage; ``admin``: see the
whole fleet; ``metrics``: its metrics."""


@dataclass(frozen=True)
class StoredKey:
    """An API key; only its SHA-256 is known. Times are Unix seconds."""

    digest: str
    namespace: str
    name: str
    scopes: tuple[str, ...]
    created: float
    expires: float | None = None


class ApiKeys:
    """The stored API keys of all namespaces; every gateway looks them up."""

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    async def add(self, key: StoredKey) -> None:
        """Store a key; it opens its namespace from now on."""
        data = json.dumps(asdict(key), sort_keys=True)
        await self._scripts.call("HSET", keys.API_KEYS, key.digest, data)

    async def find(self, digest: str) -> StoredKey | None:
        """Return the key with this digest, also an expired one; None where it is unknown."""
        data = await self._scripts.call("HGET", keys.API_KEYS, digest)
        return _decode(data) if data else None

    async def list(self, namespace: str) -> Sequence[StoredKey]:
        """List the keys of a namespace by name, those that have expired too."""
        found = []
        for data in await self._scripts.call("HVALS", keys.API_KEYS):
            with skip_on_error("read an API key"):
                found.append(_decode(data))
        return sorted(
            (key for key in found if key.namespace == namespace), key=lambda key: key.name
        )

    async def revoke(self, namespace: str, name: str) -> int:
        """Forget the keys of this name, and return their number."""
        digests = [key.digest for key in await self.list(namespace) if key.name == name]
        return int(await self._scripts.call("HDEL", keys.API_KEYS, *digests)) if digests else 0


def _decode(data: bytes) -> StoredKey:
    values = json.loads(data)
    values["scopes"] = tuple(values["scopes"])
    return StoredKey(**{name: values[name] for name in StoredKey.__dataclass_fields__})
