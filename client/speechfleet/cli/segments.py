"""The command ``segments``: shows how a text will be cut into provider calls, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from speechfleet.cli import options, output
from speechfleet.cli.measure_process import line_of, measure
from speechfleet.cli.texts import names_file, read_text
from speechfleet.errors import IllegalText, InvalidRequest
from speechfleet.request import Lane, Request
from speechfleet.settings import Settings
from speechfleet.spoken_form import take_spoken_form

SHOWN_TEXT = 60
"""Characters of a segment's text that the table shows."""
_SOURCES = {
    "voice": "of the voice",
    "option": "of an option",
    "request": "as given",
    "text": "guessed from the text",
}


def segments(
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE|TEXT", help="A file, or the text; - or nothing: stdin.",
            show_default=False,
        ),
    ] = None,
    model: options.Model = None,
    voice: options.Voice = "",
    option: options.Options = None,
    language: options.Language = "",
    speakable: options.Speakable = None,
    lexicon: options.LexiconFile = None,
    mode: Annotated[
        str, typer.Option("--mode", help="sentence (as live jobs), or paragraph (as batches).")
    ] = "sentence",
    as_json: options.AsJson = False,
) -> None:  # fmt: skip
    """Show how a text will be cut into segments, one provider call each, and why.

    Nothing is sent. The language decides which full stops end a sentence: it is that of the
    voice or of the provider's option, else --language, else a guess from the text.
    """
    settings = Settings.load()
    if model is None:
        voice = voice or language
    model, voice = options.model_and_voice(model, voice)
    if mode not in ("sentence", "paragraph"):
        raise InvalidRequest(f"--mode is sentence or paragraph, not {mode!r}")
    written = _read(text, settings.max_text)
    request = Request(
        written, model, voice, options.provider_options(option),
        lane=Lane.BATCH if mode == "paragraph" else Lane.LIVE, language=language,
        form=take_spoken_form(options.spoken_form(speakable, lexicon), written),
    )  # fmt: skip
    request.check(settings.max_text)
    answer = measure("segments", [line_of(request)], settings)
    output.emit(answer) if as_json else _print(answer)


def _read(argument: str | None, max_text: int) -> str:
    """Return the text of a file of that name, where there is one; else the argument, or stdin."""
    if argument is None or argument == "-" or not names_file(argument):
        return read_text(argument, max_text)
    try:
        return Path(argument).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise IllegalText(f"{argument} is not UTF-8: see byte {error.start}") from None


def _print(answer: dict[str, Any]) -> None:
    language = answer["language"] or "not known"
    source = _SOURCES[answer["language_from"]]
    number = output.count(len(answer["segments"]), "segment")
    output.say(
        f"{number} of {answer['characters']:,} characters, cut by {answer['mode']}; language: "
        f"{language} ({source}); limit of {answer['model']}: {answer['limit']:,}"
    )
    output.table(
        ("#", "paragraph", "size", "ends at", "text"),
        [
            (
                segment["index"], segment["paragraph"], f"{segment['size']:,}", segment["reason"],
                _shown(segment),
            )
            for segment in answer["segments"]
        ],
    )  # fmt: skip
    if not answer["segments"]:
        output.tell("nothing to speak: the text holds no letter and no digit")
        raise typer.Exit(1)


def _shown(segment: dict[str, Any]) -> str:
    if segment["pause"]:
        return f"(silence of {segment['pause']:g} s)"
    line = " ".join(segment["text"].split())
    return line if len(line) <= SHOWN_TEXT else f"{line[: SHOWN_TEXT - 1]}…"
