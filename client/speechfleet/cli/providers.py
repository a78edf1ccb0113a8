"""``providers`` and ``voices``: what the adapters installed here can do.

The registry of providers belongs to the worker's package, which is not imported here but run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Annotated, Any

import typer

from speechfleet.cli import options, output
from speechfleet.errors import InvalidRequest, MisconfiguredError

BAD_INPUT = 2


def providers(
    fake: Annotated[
        bool,
        typer.Option(
            "--fake",
            help="Run servers on this machine that speak the providers' protocols, and print the "
            "settings that make workers use them; until interrupted.",
        ),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """The providers, their limits, and what is missing to use them from here."""
    if fake:
        command = [sys.executable, "-m", "speechfleet_worker.testing"]
        sys.stdout.flush()
        os.execv(sys.executable, command)  # noqa: S606 # a list, no shell wanted
    found = _registry()
    if as_json:
        output.emit(found)
        return
    output.table(
        ("provider", "ready", "model", "limit", "Hz", "voice", "streams"),
        [
            (
                one["provider"],
                "yes" if one["ready"] else one["reason"],
                one["model"],
                f"{one['input_limit']:,} {one['unit']}" if one["input_limit"] else "",
                one["sample_rate"] or "",
                one["default_voice"],
                " and ".join(
                    name
                    for name, can in (("text", one["streaming_input"]),
                                      ("audio", one["streaming_output"]))
                    if can
                ),
            )
            for one in found["providers"]
        ],
    )  # fmt: skip


def voices(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="provider/model")],
    as_json: options.AsJson = False,
) -> None:
    """The voices of a model; its server is asked where there is no list."""
    found = _registry("--voices", model)
    if as_json:
        output.emit(found)
        return
    for voice in found["voices"]:
        output.say(voice)
    if not found["voices"]:
        output.tell(f"{model} has no list of voices: it takes what its server knows")


def _registry(*arguments: str) -> dict[str, Any]:
    """What the registry answers. Raises InvalidRequest, MisconfiguredError as it says."""
    done = subprocess.run(
        [sys.executable, "-m", "speechfleet_worker.providers", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode == 0:
        found: dict[str, Any] = json.loads(done.stdout)
        return found
    last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no answer"])[-1]
    if done.returncode == BAD_INPUT:
        raise InvalidRequest(last)
    raise MisconfiguredError(f"the registry of providers failed: {last}")
