"""The audio formats that the names of files tell."""

from __future__ import annotations

from pathlib import Path

from speechfleet.audio.formats import FORMATS

EXTENSIONS = {f".{format.extension}": format.name for format in FORMATS.values()} | {
    ".ogg": "opus",
    ".raw": "pcm",
}
"""Extensions of files and the formats that they stand for."""


def format_of(name: str | Path) -> str | None:
    """Return the format that a file's extension stands for; None for any other extension."""
    return EXTENSIONS.get(Path(name).suffix.lower())
