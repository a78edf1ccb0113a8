"""The command line of a worker process."""

from __future__ import annotations

import argparse
import sys

from speechfleet.errors import SpeechFleetError
from speechfleet.observability import logs
from speechfleet.request import Lane
from speechfleet.settings import Settings
from speechfleet_worker import run
from speechfleet_worker.context import new_boot


def main() -> int:
    """Run the worker of the command line; 2 for a wrong setting or argument."""
    arguments = parse_arguments()
    try:
        settings = Settings.load(slots=arguments.concurrency, sessions=arguments.concurrency)
        logs.to_stderr(arguments.log_level, settings.log_format)
        boot = arguments.boot or new_boot()
        if arguments.isolated:
            return run.run_isolated(settings, boot, arguments.isolated, arguments.sequence)
        run.run(
            settings,
            boot,
            lanes=arguments.lanes,
            providers=arguments.providers.split(",") if arguments.providers else None,
            events=arguments.events,
        )
    except (SpeechFleetError, ValueError) as error:
        print(f"speechfleet worker: {error}", file=sys.stderr)  # noqa: T201 # a command's own voice
        return 2


def parse_arguments() -> argparse.Namespace:
    """Read the command line; a value that is not there ends the process with status 2."""
    parser = argparse.ArgumentParser("speechfleet worker", description="One worker process.")
    parser.add_argument(
        "--lanes", type=_lanes, default="live,batch", help="of live, batch; or session"
    )
    parser.add_argument("--concurrency", type=int, help="jobs, or sessions, at once")
    parser.add_argument("--providers", help="only these of the providers that are ready")
    parser.add_argument(
        "--events", action="store_true", help="task events and remote control, for Flower"
    )
    parser.add_argument(
        "--log-level",
        type=str.upper,
        choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        default="INFO",
    )
    parser.add_argument("--boot", default="", help=argparse.SUPPRESS)
    parser.add_argument("--isolated", help=argparse.SUPPRESS)
    parser.add_argument("--sequence", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def _lanes(text: str) -> list[Lane]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in list(Lane):
            raise argparse.ArgumentTypeError(f"{name!r} is no lane; there are {', '.join(Lane)}")
    return [Lane(name) for name in names]
