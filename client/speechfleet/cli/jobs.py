"""``status``, ``cancel``, ``retry``, ``delete``, ``show``, ``jobs`` and ``usage``."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated, Any

import typer

from speechfleet.cli import options, output
from speechfleet.cli.fleet import on_fleet
from speechfleet.client import AsyncClient
from speechfleet.errors import InvalidRequest, SpeechFleetError
from speechfleet.job import AsyncJob, Status
from speechfleet.jobs import Lane, Record, Segment, State

PAGE = 1000
"""Records read at once."""

Reason = Annotated[str, typer.Option("--reason", help="Kept in the record.")]
StateName = Annotated[
    str | None,
    typer.Option("--state", help="queued, running, succeeded, failed or cancelled.",
                 show_default=False),
]  # fmt: skip
Day = Annotated[
    str | None, typer.Option("--day", metavar="YYYY-MM-DD", help="UTC. Default: today.",
                             show_default=False),
]  # fmt: skip


def status(id: options.Id, as_json: options.AsJson = False) -> None:
    """What a job is at this moment."""

    async def work(client: AsyncClient) -> None:
        now = await client.job(id).status()
        if as_json:
            output.emit(asdict(now))
        else:
            output.say(f"{id}: {_state(now)}, {now.seconds:.1f} s of speech")

    on_fleet(work)


def cancel(
    id: options.Id, reason: Reason = "cancelled at the terminal", as_json: options.AsJson = False
) -> None:
    """Stop a job, whether it waits or runs."""

    async def work(client: AsyncClient) -> None:
        done = await client.job(id).cancel(reason)
        now = await client.job(id).status()
        if as_json:
            output.emit({"cancelled": done, **asdict(now)})
        else:
            output.say(f"{id}: {'cancelled' if done else f'had ended already: {now.state}'}")

    on_fleet(work)


def retry(id: options.Id, as_json: options.AsJson = False) -> None:
    """Begin another epoch of a job that has ended."""

    async def work(client: AsyncClient) -> None:
        await client.job(id).retry()
        now = await client.job(id).status()
        output.emit(asdict(now)) if as_json else output.say(f"{id}: queued, epoch {now.epoch}")

    on_fleet(work)


def delete(id: options.Id, as_json: options.AsJson = False) -> None:
    """Erase a job: record, text, stream, audio, and what only it was cached for."""

    async def work(client: AsyncClient) -> None:
        job = client.job(id)
        await job.record()  # nothing under this id is an error here, a misspelt one most likely
        await job.delete()
        output.emit({"id": id, "deleted": True}) if as_json else output.say(f"{id}: deleted")

    on_fleet(work)


def show(id: options.Id, as_json: options.AsJson = False) -> None:
    """The whole story of one msg.id."""

    async def work(client: AsyncClient) -> None:
        job = client.job(id)
        record = await job.record()
        segments = await client.ledger.segments(client.namespace, id, record.epoch)
        told = await _story(client, job, record, segments)
        output.emit(told) if as_json else _print_story(told)

    on_fleet(work)


async def _story(
    client: AsyncClient, job: AsyncJob, record: Record, segments: list[Segment]
) -> dict[str, Any]:
    request = record.request
    url = None
    if record.object:
        # A store that this machine cannot reach hides the link, not the story.
        with contextlib.suppress(SpeechFleetError):
            url = await client.store.link(record.object)
    claims = [detail for _, event, detail in record.story if event == "claim"]
    return {
        **asdict(Status.of(record, await client.waiting(record))),
        "namespace": record.namespace,
        "text": request.text,
        "options": dict(request.options),
        "claims": record.claims,
        "workers": list(dict.fromkeys(token.rpartition(":")[0] for token in claims)),
        "request_ids": list(dict.fromkeys(s.request_id for s in segments if s.request_id)),
        "sample_rate": record.sample_rate,
        "url": url,
        "segments": [asdict(segment) for segment in segments],
        "story": [
            {"at": at / 1000, "event": event, "detail": detail}
            for at, event, detail in record.story
        ],
    }


def _print_story(told: dict[str, Any]) -> None:
    text = " ".join(told["text"].split())
    facts = {
        "state": told["state"] + (f" ({told['waiting']})" if told["waiting"] else ""),
        "error": f"{told['code']}: {told['message']}" if told["code"] else "",
        "model": f"{told['model']} {told['voice']}".strip(),
        "options": ", ".join(f"{name}={value}" for name, value in told["options"].items()),
        "lane": told["lane"],
        "text": f"{len(told['text']):,} characters: {text[:60]}" + ("..." * (len(text) > 60)),
        "speech": f"{told['seconds']:.1f} s at {told['sample_rate']} Hz, {told['format']}, "
        f"{len(told['segments'])} segments",
        "audio": told["url"] or told["object"],
        "epoch": f"{told['epoch']}: {told['claims']} claims, {told['attempts']} failed "
        f"attempts, {told['losses']} lost workers",
        "workers": ", ".join(told["workers"]),
        "request ids": ", ".join(told["request_ids"]),
        "usage": ", ".join(f"{name} {value:,}" for name, value in told["usage"].items()),
    }
    output.say(told["id"])
    output.table(("", ""), [(name, value) for name, value in facts.items() if value])
    output.table(
        ("at (UTC)", "event", "detail"),
        [(_precise(step["at"]), step["event"], step["detail"]) for step in told["story"]],
    )


def jobs(
    state: StateName = None,
    count: Annotated[int, typer.Option(min=1, help="At most so many of each state.")] = 100,
    offset: Annotated[int, typer.Option(min=0, help="Skip so many of each state.")] = 0,
    sessions: Annotated[
        bool, typer.Option("--sessions", help="Realtime sessions alone, and who holds each.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """The jobs of this namespace, newest first in each state.

    With --sessions: those that are held now, if --state does not say otherwise.
    """
    if state is not None and state.upper() not in State.__members__:
        raise InvalidRequest(f"unknown state {state!r}: it is {', '.join(State).lower()}")

    async def work(client: AsyncClient) -> None:
        if sessions:
            _print_sessions(await _sessions(client, state or State.RUNNING), as_json=as_json)
            return
        found = await client.jobs(state, offset=offset, count=count)
        counts = {str(name): number for name, number in (await client.counts()).items()}
        if as_json:
            output.emit({"counts": counts, "jobs": [asdict(job) for job in found]})
            return
        output.table(
            ("id", "state", "model", "voice", "speech", "since (UTC)", "error"),
            [
                (
                    job.id, _state(job), job.model, job.voice, f"{job.seconds:.1f} s",
                    output.moment(job.updated), job.message,
                )
                for job in found
            ],
        )  # fmt: skip
        output.tell(", ".join(f"{number:,} {name.lower()}" for name, number in counts.items()))

    on_fleet(work)


async def _sessions(client: AsyncClient, state: str) -> list[Status]:
    found: list[Status] = []
    for offset in itertools.count(0, PAGE):
        page = await client.jobs(state, offset=offset, count=PAGE)
        found += [job for job in page if job.lane == Lane.SESSION]
        if len(page) < PAGE:
            break
    return found


def _print_sessions(found: list[Status], *, as_json: bool) -> None:
    if as_json:
        output.emit({"sessions": [asdict(job) for job in found]})
        return
    output.table(
        ("id", "worker", "state", "model", "voice", "speech", "since (UTC)"),
        [
            (
                job.id, job.worker, _state(job), job.model, job.voice, f"{job.seconds:.1f} s",
                output.moment(job.created),
            )
            for job in found
        ],
    )  # fmt: skip


def usage(day: Day = None, as_json: options.AsJson = False) -> None:
    """What a day cost, by model."""
    try:
        wanted = date.fromisoformat(day) if day else datetime.now(UTC).date()
    except ValueError:
        raise InvalidRequest(f"--day {day!r}: a day is YYYY-MM-DD") from None

    async def work(client: AsyncClient) -> None:
        sums = await client.usage(wanted)
        if as_json:
            output.emit({"day": wanted.isoformat(), "models": sums})
            return
        names = ("characters", "billed", "cached", "calls", "tokens_in", "tokens_out")
        output.table(
            ("model", *names, "seconds"),
            [
                (model, *(f"{each.get(name, 0):,}" for name in names),
                 f"{each.get('seconds', 0):,.1f}")
                for model, each in sorted(sums.items())
            ],
        )  # fmt: skip

    on_fleet(work)


def _state(status: Status) -> str:
    return status.state.lower() + (f" ({status.waiting})" if status.waiting else "")


def _precise(seconds: float) -> str:
    return f"{output.moment(seconds)}.{int(seconds * 1000) % 1000:03}"
