"""Translate Redis' errors into ours: one table for its replies, one boundary for its calls."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote, urlsplit

from redis import exceptions

from speechfleet.errors import FleetFull, FleetUnavailable, MisconfiguredError
from speechfleet.ledger.sentinel_address import is_sentinel
from speechfleet.ledger.tls import tls_failure


class Remedy(Enum):
    """A measure against a refusal."""

    WAIT = "send the command again, on the same connection"
    RECONNECT = "connect again, to whichever server is the primary then, and send again"
    MAKE_ROOM = "give the server more memory"
    CONFIGURE = "correct the URL"


@dataclass(frozen=True)
class Refusal:
    """A kind of Redis error caused by the server's state (loading, full, read-only), not by the
    command.
    """

    code: str
    remedy: Remedy
    meaning: str

    @property
    def passes(self) -> bool:
        """Tell whether the same command succeeds later by itself."""
        return self.remedy in (Remedy.WAIT, Remedy.RECONNECT)


REFUSALS = {
    refusal.code: refusal
    for refusal in (
        Refusal("LOADING", Remedy.WAIT, "it loads its data from disk"),
        Refusal("BUSY", Remedy.WAIT, "it runs a script that takes long"),
        Refusal("UNKILLABLE", Remedy.WAIT, "it runs a script that takes long"),
        Refusal("MISCONF", Remedy.WAIT, "it cannot write to its disk: is the disk full?"),
        Refusal("NOREPLICAS", Remedy.WAIT, "fewer replicas are connected than it demands"),
        Refusal("TRYAGAIN", Remedy.WAIT, "it moves its data"),
        Refusal("CLUSTERDOWN", Remedy.WAIT, "its cluster is down"),
        Refusal("MAXCLIENTS", Remedy.WAIT, "it has as many connections as it takes (maxclients)"),
        Refusal("READONLY", Remedy.RECONNECT, "it is a replica, not the primary"),
        Refusal("MASTERDOWN", Remedy.RECONNECT, "it is a replica that lost its primary"),
        Refusal("UNBLOCKED", Remedy.RECONNECT, "it became a replica just now"),
        Refusal("OOM", Remedy.MAKE_ROOM, "it has no memory left (maxmemory)"),
        Refusal("NOAUTH", Remedy.CONFIGURE, "it refuses the password or the user"),
        Refusal("WRONGPASS", Remedy.CONFIGURE, "it refuses the password or the user"),
        Refusal("NOPERM", Remedy.CONFIGURE, "its user lacks a permission"),
        Refusal("DENIED", Remedy.CONFIGURE, "its protected mode lets in nobody from outside"),
    )
}

# redis-py takes the code off the message of the replies that it has a class for.
_CODE_OF_CLASS: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.BusyLoadingError, "LOADING"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.AuthenticationError, "NOAUTH"),
)
# A code begins the reply, or, from a script of an older server, follows a dash within it.
_CODE = re.compile(rf"(?:^|-)({'|'.join(REFUSALS)})\b")
_TOO_MANY_CLIENTS = "max number of clients"
# Its arguments follow in the reply, and may be secrets.
_UNKNOWN_COMMAND = re.compile(r"unknown (?:command ['`](\w+)|redis command called)", re.IGNORECASE)


def refusal(error: BaseException) -> Refusal | None:
    """Return the row of the table for this error, if the server refused to serve."""
    for kind, code in _CODE_OF_CLASS:
        if isinstance(error, kind):
            return REFUSALS[code]
    if not isinstance(error, exceptions.RedisError):
        return None
    text = str(error)
    if _TOO_MANY_CLIENTS in text:
        return REFUSALS["MAXCLIENTS"]
    found = _CODE.search(text)
    return REFUSALS[found[1]] if found else None


def is_lost_connection(error: BaseException) -> bool:
    """Tell whether another connection may succeed where this one failed."""
    if isinstance(error, exceptions.AuthenticationError):
        return False
    return isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError, OSError))


def passes(error: BaseException) -> bool:
    """Tell whether waiting helps: the server is away, or serves again by itself."""
    found = refusal(error)
    return found.passes if found else is_lost_connection(error)


def address_of(url: str) -> str:
    """Return host and port, or path, of a Redis URL; never its user or password."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2]
    if parts.scheme == "unix":
        return unquote(parts.path)
    if is_sentinel(url):
        service = parts.path.strip("/").partition("/")[0]
        return f"the primary of {service!r} (Sentinel at {hosts})"
    return hosts if ":" in hosts.rpartition("]")[2] else f"{hosts or 'localhost'}:6379"


def translate(error: Exception, address: str = "", advice: str = "") -> Exception:
    """Return our error for one of Redis'; an error that is a mistake of ours stays as it is.

    ``advice``: what else may be the matter where the server cannot be reached.
    """
    server = f"Redis at {address}" if address else "Redis"
    found = refusal(error)
    if found is not None:
        return _refused(found, server)
    if isinstance(error, exceptions.ResponseError) and (why := _lacking(error)):
        return MisconfiguredError(
            f"{server} does not know {why}, which speechfleet needs: point SPEECHFLEET_REDIS_URL "
            "at Redis >= 6.2 or Valkey, with no command renamed"
        )
    if why := tls_failure(error):
        return FleetUnavailable(f"{server} is not connected to: {why}")
    if is_lost_connection(error):
        return FleetUnavailable(
            f"{server} cannot be reached ({_reason(error)}): is it running, and is "
            f"SPEECHFLEET_REDIS_URL right?{advice}"
        )
    return error


def _lacking(error: exceptions.ResponseError) -> str:
    """Name the command that the server does not have; "" where that is not the matter."""
    found = _UNKNOWN_COMMAND.search(str(error))
    if found is None:
        return ""
    return f"the command {found[1].upper()}" if found[1] else "a command of a script"


def _refused(found: Refusal, server: str) -> Exception:
    message = f"{server} does not serve: {found.meaning} ({found.code})"
    match found.remedy:
        case Remedy.CONFIGURE:
            return MisconfiguredError(
                f"{message}. Correct SPEECHFLEET_REDIS_URL (redis://user:password@host:port/db)"
            )
        case Remedy.MAKE_ROOM:
            return FleetFull(f"{message}: wait, or give it more")
        case Remedy.RECONNECT:
            return FleetUnavailable(
                f"{message}. Point SPEECHFLEET_REDIS_URL at the primary, or at Sentinel"
            )
        case Remedy.WAIT:
            return FleetUnavailable(message)


def _reason(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, (TimeoutError, exceptions.TimeoutError)):
        return "no answer in time"
    return type(error).__name__


@contextmanager
def errors(address: str = "", advice: str = "") -> Iterator[None]:
    """Raise Redis' errors as ours."""
    try:
        yield
    except (exceptions.RedisError, OSError) as error:
        translated = translate(error, address, advice)
        if translated is error:
            raise
        raise translated from (error if isinstance(translated, FleetUnavailable) else None)
