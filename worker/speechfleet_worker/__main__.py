"""``python -m speechfleet_worker``: one worker process in the foreground.

Prints ``ready <boot id>`` on stdout once it takes jobs; logs to stderr. SIGTERM and SIGINT
drain it, with status 0; so they end it while it is still starting. ``--isolated`` is how a worker
runs one job in a process of its own.
"""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT):  # until Celery handles them
        signal.signal(number, lambda *_: os._exit(0))

    from speechfleet_worker.command_line import main
    from speechfleet_worker.run import end_process

    end_process(main())
