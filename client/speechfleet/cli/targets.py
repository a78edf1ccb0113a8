"""Where the audio of a command is to go, checked before anything is paid for."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from speechfleet.cli.playing import require_player
from speechfleet.errors import InvalidRequest, UnknownFormat
from speechfleet.jobs import FORMATS

EXTENSIONS = {
    ".wav": "wav", ".flac": "flac", ".mp3": "mp3", ".opus": "opus", ".ogg": "opus",
    ".aac": "aac", ".pcm": "pcm", ".raw": "pcm",
}  # fmt: skip


@dataclass
class Target:
    """What --output and --play ask for; all of it may be nothing.

    ``path``: the file; None where there is none. Changes where there is no audio device: then
    a file takes the place of the loudspeaker.
    """

    path: Path | None = None
    stdout: bool = False
    play: bool = False

    @classmethod
    def check(cls, out: str | None, *, play: bool, as_json: bool) -> Target:
        """Raises InvalidRequest, MissingExtra."""
        if play:
            require_player()
        if out is None:
            return cls(play=play)
        if out != "-":
            path = Path(out)
            if not _writable(path):
                raise InvalidRequest(
                    f"cannot write to {out!r}: it is a folder or read-only, or its folder is "
                    "missing or read-only"
                )
            return cls(path=path, play=play)
        if as_json:
            raise InvalidRequest("--json and --output - both write to stdout: take one")
        if sys.stdout.isatty():
            raise InvalidRequest("audio is not written to a terminal: pipe it, or name a file")
        return cls(stdout=True, play=play)

    def format(self, asked: str | None, default: str = "wav") -> str:
        """What was asked for, or what the file's name tells. Raises UnknownFormat."""
        if asked is not None:
            if asked not in FORMATS:
                raise UnknownFormat(asked, FORMATS)
            return asked
        if self.path is None or _is_special(self.path):
            return default
        suffix = self.path.suffix.lower()
        if suffix not in EXTENSIONS:
            raise UnknownFormat(
                suffix or self.path.name,
                EXTENSIONS,
                hint="(the output's name tells its format, unless --format does)",
            )
        return EXTENSIONS[suffix]


def write_file(path: Path, data: bytes) -> None:
    """Whole or not at all; a device or a named pipe is written to as it is."""
    if _is_special(path):
        path.write_bytes(data)
        return
    unfinished = path.with_name(f".speechfleet-{secrets.token_hex(8)}")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _writable(path: Path) -> bool:
    try:
        if path.exists():
            return not path.is_dir() and os.access(path, os.W_OK)
        return path.parent.is_dir() and os.access(path.parent, os.W_OK | os.X_OK)
    except OSError:  # a name that is too long, and the like
        return False


def _is_special(path: Path) -> bool:
    return path.exists() and not stat.S_ISREG(path.stat().st_mode)
