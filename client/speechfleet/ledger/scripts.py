"""The Lua scripts: composed of their files, filled in, loaded, run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from importlib import resources
from typing import Any

from redis.exceptions import NoScriptError

from speechfleet.ledger.keys import PATTERNS, PREFIX
from speechfleet.ledger.lua_linker import link, words_of
from speechfleet.ledger.message import BEHIND, NUDGE, TASK, TEMPLATE
from speechfleet.ledger.pipeline import Argument, CommandPipeline
from speechfleet.lifecycle import TRANSITIONS
from speechfleet.settings import Settings

REFUSED_WHEN_FULL = "-- memory: refused when full"
"""The line that marks a script which a server without memory refuses.

All others pass the memory limit: what was begun can always be ended. Audio has a limit of its
own, ``stream_bytes``.
"""
_FIRST_WRITE = f"redis.call('DEL', '{PREFIX}:first-write')\n"
"""Before Redis 7 a full server checks only the first write of a script, and never a DEL."""
_INCLUDE = re.compile(r"^-- include: (\w+)\n", re.MULTILINE)
USAGE_TTL_S = 400 * 86400
"""Seconds for which the sums of a day are kept: more than a year."""

MOST_LOADS = 10
"""Times that many calls give the server the text of a script that it does not know."""


class Scripts:
    """Runs the scripts of ``lua/`` by name; a server that does not know one gets its text."""

    def __init__(
        self,
        pipe: CommandPipeline,
        settings: Settings,
        errors: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._settings = settings
        self._errors = errors
        self._sources: dict[str, tuple[str, str]] = {}
        self.pipe = pipe
        self.may_pass_memory_limit = False
        """The server knows script flags (Redis 7, Valkey)."""

    async def run_all(
        self, name: str, calls: Iterable[tuple[Sequence[str], Sequence[Argument]]]
    ) -> list[Any]:
        """Run a script once for each call, and return the replies or errors, in order."""
        source, digest = self._source(name)
        commands = [("EVALSHA", digest, len(keys), *keys, *arguments) for keys, arguments in calls]
        replies = await self.pipe.call_all(commands)
        for _ in range(MOST_LOADS):  # a server that took over meanwhile may not know it either
            missed = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if not missed:
                break
            await self.call("SCRIPT", "LOAD", source)
            again = await self.pipe.call_all([commands[at] for at in missed])
            for at, reply in zip(missed, again, strict=True):
                replies[at] = reply
        return [self._mapped(reply) for reply in replies]

    def _mapped(self, reply: Any) -> Any:
        if not isinstance(reply, Exception):
            return reply
        try:
            with self._errors():
                raise reply
        except Exception as error:  # noqa: BLE001 # the caller decides
            return error

    async def run(self, name: str, keys: Sequence[str], *arguments: Argument) -> Any:
        """Run a script, and return its reply."""
        source, digest = self._source(name)
        command = ("EVALSHA", digest, len(keys), *keys, *arguments)
        try:
            # Awaited here: one step less for every chunk.
            return await self.pipe.send(command)
        except Exception as error:  # noqa: BLE001 # judged, and raised again
            return await self._run_again(source, command, error)

    async def _run_again(self, source: str, command: Sequence[Argument], error: Exception) -> Any:
        try:
            return await self.pipe.send_again(command, error)
        except NoScriptError:
            # With its text: the server learns it, and needs none of what came before.
            return await self.call("EVAL", source, *command[2:])
        except Exception:
            with self._errors():
                raise

    async def call(self, *command: Argument) -> Any:
        """Run a plain command, sent together with all others that wait."""
        try:
            return await self.pipe.call(*command)
        except Exception:
            # Entered for an error only: there is a command for every chunk.
            with self._errors():
                raise

    async def time(self) -> float:
        """Return the server's time, in Unix seconds."""
        seconds, microseconds = await self.call("TIME")
        return int(seconds) + int(microseconds) / 1e6

    def text(self, name: str) -> str:
        """Return the script as this server takes it."""
        return self._source(name)[0]

    def _source(self, name: str) -> tuple[str, str]:
        if name not in self._sources:
            text = source(name, self._settings)
            passes = REFUSED_WHEN_FULL not in text
            if self.may_pass_memory_limit:
                text = f"#!lua{' flags=allow-oom' if passes else ''}\n{text}"
            elif passes:
                text = _FIRST_WRITE + text
            self._sources[name] = (text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 # Redis' own name for a script
        return self._sources[name]

    async def close(self) -> bool:
        """Close its connections; False if they are another loop's."""
        return await self.pipe.close()


_MESSAGE_FIELDS = {
    "TASK": "task", "JOB": "name", "SEQ": "sequence", "QUEUE": "queue", "PRIORITY": "priority",
}  # fmt: skip


def _lua_keys(used: Container[str]) -> str:
    """Define the names of the used keys, those of one job by a function that takes its name."""
    constants: list[tuple[str, str]] = []
    of_job: list[tuple[str, str]] = []
    for name, pattern in PATTERNS.items():
        if name not in used:
            continue
        value = f"'{pattern}'".replace("{namespace}", "' .. NAMESPACE .. '")
        value = value.replace("{job}", "' .. JOB .. '").removesuffix(" .. ''")
        (of_job if "{" in pattern else constants).append((name, value))
    record = PATTERNS["RECORD"].removesuffix("{job}")
    names = ", ".join(["NAME", "NAMESPACE", "JOB", *(name for name, _ in of_job)])
    return "\n".join(
        [
            *(f"local {name} = {value}" for name, value in constants),
            "local function record_of(name)",
            f"  return '{record}' .. string.gsub(name, '/', ':', 1)",
            "end",
            f"local {names}",
            "local function use_job(name)",
            "  NAME, NAMESPACE = name, string.match(name, '^[^/]*')",
            "  JOB = string.gsub(name, '/', ':', 1)",
            *(f"  {name} = {value}" for name, value in of_job),
            "end",
            "use_job(ARGV[1])",
        ]
    )


def _lua_message() -> str:
    """Build the message as an expression of ``task``, ``sequence`` and so on."""
    text, *rest = re.split("@([A-Z]+)@", TEMPLATE)
    parts = [f"[==[{text}]==]"]
    for mark, text in zip(rest[::2], rest[1::2], strict=True):
        parts += [_MESSAGE_FIELDS[mark], f"[==[{text}]==]"]
    return " .. ".join(parts)


@cache
def _read(name: str) -> str:
    """Read a script, with what it includes in the place of each ``-- include:`` line."""
    folders = resources.files("speechfleet.ledger").joinpath("lua").iterdir()
    files = (folder.joinpath(f"{name}.lua") for folder in folders)
    text = next(file for file in files if file.is_file()).read_text("utf-8")
    return _INCLUDE.sub(lambda match: _read(match[1]), text)


def source(name: str, settings: Settings) -> str:
    """Build a script as the server gets it: with its includes, and all values filled in."""
    table = ", ".join(
        f"{state} = {{{', '.join(f'{event} = {to.value!r}' for event, to in events.items())}}}"
        for state, events in TRANSITIONS.items()
    )
    script = link(_read(name))
    for mark, value in {
        "@KEYS@": _lua_keys(words_of(script)),
        "@TRANSITIONS@": f"{{{table}}}",
        "@MESSAGE@": _lua_message(),
        "@BEHIND@": BEHIND,
        "@STREAM_TTL@": str(int(settings.stream_ttl * 1000)),
        "@RECORD_TTL@": str(int(settings.record_ttl * 1000)),
        "@USAGE_TTL@": str(USAGE_TTL_S),
        "@STREAM_BYTES@": str(settings.stream_bytes),
        "@SPEAK@": TASK,
        "@NUDGE@": NUDGE,
    }.items():
        script = script.replace(mark, value)
    return script
