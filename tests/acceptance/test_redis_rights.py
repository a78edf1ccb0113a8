"""A fleet whose workers and clients have the rights of `deploy/redis-users.acl` and no other."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from speechfleet import AsyncClient, Msg, Settings, State
from speechfleet.cli.app import app
from speechfleet.embedded import EmbeddedFleet, EmbeddedValkey
from speechfleet.errors import JobCancelled, MisconfiguredError
from speechfleet.ledger.files import StoredFile
from speechfleet.ledger.ledger import Ledger
from tests.support.free_ports import free_port
from tests.support.stage import PROVIDERS, ROOT, Heard, sentences, spoken

USERS = ROOT / "deploy" / "redis-users.acl"
MODEL = "slow/paced"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey"), port=free_port()) as server:
        with redis.Redis.from_url(server.url) as admin:
            for line in USERS.read_text().splitlines():
                _, name, *rules = line.split()
                rules = [f">{name}" if rule.startswith(">") else rule for rule in rules]
                admin.execute_command("ACL", "SETUSER", name, *rules)
        yield server


def url_of(server: EmbeddedValkey, user: str) -> str:
    """The URL of a user, whose password is its name."""
    return f"redis://{user}:{user}@{server.url.rpartition('@')[2]}"


@pytest.fixture(scope="module")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tmp_path_factory.mktemp("store").as_uri()


@pytest.fixture(scope="module")
def fleet(
    server: EmbeddedValkey, store_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedFleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEECHFLEET_REDIS_URL", url_of(server, "speechfleet-worker"))
        environ = {
            "PYTHONPATH": str(ROOT),
            "SPEECHFLEET_PROVIDERS": PROVIDERS,
            # A slow machine is no pause of the writer, and no silence of the provider.
            "SPEECHFLEET_SESSION_PAUSE": "20",
            "SPEECHFLEET_SESSION_SILENCE": "250",
        }
        with EmbeddedFleet(
            folder, valkey=False, environ=environ, store_url=store_url, sessions=True, grace=5.0
        ) as fleet:
            yield fleet
        for log in sorted((folder / "logs").glob("*.log")):
            sys.stdout.write(log.read_text()[-4000:])  # shown where a test fails


@pytest.fixture
async def client(
    server: EmbeddedValkey, fleet: EmbeddedFleet, store_url: str
) -> AsyncIterator[AsyncClient]:
    settings = Settings.load(
        redis_url=url_of(server, "speechfleet-client"), store=store_url, providers=PROVIDERS
    )
    async with AsyncClient(settings) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_was_refused(server: EmbeddedValkey) -> Iterator[None]:
    """The server writes down every command that it refuses for want of a right."""
    with redis.Redis.from_url(server.url) as admin:
        admin.acl_log_reset()
        yield
        refused = [(each["username"], each["object"]) for each in admin.acl_log()]
        assert refused == []


async def test_jobs_are_spoken_heard_cancelled_repeated_and_deleted(client: AsyncClient) -> None:
    said = sentences("the rights", 3)
    job = await client.submit(Msg("", " ".join(said), id="a"), model=MODEL)
    assert (await Heard().listen(job)).audio == spoken(said)
    stalled = await client.submit(
        Msg("", "Never said.", id="b"), model=MODEL, options={"stall": True}
    )
    await stalled.cancel()
    with pytest.raises(JobCancelled):
        await stalled.result(timeout=120)
    await stalled.retry()
    await stalled.cancel()
    failing = await client.submit(
        Msg("", "Too often.", id="c"), model=MODEL, options={"fail": "limited", "failures": 2}
    )
    assert (await failing.result(timeout=120)).size
    assert await client.usage()
    assert await client.counts()
    assert await client.workers()
    assert await client.jobs([State.SUCCEEDED])
    for id in ("a", "b", "c"):
        await client.job(id).delete()


async def test_a_session_is_spoken(client: AsyncClient) -> None:
    said = sentences("the session", 2)
    async with client.session(model=MODEL, id="s") as session:
        text = " ".join(said)
        for end in range(5, len(text) + 5, 5):
            await session.push(text[:end])
        await session.complete(text)
        assert (await session.result(timeout=120)).size


async def test_batches_are_fed_by_their_client_and_by_the_fleet(
    client: AsyncClient, tmp_path: Path
) -> None:
    items = list(enumerate(sentences("the batch", 10)))
    texts = [(str(number), text) for number, text in items]
    summary = await client.batch(texts, id="attached", out=tmp_path / "out", model=MODEL).run()
    assert summary.succeeded == len(texts)
    detached = client.batch(texts, model=MODEL, id="detached")
    assert await detached.detach() == "detached"
    async with asyncio.timeout(120):
        while (await client.ledger.batches.get("default", "detached")).state == "open":  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_files_are_kept_and_expire(client: AsyncClient, tmp_path: Path) -> None:
    files = client.ledger.files
    await files.begin("default", "f")
    now = await files.now()
    file = StoredFile("f", "in.jsonl", "batch", 2, now, now + 60)
    await files.add("default", file)
    assert await files.get_all("default", await files.ids("default")) == [file]
    await files.register("default", replace(file, id="g"))
    assert await files.expired() == []
    await files.forget("default", "f")
    orders = client.ledger.batch_orders
    await orders.announce("default", "r", {"a": "b"}, within_s=60)
    assert await orders.take(60) == ("default", "r")
    await orders.keep("default", "r", 60)
    await orders.refuse("default", "r", "invalid_input", "wrong", {"a": "b"})
    assert "r" in await client.ledger.batches.ids("default")


def test_doctor_finds_nothing_amiss(
    server: EmbeddedValkey, fleet: EmbeddedFleet, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEECHFLEET_REDIS_URL", url_of(server, "speechfleet-client"))
    monkeypatch.setenv("SPEECHFLEET_STORE", store_url)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("user", ["speechfleet-worker", "speechfleet-client"])
@pytest.mark.parametrize(
    "command",
    [["FLUSHALL"], ["CONFIG", "GET", "*"], ["GET", "others"]],
    ids=["flushing", "configuring", "keys-of-others"],
)
async def test_more_is_refused(server: EmbeddedValkey, user: str, command: list[str]) -> None:
    ledger = Ledger(Settings.load(redis_url=url_of(server, user)))
    with pytest.raises(MisconfiguredError, match="NOPERM"):
        await ledger.connection.scripts.call(*command)
    await ledger.close()
    with redis.Redis.from_url(server.url) as admin:
        admin.acl_log_reset()
