"""The command ``speechfleet``.

    app.py         the commands together; errors as one line and an exit status
    options.py     arguments that several commands share
    fleet.py       which fleet a command works on: the environment's, or an embedded one
    speaking.py    say, submit, listen
    texts.py       where the text of a command comes from
    delivery.py    where its audio goes: a file, stdout, a loudspeaker
    batch.py       batch and batches, with batch_progress.py and plan.py (--dry-run)
    jobs.py        status, cancel, retry, delete, show, jobs, usage
    running.py     up, worker, workers, drain
    serving.py     gateway, key
    providers.py   providers, voices
    doctor.py      doctor
    output.py      tables, lines and JSON

Audio, tables and results go to stdout, progress and errors to stderr. Exit status: 0 done,
1 some job failed, 2 bad input or a fleet that is missing or misconfigured, 130 interrupted.
"""

from __future__ import annotations

from speechfleet.cli.app import main

__all__ = ["main"]
