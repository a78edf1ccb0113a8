"""Rights that the user of SPEECHFLEET_REDIS_URL lacks, found by trying."""

from __future__ import annotations

from uuid import uuid4

from speechfleet.ledger import keys
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.pipeline import Argument
from speechfleet.ledger.server_errors import refusal

PROBE_TTL_MS = 60_000


async def missing_rights(connection: Connection) -> list[str]:
    """Try a command of each kind on keys of its own; return the names of those refused.

    Also finds a server that was built without Lua scripts: their commands fail there.
    """
    prefix = f"{keys.PREFIX}:probe:{uuid4().hex}"
    name = f"{prefix}:string"
    commands: list[tuple[Argument, ...]] = [
        ("SET", name, "1", "PX", PROBE_TTL_MS),
        ("GET", name),
        ("HSET", f"{prefix}:hash", "a", "1"),
        ("HVALS", f"{prefix}:hash"),
        ("SADD", f"{prefix}:set", "a"),
        ("ZADD", f"{prefix}:zset", 1, "a"),
        ("LPUSH", f"{prefix}:list", "a"),
        ("LTRIM", f"{prefix}:list", 0, 9),
        ("LREM", f"{prefix}:list", 0, "a"),
        ("XADD", f"{prefix}:stream", "*", "a", "1"),
        ("XREAD", "COUNT", 1, "STREAMS", f"{prefix}:stream", "0"),
        ("XINFO", "STREAM", f"{prefix}:stream"),
        ("PUBLISH", prefix, "a"),
        ("SCRIPT", "LOAD", "return 1"),
        ("EVAL", f"return redis.call('PEXPIRE', KEYS[1], {PROBE_TTL_MS})", 1, name),
        ("CLIENT", "ID"),
        ("UNLINK", *(f"{prefix}:{kind}" for kind in _KINDS)),
    ]
    replies = await connection.scripts.pipe.call_all(commands)
    return [
        _name(command)
        for command, reply in zip(commands, replies, strict=True)
        if isinstance(reply, Exception) and _is_for_good(reply)
    ]


_KINDS = ("string", "hash", "set", "zset", "list", "stream")


def _name(command: tuple[Argument, ...]) -> str:
    has_subcommand = command[0] in ("SCRIPT", "CLIENT", "XINFO")
    return " ".join(map(str, command[: 2 if has_subcommand else 1]))


def _is_for_good(error: Exception) -> bool:
    found = refusal(error)
    return found is None or not found.passes
