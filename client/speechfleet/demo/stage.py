"""What every scene of the demo has: the fleet, a client of it, and somewhere to show things."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from speechfleet.client import AsyncClient
from speechfleet.jobs import Record
from speechfleet.local import EmbeddedFleet

MODEL = "espeak/espeak-ng"
PIPED_WIDTH = 100


def console() -> Console:
    """Stdout; plain lines where it is piped."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


@dataclass
class Stage:
    """One run of the demo. What it claims is checked, and ``broken`` lists what was not so."""

    fleet: EmbeddedFleet
    client: AsyncClient
    console: Console
    broken: list[str] = field(default_factory=list)

    def title(self, text: str) -> None:
        self.console.print()
        self.console.print(Rule(Text(text, "bold"), align="left"))

    def say(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)

    def claim(self, text: str, *, holds: bool) -> None:
        if not holds:
            self.broken.append(text)
        mark = Text("✓ ", "green") if holds else Text("✗ NOT SO: ", "bold red")
        self.console.print(mark + Text(text), soft_wrap=True)

    async def records(self, ids: list[str]) -> dict[str, Record]:
        """Those that there are, by id."""
        found = [(id, await self.client.ledger.find(self.client.namespace, id)) for id in ids]
        return {id: record for id, record in found if record is not None}
