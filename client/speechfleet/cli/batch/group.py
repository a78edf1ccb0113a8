"""The command group ``batch``: a corpus, or one of the commands on batches that exist.

What follows ``batch`` is a corpus unless it is the name of a command: a corpus that is called
"status" is given as ``./status``.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from speechfleet.errors import InvalidRequest

RUN = "run"


class CorpusOrCommand(TyperGroup):
    """``batch X``: the command X where there is one, else the corpus X."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``run`` before a corpus, and before a question for help."""
        if not args or args[0] in ctx.help_option_names:
            args = [RUN, "--help"]
        elif args[0] not in self.commands:
            self._check_is_no_misspelt_command(args[0])
            args = [RUN, *args]
        return super().parse_args(ctx, args)

    def _check_is_no_misspelt_command(self, name: str) -> None:
        """Raise InvalidRequest for a word that is like a command's name and no file."""
        near = get_close_matches(name, self.commands, n=1, cutoff=0.7)
        if near and not Path(name).exists():
            raise InvalidRequest(
                f"there is no file {name!r}, and no such command; did you mean "
                f"`speechfleet batch {near[0]}`?"
            )


group = typer.Typer(
    name="batch",
    cls=CorpusOrCommand,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Speak a corpus: `batch CORPUS -m MODEL -v VOICE --out DIR`; or look after a batch: "
    "`batch status`, `cancel`, `results`, `retry-failed`, `delete` ID.",
)
