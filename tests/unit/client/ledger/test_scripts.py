"""The Lua scripts: what they are composed of, and how they are written."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest
from redis.exceptions import NoScriptError

from speechfleet.ledger import scripts
from speechfleet.ledger.scripts import REFUSED_WHEN_FULL, Scripts, source
from speechfleet.settings import Settings

LUA = Path(scripts.__file__).parent / "lua"
FILES = sorted(LUA.rglob("*.lua"))
PARTS = {
    "clock", "streams", "stream_sizes", "minutes", "quotas", "webhooks", "segments",
    "prelude", "leftovers", "limit", "single_flight",
}  # fmt: skip
"""Files that scripts include; the others are scripts."""
SCRIPTS = [path for path in FILES if path.stem not in PARTS]


def name_of(path: Path) -> str:
    return path.stem


every_script = pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
every_file = pytest.mark.parametrize("path", FILES, ids=name_of)


def settings() -> Settings:
    return Settings.load(redis_url="redis://localhost")


def test_names_are_unique() -> None:
    assert len({path.stem for path in FILES}) == len(FILES)


@every_script
def test_a_script_is_complete(path: Path) -> None:
    text = source(path.stem, settings())
    assert not re.search("@[A-Z_]+@", text)
    assert "-- include:" not in text


@every_script
def test_a_script_names_its_keys_and_arguments(path: Path) -> None:
    header = re.match(r"(--.*\n)+", path.read_text())
    assert header is not None
    assert "-- KEYS " in header[0]


@every_file
def test_a_script_uses_no_number_in_the_place_of_a_name(path: Path) -> None:
    numbered = re.compile(r"\b(KEYS|ARGV|r|b|f|reply)\[\d+\]")
    lines = [line for line in path.read_text().splitlines() if numbered.search(line)]
    assert lines == []


def test_what_a_full_server_refuses_makes_something_new() -> None:
    marked = {path.stem for path in SCRIPTS if REFUSED_WHEN_FULL in path.read_text()}
    assert marked == {"submit", "retry"}


@pytest.mark.parametrize(
    ("name", "knows_flags", "begins"),
    [
        ("submit", True, "#!lua\n"),
        ("publish", True, "#!lua flags=allow-oom\n"),
        ("submit", False, "-- Write new jobs"),
        ("publish", False, "redis.call('DEL',"),
    ],
)
def test_a_server_gets_a_script_as_its_version_needs_it(
    name: str, knows_flags: bool, begins: str
) -> None:
    """Before Redis 7 the first write decides whether a full server refuses a script."""
    loaded = Scripts(cast("Any", None), settings(), nullcontext)
    loaded.may_pass_memory_limit = knows_flags
    assert loaded.text(name).startswith(begins)


def test_the_first_write_of_a_submit_takes_memory() -> None:
    """Else a full Redis 6.2 would let it pass."""
    text = (LUA / "job" / "submit.lua").read_text()
    writes = re.findall(r"redis\.call\('(HSET|DEL|ZADD|SADD|LPUSH|HINCRBY)'", text)
    assert writes[0] == "HSET"


class ChangingServer:
    """Takes over from another server before each of the first calls: it knows no script."""

    def __init__(self, changes: int) -> None:
        self.changes = changes
        self.knows = False

    async def call(self, *command: Any) -> Any:
        [reply] = await self.call_all([command])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def send(self, command: Any) -> Any:
        return await self.call(*command)

    async def send_again(self, command: Any, error: Exception) -> Any:
        raise error

    async def call_all(self, commands: list[Any]) -> list[Any]:
        if commands[0][0] == "EVALSHA" and self.changes:
            self.changes -= 1
            self.knows = False
        return [self.reply(command) for command in commands]

    def reply(self, command: Any) -> Any:
        if command[0] in ("EVAL", "SCRIPT"):
            self.knows = True
        return command[-1] if self.knows else NoScriptError("No matching script.")


@pytest.mark.parametrize("changes", [0, 1, 3], ids=["none", "one", "several"])
async def test_a_script_runs_through_changes_of_the_server(changes: int) -> None:
    scripts = Scripts(cast("Any", ChangingServer(changes)), settings(), nullcontext)
    assert await scripts.run("publish", ["a key"], "value") == "value"
    calls = [(["a key"], [number]) for number in range(3)]
    scripts = Scripts(cast("Any", ChangingServer(changes)), settings(), nullcontext)
    assert await scripts.run_all("publish", calls) == [0, 1, 2]
