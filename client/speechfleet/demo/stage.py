"""The stage that all scenes of the demo share: a fleet, a client and a console."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from speechfleet.client import AsyncClient
from speechfleet.embedded import EmbeddedFleet
from speechfleet.record import Record

PIPED_WIDTH = 100


def console() -> Console:
    """Return a console on stdout; plain lines where it is piped."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


@dataclass
class Stage:
    """Runs the demo once. Each claim is checked; ``broken`` lists those that did not hold."""

    fleet: EmbeddedFleet
    client: AsyncClient
    console: Console
    broken: list[str] = field(default_factory=list)

    def title(self, text: str) -> None:
        """Begin a scene."""
        self.console.print()
        self.console.print(Rule(Text(text, "bold"), align="left"))

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(Text(text), soft_wrap=True)

    def claim(self, text: str, *, holds: bool) -> None:
        """Print a claim and whether it holds."""
        if not holds:
            self.broken.append(text)
        mark = Text("✓ ", "green") if holds else Text("✗ NOT SO: ", "bold red")
        self.console.print(mark + Text(text), soft_wrap=True)

    async def records(self, ids: list[str]) -> dict[str, Record]:
        """Return the records that exist, by id."""
        found = [(id, await self.client.ledger.jobs.find(self.client.namespace, id)) for id in ids]
        return {id: record for id, record in found if record is not None}
