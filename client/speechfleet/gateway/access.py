"""API keys: how they are made, what is kept of them, and who a request is."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from speechfleet.gateway.failures import KeyRefused

PREFIX = "sf-"
COOKIE = "speechfleet_key"


def make_key() -> str:
    """A new key: 256 random bits, so that a plain hash of it is safe to keep."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()


@dataclass(frozen=True)
class Caller:
    """Who a request is. ``key``: the digest, "" where none is asked for."""

    namespace: str
    key: str = ""


class Keyring:
    """Digests of keys, each with the one namespace that it opens."""

    def __init__(self, namespaces: Mapping[str, str], default: str) -> None:
        self._namespaces = namespaces
        self._default = default

    @property
    def required(self) -> bool:
        return bool(self._namespaces)

    def caller(self, key: str | None) -> Caller | None:
        """None where the key opens nothing."""
        if not self.required:
            return Caller(self._default)
        found = digest(key or "")
        namespace = self._namespaces.get(found)
        return None if namespace is None else Caller(namespace, found)

    def identify(self, request: HTTPConnection) -> Caller:
        """By header, else by the cookie of `/login`. Raises KeyRefused."""
        key = presented(request)
        if caller := self.caller(key):
            return caller
        if key is None:
            raise KeyRefused("an API key is needed: send it as `Authorization: Bearer KEY`")
        raise KeyRefused("this API key is not known here", code="invalid_api_key")


def presented(request: HTTPConnection) -> str | None:
    """The key that a request brings, right or wrong."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    return request.cookies.get(COOKIE)
