"""Describe what `doctor` looked at, and its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from speechfleet.cli.exit_status import ExitStatus


class Verdict(StrEnum):
    """The seriousness of a finding."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not as it should."""
    FAILURE = "failure"
    """Jobs cannot be done."""


@dataclass(frozen=True)
class Finding:
    """Tells the verdict on a thing that was looked at.

    ``mend``: what to do, "" where nothing. ``status``: what a failure makes of the exit status.
    """

    subject: str
    verdict: Verdict
    found: str
    mend: str = ""
    status: ExitStatus = ExitStatus.WRONG_USE
