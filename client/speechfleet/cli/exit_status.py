"""The exit statuses of the command, and which error ends it with which one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from speechfleet.errors import (
    BatchStopped,
    FolderInUse,
    InvalidRequest,
    JobCancelled,
    JobFailed,
    MisconfiguredError,
    SpeechFleetError,
)


class ExitStatus(IntEnum):
    """The meanings of the exit statuses; stable, for scripts."""

    DONE = 0
    FAILED = 1
    """A job, or an item of a batch, failed or was cancelled."""
    WRONG_USE = 2
    """The command or a setting is wrong: repeating it does not help."""
    NOT_FOUND = 3
    """No such job, batch or object."""
    UNAVAILABLE = 4
    """Redis, the store or the fleet cannot be reached or is full: try again later."""
    INTERRUPTED = 128 + signal.SIGINT
    NO_READER = 128 + signal.SIGPIPE
    """Nobody reads the output any more."""


def status_of(error: SpeechFleetError) -> ExitStatus:
    """Return the exit status of a command that ends with this error.

    A job that failed is FAILED, unless it failed of what it was asked: that is WRONG_USE.
    """
    match error:
        case JobFailed() if error.code in CODES_OF_WRONG_USE:
            return ExitStatus.WRONG_USE
        case JobFailed() | JobCancelled() | BatchStopped():
            return ExitStatus.FAILED
        case LookupError():  # JobNotFound, BatchNotFound, ObjectMissing
            return ExitStatus.NOT_FOUND
        case FolderInUse():
            return ExitStatus.UNAVAILABLE
        case _:
            return ExitStatus.UNAVAILABLE if error.retryable else ExitStatus.WRONG_USE


def as_json(error: SpeechFleetError) -> dict[str, Any]:
    """Return an error as ``--json`` prints it."""
    return {"code": error.code, "message": error.message, "retryable": error.retryable}


def _with_subclasses(kind: type[SpeechFleetError]) -> Iterator[type[SpeechFleetError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _with_subclasses(below)


CODES_OF_WRONG_USE = {
    kind.code for root in (InvalidRequest, MisconfiguredError) for kind in _with_subclasses(root)
}
"""Codes of errors that the caller has to correct; only the worker finds an unknown voice."""


def give_up_stdout() -> None:
    """Send everything more on stdout to nothing: Python flushes it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
