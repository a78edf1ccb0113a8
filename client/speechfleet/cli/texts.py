"""The text of a command: its argument, or stdin."""

from __future__ import annotations

import sys
from pathlib import Path

from speechfleet.errors import EmptyText, IllegalText, TextTooLong

MAX_UTF8_BYTES = 4
"""The most bytes of one code point."""


def read_text(argument: str | None, max_text: int) -> str:
    """Return the argument, or all of stdin for ``-`` or no argument; UTF-8, BOM or not.

    Reads no more than a text of ``max_text`` code points can have, so that an endless stdin
    is refused and not read for ever. Raises EmptyText, IllegalText, TextTooLong.
    """
    if argument is not None and argument != "-":
        return argument
    if argument is None and sys.stdin.isatty():
        raise EmptyText("there is nothing to say: give a text as argument, or pipe one in")
    data = sys.stdin.buffer.read(max_text * MAX_UTF8_BYTES + 1)
    if len(data) > max_text * MAX_UTF8_BYTES:
        raise TextTooLong(
            f"the text on stdin has more than {max_text:,} characters, which is what the fleet "
            "takes in one job (SPEECHFLEET_MAX_TEXT); split it into several messages"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise IllegalText(
            f"the text on stdin is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}"
        ) from None


def names_file(argument: str) -> bool:
    """Tell whether an argument is the name of a file."""
    try:
        return Path(argument).is_file()
    except (OSError, ValueError):  # too long for a name, or a null byte
        return False
