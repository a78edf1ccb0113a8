"""Where the text of a command comes from."""

from __future__ import annotations

import sys

from speechfleet.errors import EmptyText, IllegalText, TextTooLong

UTF8_LONGEST = 4
"""Bytes of one code point, at most."""


def read_text(argument: str | None, max_text: int) -> str:
    """The argument, or all of stdin for ``-`` and for nothing. UTF-8, with or without a BOM.

    Reads no more than a text of ``max_text`` code points can have, so that an endless stdin
    is refused and not read for ever. Raises EmptyText, IllegalText, TextTooLong.
    """
    if argument is not None and argument != "-":
        return argument
    if argument is None and sys.stdin.isatty():
        raise EmptyText("there is nothing to say: give a text as argument, or pipe one in")
    data = sys.stdin.buffer.read(max_text * UTF8_LONGEST + 1)
    if len(data) > max_text * UTF8_LONGEST:
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
