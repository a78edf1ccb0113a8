"""Logins of browsers: random tokens that stand for an API key until they expire.

Redis keeps the hash of a token, so that every gateway of the fleet knows it and whoever reads
Redis cannot use it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass

from speechfleet.ledger import keys
from speechfleet.ledger.connection import Connection


@dataclass(frozen=True)
class Login:
    """The namespace that a login opens, and the digest of the API key it was made with."""

    namespace: str
    key: str


class Logins:
    """Logins by token."""

    def __init__(self, connection: Connection) -> None:
        self._scripts = connection.scripts

    async def create(self, login: Login, lifetime_s: int) -> str:
        """Store a login and return its token: 256 random bits."""
        token = secrets.token_urlsafe(32)
        data = json.dumps(asdict(login))
        await self._scripts.call("SET", _key(token), data, "EX", lifetime_s)
        return token

    async def find(self, token: str) -> Login | None:
        """Return the login of a token; None where it is unknown, expired or revoked."""
        data = await self._scripts.call("GET", _key(token))
        return Login(**json.loads(data)) if data else None

    async def revoke(self, token: str) -> None:
        """End a login; idempotent."""
        await self._scripts.call("DEL", _key(token))


def _key(token: str) -> str:
    return keys.login(hashlib.sha256(token.encode("utf-8", "backslashreplace")).hexdigest())
