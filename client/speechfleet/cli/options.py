"""Arguments that several commands share."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from speechfleet.errors import InvalidRequest

DEFAULT_MODEL = "espeak/espeak-ng"
DEFAULT_VOICE = "en-us"
"""Of the default model, which needs no key."""

Id = Annotated[str, typer.Argument(metavar="ID", help="The job's msg.id.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
TextArgument = Annotated[
    str | None,
    typer.Argument(metavar="[TEXT]", help="What to say; - or nothing: read from stdin."),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help=f"provider/model. Default: {DEFAULT_MODEL}, which needs no key.",
        show_default=False,
    ),
]
Voice = Annotated[
    str,
    typer.Option(
        "--voice",
        "-v",
        help=f"One of the model's voices. Default: the model's; {DEFAULT_VOICE} for espeak.",
        show_default=False,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        help="wav, flac, mp3, opus, aac or pcm. Default: by the name of the output, else wav.",
        show_default=False,
    ),
]
MsgId = Annotated[
    str | None,
    typer.Option(
        "--id",
        help="The msg.id; the same id with the same request is the same job.",
        show_default=False,
    ),
]
SessionId = Annotated[
    str | None,
    typer.Option(
        "--id", help="The msg.id, under which others can listen to it.", show_default=False
    ),
]
Lane = Annotated[str, typer.Option("--lane", help="live, or batch for what can wait.")]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help="An option of the provider; the value is JSON, or else a string. Repeatable.",
    ),
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Speak it anew, also where it was spoken before.")
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the audio there; - is stdout.",
        show_default=False,
    ),
]
Play = Annotated[bool, typer.Option("--play", help="Play it while it is made.")]


def provider_options(pairs: list[str] | None) -> dict[str, Any]:
    """``speed=1.2`` and the like. Raises InvalidRequest."""
    options: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise InvalidRequest(f"--option takes NAME=VALUE, not {pair!r}")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options
