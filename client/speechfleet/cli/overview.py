"""The help of the whole program, without importing what its commands need.

Somebody who asks what there is waits for no client library, and for no command's options. A test
holds these lists to the commands themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from speechfleet.cli.exit_status import ExitStatus, give_up_stdout
from speechfleet.cli.panels import BOLD, NAME, SHORT, TYPE, Screen, panel

SUMMARY = "Turn text into speech, on this machine or on a fleet of workers."
OPTIONS = (
    ("--version", "", "", "Print it and exit."),
    ("--namespace", "", "<str>", "Whose jobs; else SPEECHFLEET_NAMESPACE."),
    ("--install-completion", "", "<bool>", "Install completion for the current shell."),
    (
        "--show-completion",
        "",
        "<bool>",
        "Show completion for the current shell, to copy it or customize the installation.",
    ),
    ("--help", "-h", "<bool>", "Show this message and exit."),
)
"""Long form, short form, type and help of each option."""
COMMANDS = (
    ("Speech", "say", "Speak a text, wait for it, and print where the audio is."),
    ("Speech", "submit", "Enqueue a text, print the id of its job, and return at once."),
    (
        "Speech",
        "listen",
        "Follow a job from its first byte to its end: while it is spoken, or afterwards.",
    ),
    (
        "Speech",
        "session",
        "Speak a text while it is written: `some-llm | speechfleet session --play`.",
    ),
    (
        "Speech",
        "segments",
        "Show how a text will be cut into segments, one provider call each, and why.",
    ),
    (
        "Speech",
        "captions",
        "Print the captions of a job: what is heard when, to be saved as a file.",
    ),
    ("Jobs", "status", "Show the state of a job."),
    ("Jobs", "cancel", "Stop a job, whether it waits or runs."),
    ("Jobs", "retry", "Speak a job that has ended once more, in a new epoch."),
    (
        "Jobs",
        "delete",
        "Erase a job: its record, text, stream and audio, and segments that no other job uses.",
    ),
    ("Jobs", "show", "Show everything about one msg.id: states, attempts, workers, usage."),
    ("Jobs", "jobs", "List the jobs of this namespace, those that changed last first."),
    ("Jobs", "usage", "Sum up what a day has used and cost, by model."),
    (
        "Jobs",
        "respeak",
        "Speak one segment of a job again; nothing else is paid for, and all takes are kept.",
    ),
    (
        "Jobs",
        "takes",
        "List the takes of the segments that were spoken again; * is the one that is heard.",
    ),
    ("Jobs", "choose", "Let another take of a segment be heard; it costs no call."),
    ("Corpora", "batches", "List the batches of this namespace, newest first."),
    ("Fleet", "up", "Bring up a whole fleet on this machine, until it is interrupted."),
    ("Fleet", "env", 'Print the settings of the running fleet: `eval "$(speechfleet env)"`.'),
    (
        "Fleet",
        "worker",
        "Run a worker in the foreground, on the fleet of the environment or of this user.",
    ),
    (
        "Fleet",
        "workers",
        "List the workers that are alive, the rate limits of models, and the circuit breakers.",
    ),
    (
        "Fleet",
        "drain",
        "Let a worker finish its jobs, or hand them over, and end; it is not started again.",
    ),
    ("Fleet", "quota", "Show or set what the jobs of this namespace may use together."),
    (
        "Fleet",
        "doctor",
        "Check everything that `say` needs: Redis, store, workers, providers, or this machine.",
    ),
    ("Fleet", "flower", "Show the tasks of the fleet in Flower; its workers need --events."),
    (
        "Gateway",
        "gateway",
        "Serve the fleet over HTTP: OpenAI's speech endpoint, jobs, the console, metrics.",
    ),
    (
        "Gateway",
        "key",
        "Make an API key for a gateway. It is shown once; only its hash is kept, in a setting.",
    ),
    (
        "Providers",
        "providers",
        "List the providers, their limits, and what is missing to use them from here.",
    ),
    (
        "Providers",
        "voices",
        "List the voices of a model; where there is no list, its server is asked.",
    ),
    (
        "Corpora",
        "batch",
        (
            "Speak a corpus: `batch CORPUS -m MODEL -v VOICE --out DIR`; or look after a batch: "
            "`batch status`, `cancel`, `results`, `retry-failed`, `delete` ID."
        ),
    ),
    (
        "Gateway",
        "keys",
        "API keys of this namespace for the gateway, kept in Redis by their hash.",
    ),
    ("Fleet", "webhooks", "Receivers that are told how jobs and batches of this namespace ended."),
    ("Fleet", "limits", "The rate limits that the fleet has found."),
)
"""Panel, name and first paragraph of the help of each command, in order."""


def print_help() -> int:
    """Print the help of the program; return the exit status."""
    try:
        for line in _lines(Screen.of(sys.stdout)):
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except OSError as error:
        # The reader of our output has left, or its disk is full.
        give_up_stdout()
        if isinstance(error, BrokenPipeError):
            return ExitStatus.NO_READER
        sys.stderr.write(f"speechfleet: {error.strerror}\n")
        return ExitStatus.WRONG_USE
    return ExitStatus.DONE


def _lines(screen: Screen) -> Iterator[str]:
    usage = screen.styled("speechfleet [OPTIONS] COMMAND [ARGS]...", BOLD)
    yield from ("", f" {screen.styled('Usage:', TYPE)} {usage}", "", f" {SUMMARY}", "")
    yield from panel(screen, "Options", OPTIONS, (NAME, SHORT, TYPE))
    longest = max(len(name) for _, name, _ in COMMANDS)
    for title in dict.fromkeys(title for title, _, _ in COMMANDS):
        rows = [(name, summary) for other, name, summary in COMMANDS if other == title]
        yield from panel(screen, title, rows, (NAME,), longest)
    yield ""
