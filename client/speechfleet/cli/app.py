"""The commands together, and their errors as one line and an exit status."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Annotated

import typer
from typer.main import get_command

from speechfleet.cli import (
    batch,
    doctor,
    jobs,
    output,
    providers,
    running,
    serving,
    sessions,
    speaking,
)
from speechfleet.errors import (
    InvalidRequest,
    JobCancelled,
    JobFailed,
    MisconfiguredError,
    SpeechFleetError,
)

DONE, FAILED, BAD_INPUT = 0, 1, 2
INTERRUPTED = 128 + signal.SIGINT
NOBODY_LISTENS = 128 + signal.SIGPIPE

app = typer.Typer(
    name="speechfleet",
    help="A distributed speech-synthesis queue.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

GROUPS = {
    "Speech": (speaking.say, speaking.submit, speaking.listen, sessions.session),
    "Jobs": (
        jobs.status, jobs.cancel, jobs.retry, jobs.delete, jobs.show, jobs.jobs, jobs.usage,
    ),
    "Corpora": (batch.batches,),
    "Fleet": (running.up, running.worker, running.workers, running.drain, doctor.doctor),
    "Gateway": (serving.gateway, serving.key),
    "Providers": (providers.providers, providers.voices),
}  # fmt: skip
for group, commands in GROUPS.items():
    for command in commands:
        app.command(rich_help_panel=group)(command)

app.add_typer(batch.group, rich_help_panel="Corpora")


def _version(asked: bool) -> None:
    if asked:
        output.say(f"speechfleet {version('speechfleet')}")
        raise typer.Exit


@app.callback()
def _program(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="And exit.")
    ] = False,
) -> None:
    """A distributed speech-synthesis queue."""


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit status."""
    try:
        _invoke(arguments)
        sys.stdout.flush()
    except typer.Exit as end:
        return end.exit_code
    except typer.TyperException as error:
        if message := error.format_message():  # without, it was the help that was asked for
            output.error(f"{message} (see speechfleet --help)")
        return BAD_INPUT
    except SpeechFleetError as error:
        output.error(error.message)
        return status_of(error)
    except (OSError, KeyboardInterrupt) as error:
        return _of_the_system(error)
    return DONE


def _invoke(arguments: Sequence[str]) -> None:
    """Not by `app()`, which has its own answers to Ctrl-C and to a closed pipe."""
    command = get_command(app)
    with command.make_context("speechfleet", list(arguments)) as context:
        command.invoke(context)


def _of_the_system(error: OSError | KeyboardInterrupt) -> int:
    match error:
        case KeyboardInterrupt():
            output.error("interrupted")
            return INTERRUPTED
        case BrokenPipeError():
            # Whoever read our output has left. Python flushes stdout once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return NOBODY_LISTENS
        case _:
            where = f"{error.filename}: " if error.filename else ""
            output.error(f"{where}{error.strerror or error}")
            return BAD_INPUT


def status_of(error: SpeechFleetError) -> int:
    """A job that failed is 1, unless it failed of what it was asked; all else is 2."""
    if isinstance(error, JobCancelled):
        return FAILED
    if isinstance(error, JobFailed):
        return BAD_INPUT if error.code in ASKED_WRONGLY else FAILED
    return BAD_INPUT


def _kinds(kind: type[SpeechFleetError]) -> Iterator[type[SpeechFleetError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


ASKED_WRONGLY = {
    kind.code for root in (InvalidRequest, MisconfiguredError) for kind in _kinds(root)
}
"""Codes of what whoever asks has to mend: an unknown voice is found by the worker only."""
