"""Runs the worker's package on requests that are not sent: it is not imported here.

See `speechfleet_worker.measure` for what is asked and answered.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from speechfleet.embedded import default_folder
from speechfleet.embedded.requirements import missing_modules, require_worker
from speechfleet.errors import InvalidRequest, MisconfiguredError
from speechfleet.request import Request
from speechfleet.settings import Settings

BAD_INPUT = 2

Command = Literal["corpus", "check", "segments"]


def is_available() -> bool:
    """Tell if the worker's package and what it needs are installed here."""
    return not missing_modules()


def line_of(request: Request, place: str = "") -> Mapping[str, Any]:
    """Return a request as the worker's package reads it. ``place``: names it in problems."""
    return {
        "line": place, "text": request.text, "model": request.model, "voice": request.voice,
        "options": dict(request.options), "segments": request.segment_mode,
        "language": request.language, "form": request.form.encode(), "cache": request.cache,
    }  # fmt: skip


def measure(
    command: Command, lines: Iterable[Mapping[str, Any]], settings: Settings
) -> dict[str, Any]:
    """Have the requests measured, checked or cut by another process.

    Raises MissingExtra where the worker's package is not installed, InvalidRequest with what it
    says of the requests, MisconfiguredError where it fails.
    """
    require_worker("asking what a worker would make of a text", "worker")
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in lines)
        file.flush()
        file.seek(0)
        done = subprocess.run(
            [sys.executable, "-m", "speechfleet_worker.measure", command],
            stdin=file,
            env={**os.environ, **_store_of(settings)},
            capture_output=True,
            check=False,
        )
    if done.returncode == 0:
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
    last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no answer"])[-1]
    if done.returncode == BAD_INPUT:
        raise InvalidRequest(last)
    raise MisconfiguredError(f"the worker's package failed: {last}")


def _store_of(settings: Settings) -> dict[str, str]:
    """Name the store of the segments: the fleet's; without a fleet, this user's own."""
    if settings.store is not None:
        return {}
    folder = default_folder() if settings.redis_url is None else None
    if folder is None or not (folder / "store").is_dir():
        return {}
    return {"SPEECHFLEET_STORE": (folder / "store").as_uri()}
