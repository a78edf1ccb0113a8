"""The command line: all commands, and their errors as one line and an exit status."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.main import get_command

from speechfleet.cli import (
    batch,
    captioning,
    doctor,
    fleet_commands,
    fleet_processes,
    job_list,
    jobs,
    keys,
    output,
    providers,
    quotas,
    retakes,
    segments,
    serving,
    sessions,
    speaking,
    webhooks,
)
from speechfleet.cli.exit_status import ExitStatus, as_json, give_up_stdout, status_of
from speechfleet.cli.overview import SUMMARY
from speechfleet.errors import SpeechFleetError
from speechfleet.settings import set_namespace, unknown_variables
from speechfleet_command import leave_on_interrupt

USAGE_ERROR: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__base__ is Exception
)
"""The error that typer raises for a wrong command line; its name differs between versions."""
COMPLETION = "_SPEECHFLEET_COMPLETE"
"""The variable by which a shell asks for completions."""

app = typer.Typer(
    name="speechfleet",
    help=SUMMARY,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

GROUPS = {
    "Speech": (
        speaking.say, speaking.submit, speaking.listen, sessions.session, segments.segments,
        captioning.captions,
    ),
    "Jobs": (
        jobs.status, jobs.cancel, jobs.retry, jobs.delete, jobs.show, job_list.jobs, jobs.usage,
        retakes.respeak, retakes.takes, retakes.choose,
    ),
    "Corpora": (batch.batches,),
    "Fleet": (
        fleet_processes.up,
        fleet_commands.env,
        fleet_processes.worker,
        fleet_commands.workers,
        fleet_commands.drain,
        quotas.quota,
        doctor.doctor,
        fleet_processes.flower,
    ),
    "Gateway": (serving.gateway, serving.key),
    "Providers": (providers.providers, providers.voices),
}  # fmt: skip
for group, commands in GROUPS.items():
    for command in commands:
        app.command(rich_help_panel=group)(command)

app.add_typer(batch.group, rich_help_panel="Corpora")
app.add_typer(keys.keys, rich_help_panel="Gateway")
app.add_typer(webhooks.webhooks, rich_help_panel="Fleet")
app.add_typer(fleet_commands.limits, rich_help_panel="Fleet")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"speechfleet {version('speechfleet')}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=_print_version, is_eager=True, metavar="", help="Print it and exit."
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(help="Whose jobs; else SPEECHFLEET_NAMESPACE.", show_default=False),
]


@app.callback()
def _program(_: Version = False, namespace: Namespace = None) -> None:
    """Turn text into speech, on this machine or on a fleet of workers."""
    for name, near in unknown_variables().items():
        meant = f"did you mean {near}?" if near else "`speechfleet doctor` lists all"
        output.tell(f"speechfleet: {name} is no setting and is ignored; {meant}")
    if namespace is not None:
        set_namespace(namespace)


def main() -> None:
    """Run the command line and exit with its status."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character is no reason to end with an error.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # both are files
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # The commands say it themselves, and sooner.
    logging.getLogger("speechfleet.waiting").setLevel(logging.ERROR)
    status = run(sys.argv[1:])
    leave_on_interrupt()
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run one command; return its exit status."""
    json = "--json" in arguments[: arguments.index("--") if "--" in arguments else None]
    try:
        _invoke(arguments)
        sys.stdout.flush()
    except typer.Exit as end:
        return end.exit_code
    except USAGE_ERROR as error:
        return _wrong_use(error, json=json)
    except SpeechFleetError as error:
        return _failed(as_json(error), status_of(error), json=json)
    except (OSError, KeyboardInterrupt) as error:
        return _of_the_system(error, json=json)
    return ExitStatus.DONE


def _invoke(arguments: Sequence[str]) -> None:
    """Run a command without `app()`, which has its own answers to Ctrl-C and to closed pipes."""
    command = get_command(app)
    if COMPLETION in os.environ:
        command.main(list(arguments), prog_name="speechfleet")
    with command.make_context("speechfleet", list(arguments)) as context:
        command.invoke(context)


def _failed(error: dict[str, Any], status: ExitStatus, *, json: bool) -> ExitStatus:
    """Print an error: a line on stderr, and with ``--json`` the one object on stdout."""
    output.error(str(error["message"]))
    try:
        if json:
            output.emit({"error": error})
        sys.stdout.flush()
    except OSError:  # its disk is full, or its reader has left
        give_up_stdout()
    return status


def _wrong_use(error: Any, *, json: bool) -> ExitStatus:
    message = error.format_message()
    if not message:  # the help was asked for, and is printed
        return ExitStatus.WRONG_USE
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "speechfleet"
    details = {"code": "wrong_use", "message": f"{message} (see {command} --help)"}
    return _failed({**details, "retryable": False}, ExitStatus.WRONG_USE, json=json)


def _of_the_system(error: OSError | KeyboardInterrupt, *, json: bool) -> ExitStatus:
    match error:
        case KeyboardInterrupt():
            details = {"code": "interrupted", "message": "interrupted", "retryable": True}
            return _failed(details, ExitStatus.INTERRUPTED, json=json)
        case BrokenPipeError():
            give_up_stdout()
            return ExitStatus.NO_READER
        case _:
            where = f"{error.filename}: " if error.filename else ""
            message = f"{where}{error.strerror or error}"
            details = {"code": "system_error", "message": message, "retryable": False}
            return _failed(details, ExitStatus.WRONG_USE, json=json)
