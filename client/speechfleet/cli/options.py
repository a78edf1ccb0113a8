"""The arguments and options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from speechfleet.audio.formats import FORMATS
from speechfleet.cli.completion import (
    complete_job_id,
    complete_model,
    known_models,
)
from speechfleet.errors import InvalidRequest, UnknownModel
from speechfleet.settings import DEFAULT_MODEL, Settings
from speechfleet.speakable import SpeakableMode
from speechfleet.spoken_form import with_usual_form


def flag(*names: str, help: str) -> Any:
    """Return an option without a value; its help shows none."""
    return typer.Option(*names, help=help, metavar="")


Id = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The job's msg.id.",
        show_default=False,
        autocompletion=complete_job_id,
    ),
]
AsJson = Annotated[bool, flag("--json", help="Print one JSON object.")]
Quiet = Annotated[bool, flag("--quiet", "-q", help="No progress on stderr.")]
TextArgument = Annotated[
    str | None,
    typer.Argument(metavar="TEXT", help="What to say; - or nothing: read from stdin."),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help=f"provider/model. Default: {DEFAULT_MODEL}, which needs no key: hibari for English, "
        "espeak-ng for other languages.",
        show_default=False,
        autocompletion=complete_model,
    ),
]
Voice = Annotated[
    str,
    typer.Option(
        "--voice",
        "-v",
        metavar="VOICE",
        help="One of the model's voices. Default: the model's.",
        show_default=False,
    ),
]
Voices = Annotated[
    list[str] | None,
    typer.Option(
        "--voice",
        "-v",
        metavar="VOICE",
        help="One of the model's voices. Default: the model's. "
        "Of a dialogue NAME=VOICE or NAME=MODEL:VOICE, for each speaker.",
        show_default=False,
    ),
]
DialogueFile = Annotated[
    Path | None,
    typer.Option(
        "--dialogue",
        metavar="FILE",
        help="Lines of NAME: TEXT, each spoken by the voice that --voice gives the name.",
        show_default=False,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help=f"{', '.join(FORMATS)}. Default: by the name of the output, else wav.",
        show_default=False,
    ),
]
MsgId = Annotated[
    str | None,
    typer.Option(
        "--id",
        metavar="ID",
        help="The msg.id; the same id with the same request is the same job.",
        show_default=False,
    ),
]
SessionId = Annotated[
    str | None,
    typer.Option(
        "--id",
        metavar="ID",
        help="The msg.id, under which others can listen to it.",
        show_default=False,
    ),
]
Lane = Annotated[
    str, typer.Option("--lane", metavar="LANE", help="live, or batch for what can wait.")
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help="An option of the provider; the value is JSON, or else a string. Repeatable.",
    ),
]
Language = Annotated[
    str,
    typer.Option(
        "--language",
        metavar="TAG",
        help="Language tag of the text (de, en, ...): chooses the voice where no model is named, "
        "and splits sentences. Default: the voice's language, or a guess.",
        show_default=False,
    ),
]
Speakable = Annotated[
    str | None,
    typer.Option(
        "--speakable",
        metavar="MODE",
        help=f"Leave out what is only looked at: {', '.join(get_args(SpeakableMode))}. "
        "Default: SPEECHFLEET_SPEAKABLE, or off.",
        show_default=False,
    ),
]
LexiconFile = Annotated[
    Path | None,
    typer.Option(
        "--lexicon",
        metavar="FILE",
        help="Words to be spoken otherwise: lines of written, a tab, spoken; or PLS.",
        show_default=False,
    ),
]
Loudness = Annotated[
    float | None,
    typer.Option(
        "--loudness",
        metavar="LUFS",
        help="Loudness of the stored audio, e.g. -16. Default: as it is spoken.",
        show_default=False,
    ),
]
Fallback = Annotated[
    list[str] | None,
    typer.Option(
        "--fallback",
        metavar="MODEL[:VOICE]",
        help="Who speaks the rest where the provider cannot. Repeatable, in their order.",
        show_default=False,
    ),
]
Speed = Annotated[
    float | None,
    typer.Option(
        "--speed",
        metavar="FACTOR",
        help="How fast to speak, 0.25 to 4, with any model. Default: 1.",
        show_default=False,
    ),
]
NoCache = Annotated[
    bool, flag("--no-cache", help="Speak it anew, also where it was spoken before.")
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "--out",
        "-o",
        metavar="FILE",
        help="Write the audio there; - is stdout.",
        show_default=False,
    ),
]
Play = Annotated[bool, flag("--play", help="Play it while it is made.")]
Yes = Annotated[bool, flag("--yes", "-y", help="Do not ask. Without a terminal nothing is asked.")]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Holds all that lasts. Default: this user's data folder.",
        show_default=False,
    ),
]


def model_and_voice(model: str | None, voice: str) -> tuple[str, str]:
    """Return the model and voice of a request; the default model where none is named.

    Raises UnknownModel for a name without provider.
    """
    if model is None:
        model = Settings.load().default_model
    if "/" not in model:
        raise UnknownModel(model, known_models(), note="(a model is named provider/model)")
    return model, voice


def spoken_form(
    speakable: str | None,
    lexicon: Path | None,
    loudness: float | None = None,
    speed: float | None = None,
    fallback: list[str] | None = None,
) -> dict[str, Any]:
    """Return the keywords of these options, as far as they are given; the lexicon is read.

    Raises InvalidRequest.
    """
    given = {
        "speakable": speakable, "lexicon": lexicon, "loudness": loudness, "speed": speed,
        "fallback": fallback or None,
    }  # fmt: skip
    settings = Settings.load()
    return with_usual_form(
        {name: value for name, value in given.items() if value is not None},
        speakable=settings.speakable, lexicon=settings.lexicon,
    )  # fmt: skip


def check_no_overlap(request: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for an --option that has an option of its own."""
    for name in request.keys() & given.keys():
        raise InvalidRequest(f"--option {name}: use --{name}")


def provider_options(pairs: list[str] | None) -> dict[str, Any]:
    """Parse options such as ``speed=1.2``. Raises InvalidRequest."""
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
