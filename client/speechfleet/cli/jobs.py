"""The commands ``status``, ``cancel``, ``retry``, ``delete``, ``show``, ``usage``."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated, Any

import typer

from speechfleet.batch.pricing import PriceList
from speechfleet.cli import options, output
from speechfleet.cli.connect import on_fleet
from speechfleet.cli.quotas import print_quota, quota_view
from speechfleet.client import AsyncClient
from speechfleet.errors import InvalidRequest, SpeechFleetError
from speechfleet.fallback import FallbackView
from speechfleet.job import AsyncJob, Status
from speechfleet.record import Record, StoredSegment

Reason = Annotated[str, typer.Option("--reason", help="Kept in the record.")]
Day = Annotated[
    str | None, typer.Option("--day", metavar="YYYY-MM-DD", help="UTC. Default: today.",
                             show_default=False),
]  # fmt: skip


def status(id: options.Id, as_json: options.AsJson = False) -> None:
    """Show the state of a job."""

    async def work(client: AsyncClient) -> None:
        now = await client.job(id).status()
        if as_json:
            output.emit(asdict(now))
        else:
            output.say(f"{id}: {state_of(now)}, {now.seconds:.1f} s of speech")

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
    """Speak a job that has ended once more, in a new epoch."""

    async def work(client: AsyncClient) -> None:
        await client.job(id).retry()
        now = await client.job(id).status()
        output.emit(asdict(now)) if as_json else output.say(f"{id}: queued, epoch {now.epoch}")

    on_fleet(work)


def delete(id: options.Id, yes: options.Yes = False, as_json: options.AsJson = False) -> None:
    """Erase a job: its record, text, stream and audio, and segments that no other job uses."""
    output.confirm(f"Erase the job {id!r} and its audio?", yes=yes)

    async def work(client: AsyncClient) -> None:
        job = client.job(id)
        await job.record()  # an id that does not exist is an error here, most likely misspelt
        await job.delete()
        output.emit({"id": id, "deleted": True}) if as_json else output.say(f"{id}: deleted")

    on_fleet(work)


def show(id: options.Id, as_json: options.AsJson = False) -> None:
    """Show everything about one msg.id: states, attempts, workers, usage."""

    async def work(client: AsyncClient) -> None:
        job = client.job(id)
        record = await job.record()
        segments = await client.ledger.jobs.segments(client.namespace, id, record.epoch)
        history = await _history(client, job, record, segments)
        output.emit(history) if as_json else _print_history(history)

    on_fleet(work)


async def _history(
    client: AsyncClient, job: AsyncJob, record: Record, segments: list[StoredSegment]
) -> dict[str, Any]:
    request = record.request
    url = None
    if record.object:
        # A store that this machine cannot reach hides the link, not the history.
        with contextlib.suppress(SpeechFleetError):
            url = await client.store.link(record.object)
    claims = [detail for _, event, detail in record.history if event == "claim"]
    return {
        **asdict(Status.of(record, await client.ledger.workers.waiting(record))),
        "namespace": record.namespace,
        "text": request.text,
        "options": dict(request.options),
        "claims": record.claims,
        "workers": list(dict.fromkeys(token.rpartition(":")[0] for token in claims)),
        "request_ids": list(dict.fromkeys(s.request_id for s in segments if s.request_id)),
        "sample_rate": record.sample_rate,
        "gain": record.gain,
        "url": url,
        "segments": [asdict(segment) for segment in segments],
        "story": [
            {"at": at / 1000, "event": event, "detail": detail}
            for at, event, detail in record.history
        ],
    }


def _fallback(shown: FallbackView) -> str:
    voice = f"{shown['model']} {shown['voice']}".rstrip()
    return f"{voice} from segment {shown['segment']} on ({shown['code']})"


def _print_history(shown: dict[str, Any]) -> None:
    text = " ".join(shown["text"].split())
    facts = {
        "state": shown["state"] + (f" ({shown['waiting']})" if shown["waiting"] else ""),
        "error": f"{shown['code']}: {shown['message']}" if shown["code"] else "",
        "model": f"{shown['model']} {shown['voice']}".strip(),
        "spoken by": ", ".join(shown["spoken_by"]),
        "fallbacks": "; ".join(map(_fallback, shown["fallbacks"])),
        "options": ", ".join(f"{name}={value}" for name, value in shown["options"].items()),
        "lane": shown["lane"],
        "text": f"{len(shown['text']):,} characters: {text[:60]}" + ("..." * (len(text) > 60)),
        "speech": f"{shown['seconds']:.1f} s at {shown['sample_rate']} Hz, {shown['format']}, "
        f"{output.count(len(shown['segments']), 'segment')}"
        if shown["sample_rate"]
        else f"none, to be {shown['format']}",
        "suspect": f"segments {', '.join(map(str, shown['suspect']))}: shorter than their text"
        if shown["suspect"]
        else "",
        "gain": "" if shown["gain"] is None else f"{shown['gain']:+.1f} dB",
        "audio": shown["url"] or shown["object"],
        "epoch": f"{shown['epoch']}: {output.count(shown['claims'], 'claim')}, "
        f"{output.count(shown['attempts'], 'failed attempt')}, "
        f"{output.count(shown['losses'], 'lost worker')}",
        "workers": ", ".join(shown["workers"]),
        "request ids": ", ".join(shown["request_ids"]),
        "usage": ", ".join(f"{name} {value:,}" for name, value in shown["usage"].items()),
    }
    output.say(shown["id"])
    output.table(("", ""), [(name, value) for name, value in facts.items() if value])
    output.say("")
    output.table(
        ("at (UTC)", "event", "detail"),
        [(_precise(step["at"]), step["event"], step["detail"]) for step in shown["story"]],
    )


def usage(day: Day = None, as_json: options.AsJson = False) -> None:
    """Sum up what a day has used and cost, by model.

    The cost is an estimate from the characters that were billed and the prices that are known.
    """
    try:
        wanted = date.fromisoformat(day) if day else datetime.now(UTC).date()
    except ValueError:
        raise InvalidRequest(f"--day {day!r}: a day is YYYY-MM-DD") from None

    async def work(client: AsyncClient) -> None:
        sums = await client.usage(wanted)
        prices = PriceList(client.settings.prices)
        costs = {model: prices.cost(model, each.get("billed", 0)) for model, each in sums.items()}
        if as_json:
            models = {model: {**each, "cost": costs[model]} for model, each in sums.items()}
            limits = quota_view(await client.quota())
            output.emit({"day": wanted.isoformat(), "models": models, "quota": limits})
            return
        used = used_models(sums)
        if not used:
            output.tell(f"no speech was made on {wanted.isoformat()} (UTC).")
        names = ("characters", "billed", "cached", "calls", "tokens_in", "tokens_out")
        if used:
            output.table(
                ("model", *(name.replace("_", " ") for name in names), "seconds", "cost"),
                [
                    (model, *(f"{each.get(name, 0):,}" for name in names),
                     f"{each.get('seconds', 0):,.1f}", _cost(costs[model]))
                    for model, each in sorted(used.items())
                ],
                rare=("tokens out", "tokens in", "calls", "cached", "seconds"),
            )  # fmt: skip
        if (quota := await client.quota()) is not None:
            print_quota(quota)

    on_fleet(work)


def used_models(sums: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
    """Return the models that spoke or were called: a name that was refused has sums of nothing."""
    return {model: each for model, each in sums.items() if any(each.values())}


def _cost(cost: float | None) -> str:
    return "no price is known" if cost is None else f"{cost:,.4f}"


def state_of(status: Status) -> str:
    """Return the state in small letters, with why the job waits."""
    return status.state.lower() + (f" ({status.waiting})" if status.waiting else "")


def _precise(seconds: float) -> str:
    return f"{output.moment(seconds)}.{int(seconds * 1000) % 1000:03}"
