"""What ends a session, or a pause in it, that is too long; and no room for a session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from speechfleet import AsyncClient, State
from speechfleet.errors import InvalidRequest, JobCancelled, NoCapacity, TextTooLong
from tests.support.stage import MODEL, Stage, spoken, staged


@pytest.fixture(scope="module")
def stage(module_folder: Path) -> Iterator[Stage]:
    """One worker with room for one session, and little patience."""
    environ = {
        "SPEECHFLEET_SESSION_VANISHED": "10",
        "SPEECHFLEET_SESSION_IDLE": "20",
        "SPEECHFLEET_SESSION_PAUSE": "3",
    }
    with staged(module_folder, environ, lanes=["session"], slots=1) as stage:
        yield stage


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[AsyncClient]:
    async with stage.client(session_vanished=10, session_text=100) as client:
        yield client


async def test_where_every_worker_is_full_a_session_waits_and_then_fails(
    client: AsyncClient,
) -> None:
    async with client.session(model=MODEL) as first:
        second = client.session(model=MODEL, open_timeout=0.5)
        with pytest.raises(NoCapacity) as caught:
            await second.open()
        assert (caught.value.code, caught.value.retryable) == ("no_capacity", True)
        assert (await second.job.status()).state is State.CANCELLED
        third = client.session(model=MODEL)
        waiting = asyncio.create_task(third.open())
        await first.push("Nudges still come through to a full worker.")
        [*_, last] = [chunk async for chunk in first.synthesize()]
        assert bytes(last.audio) == spoken([first.text])
        await asyncio.wait_for(waiting, 120)
        await third.close()


async def test_what_is_unfinished_is_said_after_a_pause(stage: Stage, client: AsyncClient) -> None:
    async with client.session(model=MODEL) as session:
        await session.push("Just a moment")
        await stage.ledger.until("end", ["Just a moment"])
        await session.push("Just a moment, please")
        [*_, last] = [chunk async for chunk in session.synthesize()]
        assert bytes(last.audio) == spoken(["Just a moment", ", please"])


async def test_without_any_worker_a_session_fails_likewise(client: AsyncClient) -> None:
    with pytest.raises(NoCapacity):
        await client.session(model="nobody/paced", open_timeout=0.2).open()


async def test_a_client_that_vanished_ends_its_session(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = client.session(model=MODEL)
    monkeypatch.setattr(session._text, "send_signs", lambda: asyncio.sleep(0))
    await session.open()
    with pytest.raises(JobCancelled, match="vanished"):
        await session.result(timeout=120)
    await session.close()


async def test_no_new_text_ends_a_session_whose_client_lives(client: AsyncClient) -> None:
    async with client.session(model=MODEL) as session:
        await session.push("Something was said.")
        with pytest.raises(JobCancelled, match="no new text for 20 s"):
            await session.result(timeout=120)


async def test_a_text_without_end_is_refused(client: AsyncClient) -> None:
    async with client.session(model=MODEL) as session:
        await session.push("x" * 100)
        with pytest.raises(TextTooLong, match="SPEECHFLEET_SESSION_TEXT"):
            await session.push("x" * 101)


async def test_a_session_is_not_submitted(client: AsyncClient) -> None:
    with pytest.raises(InvalidRequest, match="session"):
        await client.submit("Some text.", model=MODEL, lane="session")  # type: ignore[arg-type]  # refused by the type, and at run time
