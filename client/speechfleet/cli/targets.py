"""The target of a command's audio, checked before anything is paid for."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from speechfleet.audio.file_names import EXTENSIONS, format_of
from speechfleet.audio.formats import FORMATS
from speechfleet.cli.playing import require_player
from speechfleet.errors import InvalidRequest, UnknownFormat
from speechfleet.store.download import is_special


@dataclass
class Target:
    """The file, stdout or loudspeaker that --output and --play name; none is needed.

    ``path`` changes where there is no audio device: a file takes the loudspeaker's place.
    """

    path: Path | None = None
    stdout: bool = False
    play: bool = False

    @classmethod
    def check(cls, out: str | None, *, play: bool, as_json: bool) -> Target:
        """Check the options. Raises InvalidRequest, MissingExtra."""
        if play:
            require_player()
        if out is None:
            return cls(play=play)
        if out != "-":
            path = Path(out)
            if trouble := _trouble(path):
                raise InvalidRequest(f"cannot write to {out!r}: {trouble}")
            return cls(path=path, play=play)
        if as_json:
            raise InvalidRequest("--json and --output - both write to stdout: take one")
        if sys.stdout.isatty():
            raise InvalidRequest("audio is not written to a terminal: pipe it, or name a file")
        return cls(stdout=True, play=play)

    def format(self, asked: str | None, default: str = "wav") -> str:
        """Return the format that was asked for, or that the file's name tells.

        Raises UnknownFormat; InvalidRequest where the name tells another one.
        """
        named = None
        if self.path is not None and not is_special(self.path):
            named = format_of(self.path)
            if named is None and asked is None:
                raise UnknownFormat(
                    self.path.suffix or self.path.name,
                    EXTENSIONS,
                    note="(the output's name tells its format, unless --format does)",
                )
        if asked is None:
            return named or default
        wanted = check_format(asked)
        if named not in (None, wanted):
            raise InvalidRequest(
                f"--format {wanted} and a file named {self.path} contradict each other: name it "
                f".{wanted}, or leave --format out"
            )
        return wanted


def check_format(asked: str) -> str:
    """Return the name of a format in small letters. Raises UnknownFormat."""
    if asked.lower() not in FORMATS:
        raise UnknownFormat(asked, FORMATS)
    return asked.lower()


def _trouble(path: Path) -> str:
    """Say why a file cannot be written; "" where it can."""
    folder = path.parent
    try:
        if path.is_dir():
            return "it is a folder: name a file in it"
        if path.exists():
            return "" if os.access(path, os.W_OK) else "you may not write to this file"
        if not folder.is_dir():
            return f"there is no folder {str(folder)!r}"
        writable = os.access(folder, os.W_OK | os.X_OK)
        return "" if writable else f"you may not write to the folder {str(folder)!r}"
    except OSError as error:
        return str(error.strerror).lower()
