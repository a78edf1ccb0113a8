"""The command ``captions``: prints when what of a job is heard."""

from __future__ import annotations

from typing import Annotated

import typer

from speechfleet.captions import check_captions
from speechfleet.cli import options, output
from speechfleet.cli.connect import on_fleet
from speechfleet.client import AsyncClient


def captions(
    id: options.Id,
    form: Annotated[str, typer.Option("--format", "-f", help="srt, vtt, ass or json.")] = "vtt",
    by: Annotated[
        str, typer.Option("--by", help="A cue holds a segment, a line (or two), or a word.")
    ] = "line",
    words: Annotated[
        bool, options.flag("--words", help="Tell the time of each word within its cue.")
    ] = False,
) -> None:
    """Print the captions of a job: what is heard when, to be saved as a file.

    Where its provider does not tell the times of words, they are found by comparison with
    espeak-ng.
    """
    chosen, unit = check_captions(form, by)

    async def work(client: AsyncClient) -> None:
        text = await client.job(id).captions(chosen, by=unit, words=words)
        output.say(text.rstrip("\n"))

    on_fleet(work)
