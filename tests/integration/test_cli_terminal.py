"""What commands show in a real terminal: wide, narrow, with colour and without."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import pytest

from speechfleet import AsyncClient
from speechfleet.chunks import Finished, Started
from speechfleet.ledger import Lease, keys
from speechfleet.ledger.keys import JobKeys
from speechfleet.ledger.workers import WorkerInfo
from speechfleet.names import encode
from tests.support import terminal
from tests.support.usages import day_of_usage

WIDTHS = (40, 80, 100, 120, 160)
QUEUED, FAILED = "3f2b8c1e-9d4a-4f6b-8e1c-5a7d9b0c2e41", "job:2"
SPOKEN = "chapter-03/line-0007"
BOOT = "9d5b7c1e40a84d3c"
BATCH = "spring-catalogue"
ERROR = "option 'rate': Input should be less than or equal to 450"
MODEL = "espeak/espeak-ng"
USAGE = {"characters": 1200, "billed": 1200, "calls": 3, "tokens_in": 40, "tokens_out": 50}
COMMANDS = {
    "jobs": ["jobs"],
    "doctor": ["doctor"],
    "providers": ["providers"],
    "workers": ["workers"],
    "show": ["show", FAILED],
    "dry run": ["batch", "corpus.csv", "--dry-run", "--model", MODEL],
    "status": ["batch", "status", BATCH],
    "batches": ["batches"],
    "voices": ["voices", MODEL],
}
HELD = {
    "jobs": [QUEUED, FAILED, SPOKEN, "queued", "failed", "succeeded"],
    "doctor": ["provider openai", "warning", "workers", "store", "ok"],
    "providers": [MODEL, "openai", "dashscope"],
    "workers": [BOOT, "1/100", "espeak", "openai", "1 of 1 worker"],
    "show": [FAILED, "state", "error", "claim"],
    "dry run": [MODEL, "characters", "2"],
    "status": [BATCH, "under way"],
    "batches": [BATCH, "open"],
    "usage": [MODEL, "1,200"],
    "voices": ["en-us", "de"],
}
"""What must stand whole in one line of the screen, whatever its width."""


async def fill(redis_url: str, store: str) -> date:
    """Leave in Redis a job in each state, a worker without keys, and a batch.

    Returns the day of the usage: midnight may pass before a command asks for it.
    """
    async with AsyncClient(redis_url=redis_url, store=store) as client:
        for id in (QUEUED, FAILED, SPOKEN):
            await client.submit("One. Two.", id=id, model=MODEL)
        failed = Lease(
            client.ledger.connection.scripts, JobKeys(client.namespace, FAILED), "token:1", BOOT
        )
        await failed.claim()
        account = f"{encode(client.namespace)}:{encode(MODEL)}"
        await failed.fail(
            "invalid_option", ERROR, retryable=False, max_attempts=1, delay=0, account=account,
            of_account=False, usage=USAGE,
        )  # fmt: skip
        spoken = Lease(
            client.ledger.connection.scripts, JobKeys(client.namespace, SPOKEN), "token:2", BOOT
        )
        await spoken.claim()
        started = Started(1, BOOT, MODEL, "", "audio/pcm;rate=8000", 8000)
        await spoken.publish(0, bytes(16_000), started=started, limit=1 << 20)
        end = Finished(16_000, 1000, "audio/x", "audio/wav", "{}")
        assert await spoken.finish(end, size=16_044, rate=8000)
        await client.ledger.workers.register(
            WorkerInfo(
                BOOT, "host-of-the-workers", 4242, "0.1.0", ("speechfleet.1.live.espeak",), 100,
                running=1, providers={"espeak": "", "openai": "set OPENAI_API_KEY"},
            )
        )  # fmt: skip
        # It has no heartbeat, and the commands take longer than a silent worker is listed.
        await client.ledger.connection.scripts.call("PERSIST", keys.boot(BOOT))
        await client.ledger.batches.open(
            client.namespace, BATCH, window=10, about={"corpus": "x.csv"}
        )
        return await day_of_usage(client.ledger.jobs, client.namespace)


@pytest.fixture
def day(redis_url: str, folder_store_url: str) -> date:
    return asyncio.run(fill(redis_url, folder_store_url))


@pytest.fixture
def environ(
    day: date,
    redis_url: str,
    folder_store_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    Path("corpus.csv").write_text("id,text\na,Hello there.\nb,Good morning.\n")
    return {"SPEECHFLEET_REDIS_URL": redis_url, "SPEECHFLEET_STORE": folder_store_url}


@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.parametrize("colour", [True, False], ids=["colour", "no colour"])
def test_tables_keep_what_names_a_row(environ: dict[str, str], day: date, colour: bool) -> None:
    commands = COMMANDS | {"usage": ["usage", "--day", day.isoformat()]}
    shown = terminal.screens(list(commands.values()), WIDTHS, environ, colour=colour)
    for name, command in commands.items():
        for width in WIDTHS:
            screen = shown[" ".join(command), width]
            lines = screen.split("\n")
            for whole in HELD[name]:
                assert any(whole in line for line in lines), f"{name} at {width}:\n{screen}"


def test_a_list_of_jobs_is_a_table_where_ids_are_long(environ: dict[str, str]) -> None:
    [screen] = terminal.screens([["jobs"]], (80,), environ, colour=False).values()
    head, *rows = screen.split("\n")
    assert head.startswith("id ")
    assert f"{QUEUED}  queued" in "\n".join(rows)
    assert any(row.startswith(f"{SPOKEN} ") and "succeeded" in row for row in rows)


def test_a_day_without_usage_is_told(environ: dict[str, str]) -> None:
    screen = terminal.screens([["usage", "--day", "2020-02-29"]], (80,), environ, colour=False)
    assert "no speech was made on 2020-02-29 (UTC)" in "".join(screen.values())


def test_a_folded_message_is_there_to_its_last_word(environ: dict[str, str]) -> None:
    shown = terminal.screens([["jobs"]], (40, 80), environ, colour=True)
    for screen in shown.values():
        assert "".join(ERROR.split()) in "".join(screen.split()).replace("failed", "")
