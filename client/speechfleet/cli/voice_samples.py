"""Samples of the voices of a model: one text spoken by each, into files named by voice."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from speechfleet.batch.pricing import PriceList
from speechfleet.cli import output
from speechfleet.cli.connect import check_served, check_store, on_fleet
from speechfleet.cli.exit_status import ExitStatus
from speechfleet.client import AsyncClient
from speechfleet.corpus.item import Item
from speechfleet.errors import InvalidRequest, JobCancelled, JobFailed
from speechfleet.request import Request
from speechfleet.settings import Settings


@dataclass(frozen=True)
class Samples:
    """The samples that are asked for. ``format``: of the files in ``folder``."""

    model: str
    voices: Sequence[str]
    text: str
    folder: Path
    format: str

    def check(self, settings: Settings) -> None:
        """Raise InvalidRequest for what cannot be spoken, before anything is paid for."""
        if not self.voices:
            raise InvalidRequest(
                f"{self.model} has no list of voices: it takes what its server knows; speak with "
                "one by `speechfleet say --voice`"
            )
        Request(self.text, self.model, format=self.format).check(settings.max_text)
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def order(self) -> str:
        return (
            f"{output.count(len(self.voices), 'voice')} of {self.model}, "
            f"{output.count(len(self.text), 'character')} each"
        )

    def path(self, voice: str) -> Path:
        """Return the file of a voice."""
        return self.folder / f"{Item(voice, '').file_name}.{self.format}"

    def agree_on_price(self, settings: Settings, *, yes: bool) -> None:
        """Tell the price and ask whether to go on, unless it is nothing. Raises InvalidRequest."""
        prices = PriceList(settings.prices)
        one, price = prices.cost_of_text(self.model, self.text), prices.of(self.model)
        if one == 0:
            return
        if one is None or price is None:
            cost = "the price is not known (SPEECHFLEET_PRICES)"
        else:
            cost = f"about {one * len(self.voices):,.4f} {price.currency}"
        output.tell(f"{self.order}: {cost}")
        if yes:
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise InvalidRequest("this costs money: agree to it by --yes")
        if not typer.confirm("Speak them?", err=True):
            raise typer.Exit(ExitStatus.WRONG_USE)


def speak_samples(samples: Samples, *, yes: bool, as_json: bool) -> None:
    """Speak all samples, and print the files. Ends with status 1 where a voice failed."""
    settings = Settings.load()
    samples.check(settings)
    samples.agree_on_price(settings, yes=yes)

    async def work(client: AsyncClient) -> list[str]:
        check_store(client)
        await check_served(client, samples.model)
        return await asyncio.gather(*(_speak(client, samples, voice) for voice in samples.voices))

    reasons = dict(zip(samples.voices, on_fleet(work, start=True), strict=True))
    failed = {voice: reason for voice, reason in reasons.items() if reason}
    files = {voice: str(samples.path(voice)) for voice in samples.voices if voice not in failed}
    if as_json:
        output.emit({"model": samples.model, "files": files, "failed": failed})
    else:
        for path in files.values():
            output.say(path)
    for voice, reason in failed.items():
        output.error(f"{voice}: {reason}")
    if failed:
        raise typer.Exit(ExitStatus.FAILED)


async def _speak(client: AsyncClient, samples: Samples, voice: str) -> str:
    """Speak one sample into its file; return why it failed, or ""."""
    order: dict[str, Any] = {
        "model": samples.model, "voice": voice, "format": samples.format, "live": False,
    }  # fmt: skip
    job = await client.submit(samples.text, **order)
    try:
        await (await job.result()).save(samples.path(voice))
    except (JobFailed, JobCancelled) as error:
        return error.message
    return ""
