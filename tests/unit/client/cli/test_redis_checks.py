"""What `doctor` says of a server's configuration, of missing rights, and of a store's rights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from speechfleet import AsyncClient, Settings
from speechfleet.cli import store_checks
from speechfleet.cli.findings import Finding, Verdict
from speechfleet.cli.redis_checks import _configuration, examine_redis
from speechfleet.cli.store_checks import examine_store
from speechfleet.errors import StoreDenied
from speechfleet.ledger.connection import Server
from speechfleet.store import open_store

MB = 1 << 20
GOOD: dict[str, Any] = {
    "version": (7, 2), "product": "Redis 7.2", "run_id": "a", "cluster": False,
    "append_only": True, "eviction": "noeviction", "memory_used": MB, "memory_limit": 0,
}  # fmt: skip


def judged(**changed: Any) -> list[Finding]:
    return _configuration(Server(**{**GOOD, **changed}), 512 * MB)


def test_a_server_as_it_should_be() -> None:
    assert judged() == []
    assert judged(memory_limit=1024 * MB) == []


@pytest.mark.parametrize(
    ("changed", "subject", "verdict", "found"),
    [
        ({"version": (6, 2)}, "Redis version", Verdict.WARNING, "older than 7"),
        ({"append_only": False}, "Redis persistence", Verdict.WARNING, "a restart loses jobs"),
        ({"eviction": "allkeys-lru"}, "Redis eviction", Verdict.WARNING, "allkeys-lru"),
        (
            {"eviction": "allkeys-lru", "memory_limit": 1024 * MB},
            "Redis eviction", Verdict.FAILURE, "allkeys-lru",
        ),
        ({"memory_limit": 600 * MB}, "Redis memory", Verdict.WARNING, "512 MB"),
        (
            {"memory_limit": 1000 * MB, "memory_used": 900 * MB},
            "Redis memory", Verdict.WARNING, "900 of 1000 MB",
        ),
    ],
    ids=["version", "persistence", "eviction", "eviction-at-a-limit", "audio", "full"],
)  # fmt: skip
def test_what_is_not_as_it_should_be(
    changed: dict[str, Any], subject: str, verdict: Verdict, found: str
) -> None:
    [finding] = judged(**changed)
    assert (finding.subject, finding.verdict) == (subject, verdict)
    assert found in finding.found
    assert finding.mend


async def test_refused_commands_are_named(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as admin:
        rules = ("on", ">pw", "~*", "&*", "+@all", "-eval", "-xadd", "-script|load")
        admin.execute_command("ACL", "SETUSER", "poor", *rules)
    url = redis_url.replace("unix://", "unix://poor:pw@", 1)
    async with AsyncClient(Settings.load(redis_url=url, store="file:///nowhere")) as client:
        [finding] = [f for f in await examine_redis(client) if f.subject == "Redis rights"]
    assert finding.verdict is Verdict.FAILURE
    for command in ("XADD", "SCRIPT LOAD", "EVAL"):
        assert command in finding.found
    assert "HSET" not in finding.found


async def test_each_right_of_the_store_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_checks, "SLOW_S", 600.0)  # on whatever machine
    store = open_store(tmp_path.as_uri())
    [finding] = await examine_store(store)
    assert finding.verdict is Verdict.OK
    for right in ("put", "get", "list", "multipart", "delete"):
        assert f"{right} " in finding.found
    assert await store.list() == []
    await store.close()


async def test_a_missing_right_of_the_store_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path.as_uri())

    async def refused(*_: object) -> list[str]:
        raise StoreDenied("s3://bucket: you may not list")

    monkeypatch.setattr(store, "list", refused)
    [finding] = await examine_store(store)
    assert (finding.subject, finding.verdict) == ("store list", Verdict.FAILURE)
    assert "may not list" in finding.mend
    await store.close()
