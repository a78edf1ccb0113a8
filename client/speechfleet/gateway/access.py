"""API keys: made at random, kept as hashes, each for one namespace."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from speechfleet.errors import MisconfiguredError
from speechfleet.gateway.errors import ScopeMissing
from speechfleet.ledger.api_keys import ADMIN, METRICS, SCOPES

log = logging.getLogger("speechfleet.gateway")

PREFIX = "sf-"
CALLER = "speechfleet.caller"
"""The entry of the ASGI scope that holds the Caller; absent where no key was asked for."""
ALL = "all"
"""Stands for all scopes in a file of keys."""
RELOAD_INTERVAL_S = 1.0
"""Seconds between looks at the file of keys."""
_LINE = re.compile(r"([^=\s]+)=([0-9a-f]{64})((?:\s+\w+=\S+)*)")


def make_key() -> str:
    """Return a new key: 256 random bits, so that a plain hash of it is safe to keep."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """Return the hash under which a key is kept."""
    return hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()


@dataclass(frozen=True)
class Caller:
    """The sender of a request. ``key``: the digest of its API key, "" where none is needed.

    ``scopes``: what it may do; a key without scopes of its own may do everything.
    """

    namespace: str
    key: str = ""
    scopes: frozenset[str] = frozenset(SCOPES)

    @property
    def key_id(self) -> str:
        """The beginning of the digest, which names the key in logs."""
        return self.key[:8]

    def check(self, scope: str) -> None:
        """Raise ScopeMissing where the caller's key does not have the scope.

        Who may see the whole fleet may see its metrics.
        """
        if scope in self.scopes or (scope == METRICS and ADMIN in self.scopes):
            return
        raise ScopeMissing(
            f"this key lacks the scope {scope!r}; it has {', '.join(sorted(self.scopes))}"
        )


@dataclass(frozen=True)
class ApiKey:
    """The namespace and the scopes that a key opens, until it expires (Unix time)."""

    namespace: str
    scopes: frozenset[str] = frozenset(SCOPES)
    expires: float | None = None


class KeyFile:
    """Read API keys from a file, and again whenever it changes.

    A line is ``namespace=sha256``, and may go on with ``scope=speak,read`` and
    ``expires=2027-01-31`` (that day included, in UTC). Lines that begin with # are comments.
    """

    def __init__(self, path: Path) -> None:
        """Raises MisconfiguredError where the file cannot be read."""
        self._path = path
        self._checked = time.monotonic()
        self._version: tuple[int, int] | None = None
        self._keys: dict[str, ApiKey] = {}
        self._load()

    def get(self, key_digest: str) -> ApiKey | None:
        """Return what the key with this digest opens; None where it opens nothing."""
        if time.monotonic() - self._checked >= RELOAD_INTERVAL_S:
            self._checked = time.monotonic()
            try:
                self._load()
            except MisconfiguredError as error:
                log.error("%s; the keys read before stay valid", error.message)
        return self._keys.get(key_digest)

    def _load(self) -> None:
        try:
            state = self._path.stat()
            version = (state.st_mtime_ns, state.st_size)
            if version == self._version:
                return
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise MisconfiguredError(
                f"SPEECHFLEET_GATEWAY_KEYS_FILE: {self._path} cannot be read ({error})"
            ) from None
        self._keys = parse_keys(text, str(self._path))
        self._version = version


class Keyring:
    """The API keys of the settings and of a file, each with the one namespace that it opens."""

    def __init__(
        self,
        namespaces: Mapping[str, str],
        default: str,
        file: KeyFile | None = None,
        *,
        stored: bool = False,
    ) -> None:
        """``stored``: keys are asked for, although there may be none here."""
        self._namespaces = namespaces
        self._default = default
        self._file = file
        self._stored = stored

    @property
    def required(self) -> bool:
        """Tell whether requests need a key."""
        return bool(self._namespaces) or self._file is not None or self._stored

    def caller(self, key: str | None) -> Caller | None:
        """Return who a key belongs to; None where it opens nothing."""
        if not self.required:
            return Caller(self._default)
        return self.caller_of_digest(digest(key or ""))

    def caller_of_digest(self, key_digest: str) -> Caller | None:
        """Return who the key with this digest belongs to; None where it opens nothing."""
        if (namespace := self._namespaces.get(key_digest)) is not None:
            return Caller(namespace, key_digest)
        key = self._file.get(key_digest) if self._file else None
        if key is None or (key.expires is not None and time.time() >= key.expires):
            return None
        return Caller(key.namespace, key_digest, key.scopes)


def parse_keys(text: str, source: str) -> dict[str, ApiKey]:
    """Return digest -> key of a file's lines. Raises MisconfiguredError naming the line."""
    keys = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise MisconfiguredError(
                f"{source}, line {number}: it must be namespace=sha256, as `speechfleet key` "
                "prints it, then scope=speak,read or expires=2027-01-31"
            )
        namespace, key_digest, rest = match.groups()
        try:
            keys[key_digest] = _key(namespace, dict(p.split("=", 1) for p in rest.split()))
        except ValueError as error:
            raise MisconfiguredError(f"{source}, line {number}: {error}") from None
    return keys


def _key(namespace: str, attributes: dict[str, str]) -> ApiKey:
    named = attributes.pop("scope", ALL)
    scopes = frozenset(SCOPES if named == ALL else named.split(","))
    if not scopes <= set(SCOPES):
        raise ValueError(f"scope={named}: there are {', '.join((ALL, *SCOPES))}")
    day = attributes.pop("expires", "")
    if attributes:
        raise ValueError(f"{min(attributes)}: a key has scope= and expires= only")
    if not day:
        return ApiKey(namespace, scopes)
    end = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    return ApiKey(namespace, scopes, end.timestamp())
