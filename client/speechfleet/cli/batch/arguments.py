"""The options of `speechfleet batch`, beside those that say how a corpus is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speechfleet.cli import options
from speechfleet.cli.completion import complete_batch_id

BatchId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="Id of the batch.",
        show_default=False,
        autocompletion=complete_batch_id,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "--output",
        "-o",
        metavar="DIR",
        help="Folder of the audio and manifest.jsonl; the same DIR continues the batch.",
        show_default=False,
    ),
]
Id = Annotated[
    str | None,
    typer.Option(
        "--id",
        help="Id of the batch. Default: one of its own, which DIR/batch.json keeps.",
        show_default=False,
    ),
]
SkipBad = Annotated[bool, options.flag("--skip-bad", help="Skip bad lines and speak the others.")]
Remote = Annotated[
    bool, options.flag("--remote", help="Leave the audio in the store; the manifest has its keys.")
]
Captions = Annotated[
    str | None,
    typer.Option(
        "--captions",
        metavar="FORM",
        help="Write captions, a file an item: srt, vtt, ass or json.",
        show_default=False,
    ),
]
Words = Annotated[
    bool,
    options.flag("--words", help="Captions by lines, with the time of each word."),
]
Window = Annotated[
    int | None,
    typer.Option(
        "--window",
        min=1,
        help="Number of items that are in the fleet at once.",
        show_default=False,
    ),
]
MaxChars = Annotated[
    float | None,
    typer.Option(
        "--max-chars",
        min=0,
        help="Stop before more characters are billed for DIR, all runs together.",
        show_default=False,
    ),
]
MaxCost = Annotated[
    float | None,
    typer.Option(
        "--max-cost",
        min=0,
        help="Stop before DIR costs more, all runs together (SPEECHFLEET_PRICES).",
        show_default=False,
    ),
]
Detach = Annotated[
    bool,
    options.flag(
        "--detach", help="Hand the batch to the fleet and exit; workers submit its items."
    ),
]
DryRun = Annotated[
    bool, options.flag("--dry-run", help="Print what the batch would take and cost; send nothing.")
]
Reason = Annotated[str, typer.Option("--reason", help="Reason to store in the records.")]
OnlyFailed = Annotated[
    bool,
    options.flag(
        "--failed", help="Print only the failed items, as a corpus that `batch` can read again."
    ),
]
FetchInto = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "--output",
        "-o",
        metavar="DIR",
        help="Also fetch the audio of a detached batch into this folder.",
        show_default=False,
    ),
]
Watch = Annotated[
    bool, options.flag("--watch", "-w", help="Show the progress until the batch has ended.")
]
