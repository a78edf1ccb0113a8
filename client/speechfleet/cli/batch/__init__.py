"""The command `speechfleet batch`; importing it gathers the group's commands."""

from __future__ import annotations

from speechfleet.cli.batch import run_command
from speechfleet.cli.batch.commands import batches
from speechfleet.cli.batch.group import group

__all__ = ["batches", "group", "run_command"]
