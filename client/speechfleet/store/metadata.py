"""Metadata of objects as ASCII: an S3 header carries nothing else, a msg.id may be any text."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from urllib.parse import quote, unquote

from speechfleet.errors import InvalidRequest

LIMIT = 2048 - 64
"""Bytes of names and values that S3 takes (2 KB), less what a store adds of its own."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PLAIN = "/:+=@,!()*' "
_BASE64 = "utf-8;base64,"
"""The mark of a base64 value: a percent-encoded value has no semicolon."""


def encode(metadata: Mapping[str, str]) -> dict[str, str]:
    """Encode metadata. Names are lower case, digits and hyphens; values any Unicode.

    Raises InvalidRequest for other names, lone surrogates, and more than 2 KB in all.
    """
    encoded = {name: _encode(value) for name, value in metadata.items()}
    for name in encoded:
        if not _NAME.fullmatch(name):
            raise InvalidRequest(f"metadata name {name!r}: lower case, digits and hyphens only")
    size = sum(len(name) + len(value) for name, value in encoded.items())
    if size > LIMIT:
        raise InvalidRequest(f"{size} bytes of metadata; an object carries {LIMIT}")
    return encoded


def decode(encoded: Mapping[str, str]) -> dict[str, str]:
    """Decode what `encode` made; read other values as they are."""
    return {name: _decode(value) for name, value in encoded.items()}


def _encode(value: str) -> str:
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("a metadata value holds lone surrogates") from None
    # Headers lose blanks at their ends, and runs of them within.
    safe = _PLAIN if value == " ".join(value.split()) else _PLAIN.rstrip()
    percent = quote(value, safe=safe)
    if len(percent) == len(raw):
        return percent
    # Percent-encoded, 256 characters of an id can be 3 KB, more than S3 takes.
    base64 = _BASE64 + b64encode(raw).decode("ascii")
    return min(percent, base64, key=len)


def _decode(value: str) -> str:
    if value.startswith(_BASE64):
        return b64decode(value.removeprefix(_BASE64)).decode(errors="replace")
    return unquote(value)
