"""The commands ``providers`` and ``voices``: what the installed adapters can do.

The registry of providers belongs to the worker's package: it is run, not imported.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from speechfleet.cli import options, output
from speechfleet.cli.exit_status import ExitStatus
from speechfleet.cli.voice_samples import Samples, speak_samples
from speechfleet.embedded.requirements import require_worker
from speechfleet.errors import InvalidRequest, MisconfiguredError
from speechfleet.provider_profiles import PROFILES


def providers(
    fake: Annotated[
        bool,
        options.flag(
            "--fake",
            help="Run servers on this machine that speak the providers' protocols, and print the "
            "settings that make workers use them; until interrupted.",
        ),
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help=f"Print the setting for a server that speaks OpenAI's protocol: "
            f"{', '.join(PROFILES)}.",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the providers, their limits, and what is missing to use them from here."""
    if profile is not None:
        _show_profile(profile, as_json=as_json)
        return
    if fake:
        command = [sys.executable, "-m", "speechfleet_worker.testing"]
        sys.stdout.flush()
        os.execv(sys.executable, command)  # noqa: S606 # a list, no shell wanted
    found = registry_answer()
    if as_json:
        output.emit(found)
        return
    output.table(
        ("provider", "model", "limit", "Hz", "voice", "streams", "ready"),
        [
            (
                one["provider"],
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
                "yes" if one["ready"] else reason,
            )
            for one, reason in zip(
                found["providers"], _reasons(found["providers"]), strict=True
            )
        ],
        rare=("Hz", "streams", "limit", "voice"),
    )  # fmt: skip


def _reasons(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield why each model cannot be used: the reason once a provider, then "no"."""
    before = ""
    for row in rows:
        yield "no" if row["provider"] == before else row["reason"]
        before = row["provider"]


def _show_profile(name: str, *, as_json: bool) -> None:
    if name not in PROFILES:
        raise InvalidRequest(f"there is no profile {name!r}; there are {', '.join(PROFILES)}")
    profile = PROFILES[name]
    if as_json:
        output.emit({
            "endpoints": json.loads(profile.setting(name)), "model": f"{name}/{profile.model}",
            "voice": profile.voice, "note": profile.note,
        })  # fmt: skip
        return
    if key := profile.endpoint.key_env:
        output.say(f"export {key}=...")
    output.say(f"export SPEECHFLEET_ENDPOINTS={shlex.quote(profile.setting(name))}")
    output.say(f"speechfleet say 'Hello.' --model {name}/{profile.model} --voice {profile.voice}")
    output.tell(profile.note)


def voices(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="provider/model")],
    sample: Annotated[
        str | None,
        typer.Option(
            "--sample",
            metavar="TEXT",
            help="Speak the text by each of the voices, into files named by voice.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="The folder of the samples.")
    ] = Path("samples"),
    format: options.Format = None,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """List the voices of a model; where there is no list, its server is asked.

    With --sample each of them speaks a text. The price is shown first, and asked for.
    """
    found = registry_answer("--voices", model)
    if sample is not None:
        ordered = Samples(model, found["voices"], sample, out, format or "wav")
        speak_samples(ordered, yes=yes, as_json=as_json)
        return
    if as_json:
        output.emit(found)
        return
    for voice in found["voices"]:
        output.say(voice)
    if not found["voices"]:
        output.tell(f"{model} has no list of voices: it takes what its server knows")


def registry_answer(*arguments: str) -> dict[str, Any]:
    """Run the worker's registry and return its answer. Raises InvalidRequest, MisconfiguredError.

    Raises MissingExtra where the worker's packages are not installed.
    """
    require_worker("asking for providers and voices", "local")
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
    if done.returncode == ExitStatus.WRONG_USE:
        raise InvalidRequest(last)
    raise MisconfiguredError(f"the registry of providers failed: {last}")
