"""The command ``speechfleet``: audio, tables and results on stdout, the rest on stderr.

`exit_status.ExitStatus` lists the exit statuses.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its status."""
    from speechfleet.cli.app import main as run  # noqa: PLC0415 # it imports all commands

    run()
