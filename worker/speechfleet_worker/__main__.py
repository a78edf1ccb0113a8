"""``python -m speechfleet_worker``: one worker process in the foreground.

Prints ``ready <boot id>`` on stdout once it takes jobs; logs to stderr. SIGTERM and SIGINT
drain it: status 0. ``--alone`` is how a worker runs one job in a process of its own.
"""

from __future__ import annotations

import argparse
import sys

from speechfleet import logs
from speechfleet.errors import SpeechFleetError
from speechfleet.jobs import Lane
from speechfleet.settings import Settings
from speechfleet_worker import running
from speechfleet_worker.process import new_boot


def main() -> int:
    parser = argparse.ArgumentParser("speechfleet worker", description="One worker process.")
    parser.add_argument("--lanes", default="live,batch", help="of live, batch; or session")
    parser.add_argument("--concurrency", type=int, help="jobs, or sessions, at once")
    parser.add_argument("--providers", help="only these of the providers that are ready")
    parser.add_argument("--events", action="store_true", help="task events, for Flower")
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument("--boot", default="", help=argparse.SUPPRESS)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("--sequence", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        settings = Settings.load(slots=arguments.concurrency, sessions=arguments.concurrency)
        logs.to_stderr(arguments.log_level, settings.log_format)
        boot = arguments.boot or new_boot()
        if arguments.alone:
            return running.run_alone(settings, boot, arguments.alone, arguments.sequence)
        return running.run(
            settings,
            boot,
            lanes=[Lane(lane.strip()) for lane in arguments.lanes.split(",")],
            providers=arguments.providers.split(",") if arguments.providers else None,
            events=arguments.events,
        )
    except (SpeechFleetError, ValueError) as error:
        print(f"speechfleet worker: {error}", file=sys.stderr)  # noqa: T201 # a command's own voice
        return 2


if __name__ == "__main__":
    sys.exit(main())
