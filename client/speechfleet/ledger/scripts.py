"""The Lua scripts: filled in, loaded, run."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from importlib import resources
from typing import Any

import redis.asyncio
from redis.exceptions import NoScriptError

from speechfleet.jobs import TRANSITIONS
from speechfleet.keys import PATTERNS
from speechfleet.ledger.pipe import Argument, Pipe
from speechfleet.message import BEHIND, NUDGE, TASK, TEMPLATE
from speechfleet.settings import Settings

FEED = ("feed_open", "feed_take", "feed_move", "feed_leave")
STAND_ALONE = ("publish", "rewind", "read", "reclaim", "beat", "batch", *FEED)
"""Scripts that do without the prelude: they run for every chunk, or several times a second."""
BEGINNINGS = {
    "take": ("budget", "claiming"),
    "speak": ("claiming",),
    "refused": ("budget",),
    "through": ("budget",),
    "refill": ("budget",),
}
"""Scripts that begin otherwise than with the prelude."""
REFUSED_WHEN_FULL = ("submit", "retry")
"""All others pass the memory limit: what was begun can always be ended. Audio has a limit of
its own, ``stream_bytes``."""


class Scripts:
    """Runs ``lua/<name>.lua`` with our errors, loading it again where the server forgot it."""

    def __init__(
        self,
        redis: redis.asyncio.Redis,
        settings: Settings,
        errors: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._settings = settings
        self._errors = errors
        self._loading: dict[str, asyncio.Future[Any]] = {}
        self._sources: dict[str, tuple[str, str]] = {}
        self.pipe = Pipe(redis)
        self.may_pass_memory_limit = False
        """Whether the server knows script flags (Redis 7, Valkey)."""

    async def run_all(
        self, name: str, calls: Iterable[tuple[Sequence[str], Sequence[Argument]]]
    ) -> list[Any]:
        """Each call's reply or error (one of ours), in order."""
        source, digest = self._source(name)
        commands = [("EVALSHA", digest, len(keys), *keys, *arguments) for keys, arguments in calls]
        replies = await self.pipe.call_all(commands)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            await self._load(source)
            # Idempotent: what was done is found to be done.
            replies = await self.pipe.call_all(commands)
        return [self._told(reply) for reply in replies]

    def _told(self, reply: Any) -> Any:
        if not isinstance(reply, Exception):
            return reply
        try:
            with self._errors():
                raise reply
        except Exception as error:  # noqa: BLE001 # the caller decides
            return error

    async def run(self, name: str, keys: Sequence[str], *arguments: Argument) -> Any:
        source, digest = self._source(name)
        command = ("EVALSHA", digest, len(keys), *keys, *arguments)
        try:
            return await self.pipe.call(*command)
        except NoScriptError:
            await self._load(source)
            return await self.call(*command)
        except Exception:
            with self._errors():
                raise

    async def _load(self, source: str) -> None:
        """Once for all who found it missing at the same moment."""
        loading = self._loading.get(source)
        if loading is None:
            loading = asyncio.ensure_future(self.call("SCRIPT", "LOAD", source))
            self._loading[source] = loading
            loading.add_done_callback(lambda _: self._loading.pop(source, None))
        await loading

    async def call(self, *command: Argument) -> Any:
        """A plain command, sent together with whatever else is waiting."""
        try:
            return await self.pipe.call(*command)
        except Exception:
            # Entered for an error only: there is a command a chunk.
            with self._errors():
                raise

    def text(self, name: str) -> str:
        """The script as this server takes it."""
        return self._source(name)[0]

    def _source(self, name: str) -> tuple[str, str]:
        if name not in self._sources:
            text = source(name, self._settings)
            if self.may_pass_memory_limit:
                flags = "" if name in REFUSED_WHEN_FULL else " flags=allow-oom"
                text = f"#!lua{flags}\n{text}"
            self._sources[name] = (text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 # Redis' own name for a script
        return self._sources[name]

    async def close(self) -> None:
        await self.pipe.close()


_OF_MESSAGE = {
    "TASK": "task", "JOB": "NAME", "SEQ": "sequence", "QUEUE": "queue", "PRIORITY": "priority",
}  # fmt: skip


def _lua_keys() -> str:
    """``local STREAMS = 'speechfleet.1:stream:' .. JOB .. ':'`` and so on."""
    lines = [
        "local NAMESPACE = string.match(NAME, '^[^/]*')",
        "local JOB = string.gsub(NAME, '/', ':', 1)",
    ]
    for name, pattern in PATTERNS.items():
        value = f"'{pattern}'".replace("{namespace}", "' .. NAMESPACE .. '")
        value = value.replace("{job}", "' .. JOB .. '").removesuffix(" .. ''")
        lines.append(f"local {name} = {value}")
    return "\n".join(lines)


def _lua_message() -> str:
    """The message as an expression, of ``task``, ``sequence`` and so on."""
    text, *rest = re.split("@([A-Z]+)@", TEMPLATE)
    parts = [f"[==[{text}]==]"]
    for mark, text in zip(rest[::2], rest[1::2], strict=True):
        parts += [_OF_MESSAGE[mark], f"[==[{text}]==]"]
    return " .. ".join(parts)


@cache
def _read(name: str) -> str:
    return resources.files("speechfleet").joinpath(f"lua/{name}.lua").read_text("utf-8")


def source(name: str, settings: Settings) -> str:
    """The script as the server gets it."""
    if name in STAND_ALONE:
        return _read(name)
    if name in BEGINNINGS:
        return "".join(map(_read, (*BEGINNINGS[name], name)))
    table = ", ".join(
        f"{state} = {{{', '.join(f'{event} = {to.value!r}' for event, to in events.items())}}}"
        for state, events in TRANSITIONS.items()
    )
    script = _read("prelude") + _read(name)
    for mark, value in {
        "@KEYS@": _lua_keys(),
        "@TRANSITIONS@": f"{{{table}}}",
        "@MESSAGE@": _lua_message(),
        "@BEHIND@": BEHIND,
        "@STREAM_TTL@": str(int(settings.stream_ttl * 1000)),
        "@RECORD_TTL@": str(int(settings.record_ttl * 1000)),
        "@SPEAK@": TASK,
        "@NUDGE@": NUDGE,
    }.items():
        script = script.replace(mark, value)
    return script
