"""The commands ``respeak``, ``takes`` and ``choose``: single segments of a finished job."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from speechfleet.cli import options, output
from speechfleet.cli.connect import on_fleet
from speechfleet.client import AsyncClient

Segment = Annotated[
    int,
    typer.Option("--segment", "-s", min=0, help="Number of the segment, from 0, as `show` lists."),
]
TakeNumber = Annotated[
    int, typer.Option("--take", "-t", min=0, help="Number of the take; 0 is the first one.")
]


def respeak(
    id: options.Id,
    segment: Segment,
    voice: Annotated[
        str, typer.Option("--voice", "-v", help="Another voice of the model.", show_default=False)
    ] = "",
    text: Annotated[
        str, typer.Option("--text", help="Speak this instead.", show_default=False)
    ] = "",
    seed: Annotated[
        int | None, typer.Option("--seed", help="Another seed.", show_default=False)
    ] = None,
    option: options.Options = None,
    as_json: options.AsJson = False,
) -> None:
    """Speak one segment of a job again; nothing else is paid for, and all takes are kept."""
    given = options.provider_options(option)

    async def work(client: AsyncClient) -> None:
        job = client.job(id)
        take = await job.respeak(segment, voice=voice, text=text, seed=seed, options=given)
        status = await job.status()
        if as_json:
            output.emit({"segment": segment, "take": take, **asdict(status)})
        else:
            output.say(f"{id}: take {take} of segment {segment} is queued, epoch {status.epoch}")
            output.tell(f"`speechfleet listen {id} --output FILE` waits for it")

    on_fleet(work)


def takes(id: options.Id, as_json: options.AsJson = False) -> None:
    """List the takes of the segments that were spoken again; * is the one that is heard."""

    async def work(client: AsyncClient) -> None:
        found = await client.job(id).takes()
        if as_json:
            output.emit({"takes": [asdict(take) for take in found]})
            return
        output.table(
            ("segment", "take", "heard", "voice", "options", "text"),
            [
                (
                    str(take.segment), str(take.number), "*" if take.chosen else "", take.voice,
                    ", ".join(f"{name}={value}" for name, value in take.options.items()),
                    " ".join(take.text.split()),
                )
                for take in found
            ],
            nothing="every segment was spoken once",
        )  # fmt: skip

    on_fleet(work)


def choose(
    id: options.Id, segment: Segment, take: TakeNumber, as_json: options.AsJson = False
) -> None:
    """Let another take of a segment be heard; it costs no call."""

    async def work(client: AsyncClient) -> None:
        await client.job(id).choose(segment, take)
        status = await client.job(id).status()
        if as_json:
            output.emit({"segment": segment, "take": take, **asdict(status)})
        else:
            output.say(f"{id}: take {take} of segment {segment} is chosen")
            output.tell(f"`speechfleet listen {id} --output FILE` waits for the audio")

    on_fleet(work)
