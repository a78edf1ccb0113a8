"""The command ``jobs``: list jobs, filtered."""

from __future__ import annotations

import re
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from speechfleet.cli import options, output
from speechfleet.cli.completion import complete_model
from speechfleet.cli.connect import on_fleet
from speechfleet.cli.jobs import state_of
from speechfleet.client import AsyncClient
from speechfleet.errors import InvalidRequest
from speechfleet.job import JobPage, Status
from speechfleet.job_filter import named_states
from speechfleet.lifecycle import State
from speechfleet.request import Lane

PAGE_SIZE = 500
"""Jobs that are asked for at once."""
MOST = 1_000_000
"""Jobs that the option --count may name."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhdw])").fullmatch
WAITING = {"no_worker": "no worker takes it", "back-off": "tried again soon"}
"""Why a job waits, where that is worth telling."""
WHEN = "30m, 12h, 7d, or a time such as 2026-11-29T08:00 (UTC)"


def _filter(name: str, help: str, **more: Any) -> Any:
    return typer.Option(name, help=help, show_default=False, **more)


States = Annotated[
    list[str] | None,
    _filter("--state", "queued, running, succeeded, failed or cancelled; may be repeated."),
]
Model = Annotated[
    str, _filter("--model", "A model, or a provider alone.", autocompletion=complete_model)
]
Voice = Annotated[str, _filter("--voice", "Of this voice.")]
LaneName = Annotated[str, _filter("--lane", "live, batch or session.")]
Batch = Annotated[str, _filter("--batch", "Of this batch.", metavar="ID")]
Since = Annotated[
    str, _filter("--since", f"Changed within this time, or since: {WHEN}.", metavar="TIME")
]
Until = Annotated[str, _filter("--until", "Last changed before: the same.", metavar="TIME")]
After = Annotated[
    str, _filter("--after", "The place where the list before ended.", metavar="CURSOR")
]


def jobs(
    state: States = None,
    model: Model = "",
    voice: Voice = "",
    lane: LaneName = "",
    batch: Batch = "",
    since: Since = "",
    until: Until = "",
    count: Annotated[int, typer.Option(min=1, max=MOST, help="At most so many.")] = 100,
    after: After = "",
    sessions: Annotated[
        bool, options.flag("--sessions", help="Realtime sessions alone, and who holds each.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """List the jobs of this namespace, those that changed last first.

    With --sessions: those that a worker holds now, unless --state says otherwise.
    """
    if sessions and lane:
        raise InvalidRequest("--sessions is --lane session: give one of both")
    wanted: dict[str, Any] = {
        "state": named_states(state or ([State.RUNNING] if sessions else None)),
        "model": model,
        "voice": voice,
        "lane": Lane.SESSION if sessions else lane,
        "batch": batch,
        "since": _moment("--since", since),
        "until": _moment("--until", until),
    }

    async def work(client: AsyncClient) -> None:
        page = await _first(client, count, {**wanted, "after": after})
        show = _print_sessions if sessions else _print_jobs
        if not as_json:
            show(page.jobs)
            if page.next:
                output.tell(f"more: --after {page.next}")
        listed = [asdict(job) for job in page.jobs]
        if sessions:
            if as_json:
                output.emit({"sessions": listed, "next": page.next})
            return
        counts = {str(name): number for name, number in (await client.counts()).items()}
        if as_json:
            output.emit({"counts": counts, "jobs": listed, "next": page.next})
        else:
            summary = ", ".join(f"{number:,} {name.lower()}" for name, number in counts.items())
            output.tell(f"in all: {summary}")

    on_fleet(work)


async def _first(client: AsyncClient, count: int, wanted: dict[str, Any]) -> JobPage:
    """Return the first jobs of the list, of as many pages as they take."""
    page = await client.search_jobs(**wanted, count=min(count, PAGE_SIZE))
    while page.next and len(page.jobs) < count:
        most = min(count - len(page.jobs), PAGE_SIZE)
        following = await client.search_jobs(**{**wanted, "after": page.next}, count=most)
        page = replace(following, jobs=page.jobs + following.jobs)
    return page


def _moment(option: str, text: str) -> float | datetime | None:
    """Read a span back from now, or a time in UTC. Raises InvalidRequest."""
    if not text:
        return None
    if span := SPAN(text):
        return time.time() - float(span[1]) * UNITS[span[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"{option} {text!r}: it is {WHEN}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _print_jobs(found: list[Status]) -> None:
    output.table(
        ("id", "state", "model", "voice", "speech", "since (UTC)", "error"),
        [
            (
                job.id, job.state.lower(), job.model, job.voice, _speech(job),
                output.moment(job.updated), job.message or WAITING.get(job.waiting, ""),
            )
            for job in found
        ],
        rare=("since (UTC)", "voice", "speech", "model"),
        nothing="no job is listed",
    )  # fmt: skip


def _speech(job: Status) -> str:
    return f"{job.seconds:.1f} s" if job.seconds else ""


def _print_sessions(found: list[Status]) -> None:
    output.table(
        ("id", "worker", "state", "model", "voice", "speech", "since (UTC)"),
        [
            (
                job.id, job.worker, state_of(job), job.model, job.voice, _speech(job),
                output.moment(job.created),
            )
            for job in found
        ],
        rare=("since (UTC)", "voice", "speech", "model"),
        nothing="no session is open",
    )  # fmt: skip
